"""The errors of this folder, apart from the modules that raise them because all of them do."""

from __future__ import annotations


class RdbError(Exception):
    """Bytes that are no valid RDB, or that use what is not supported: `reason`, and `offset` in the input if known."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return self.reason if self.offset is None else f"{self.reason} (at byte {self.offset})"


class EmptyValue(RdbError):
    """A collection without elements, fully read: servers skip it in a file and refuse it in RESTORE."""


class PayloadError(Exception):
    """A RESTORE payload that is refused; the text is the one that Redis replies, without `ERR`."""


class Unreadable(Exception):
    """The value of a key (`key`, in database `database`) is of a kind that who asked for the data can not read."""

    def __init__(self, database: int, key: bytes) -> None:
        super().__init__(f"there is a value of a module's type at {key!r}")
        self.database = database
        self.key = key


class NeedMore(Exception):
    """The input ends before the item does; `need` is the position up to which bytes are certainly needed."""

    def __init__(self, need: int) -> None:
        super().__init__(need)
        self.need = need
