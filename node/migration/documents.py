"""Big JSON documents as the commands that make them anew, in pieces, so that nobody waits while one is written or parsed.

A container is made empty, then filled: an array by JSON.ARRAPPEND, an object by JSON.MERGE with some members at a time. What
is big or deep within it is filled in the same way, by its path. A merge patch can not say `null` (RFC 7396: it removes), so
members with one are set one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from node.resp import request
from node.types.json import count_up_to, to_text

_CONTAINERS = frozenset((dict, list))
_PIECE_VALUES = 256


def pieces(key: bytes, root: Any) -> Iterator[bytes]:
    """The encoded requests that make this document. It must not change until the last was taken."""
    yield _set(key, "$", _emptied(root))
    yield from _fill(key, "$", root)


def _emptied(value: Any) -> Any:
    return type(value)() if type(value) in _CONTAINERS else value


def _set(key: bytes, path: str, value: Any) -> bytes:
    return request([b"JSON.SET", key, path.encode(), to_text(value)])


def _named(path: str, name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{path}["{escaped}"]'


def _fill(key: bytes, path: str, container: Any) -> Iterator[bytes]:
    """Put into an empty container what this one has."""
    if type(container) is dict:
        yield from _fill_object(key, path, container)
    elif type(container) is list:
        yield from _fill_array(key, path, container)


def _fill_object(key: bytes, path: str, container: dict[str, Any]) -> Iterator[bytes]:
    some: dict[str, Any] = {}
    size = 0
    for name, part in container.items():
        count = count_up_to(part, _PIECE_VALUES) if type(part) in _CONTAINERS else 1
        if count <= _PIECE_VALUES:
            some[name] = part
            size += count
        if size >= _PIECE_VALUES or count > _PIECE_VALUES:
            yield from _members(key, path, some)
            some, size = {}, 0
        if count > _PIECE_VALUES:
            own = _named(path, name)
            yield _set(key, own, _emptied(part))
            yield from _fill(key, own, part)
    yield from _members(key, path, some)


def _members(key: bytes, path: str, some: dict[str, Any]) -> Iterator[bytes]:
    text = to_text(some)
    if b"null" in text:
        for name, part in some.items():
            yield _set(key, _named(path, name), part)
    elif some:
        yield request([b"JSON.MERGE", key, path.encode(), text])


def _fill_array(key: bytes, path: str, container: list[Any]) -> Iterator[bytes]:
    texts: list[bytes] = []
    size = 0
    for place, part in enumerate(container):
        count = count_up_to(part, _PIECE_VALUES) if type(part) in _CONTAINERS else 1
        texts.append(to_text(part if count <= _PIECE_VALUES else _emptied(part)))
        size += count
        if size >= _PIECE_VALUES:
            yield request([b"JSON.ARRAPPEND", key, path.encode(), *texts])
            texts, size = [], 0
        if count > _PIECE_VALUES:
            yield from _fill(key, f"{path}[{place}]", part)
    if texts:
        yield request([b"JSON.ARRAPPEND", key, path.encode(), *texts])
