"""Hashes: fields and values, both bytes, in order of insertion."""

from __future__ import annotations


class Hash:
    """The value of a hash key."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self.fields = fields
