"""Comparing streams: contents beside their times, and replies that tell times."""

from __future__ import annotations

from typing import Any

from node.persistence import payload
from node.persistence.options import SaveOptions
from node.types.stream import Stream
from tests.oracle.wire import Tree

_FOOTER = 10
_NOW_MS = 10**12
"""Whatever is as big is a time."""
_SINCE_7_2 = (b"inactive", b"active-time")
_DURATIONS = (b"idle", b"inactive")
_TIME = Tree(":", b"a time")


def plain_stream(stream: Stream) -> dict[str, Any]:
    """What a stream holds, without times."""
    return {
        "entries": list(stream.entries()),
        "nodes": [(node.first, node.count, node.deleted, node.listpack()) for node in stream.nodes()],
        "length": stream.length,
        "ids": (stream.first_id, stream.last_id, stream.max_deleted_id),
        "added": stream.entries_added,
        "groups": {
            name: (
                group.last_id,
                group.entries_read,
                [(number, one.consumer.name, one.count) for number, one in _deliveries(group.pending)],
                {one.name: [number for number, _ in _deliveries(one.pending)] for one in group.consumers.values()},
            )
            for name, group in stream.groups.items()
        },
    }


def _deliveries(pending: Any) -> list[tuple[int, Any]]:
    return [(number, pending.entries[number]) for number in pending.ids_from(0)]


def same_bytes(theirs: bytes, ours: Stream, kind: str) -> bool:
    """Whether their payload is what we write: for `ours`, or where times are in it, for what it loads as."""
    value = payload.restore(theirs) if ours.groups else ours
    again = payload.dump(value, SaveOptions(compress=False, version=10 if kind == "redis" else 11))
    if ours.groups and again[0] != theirs[0]:
        return (theirs[0], again[0]) == (21, 19)  # 19 says it all
    return theirs[1:-_FOOTER] == again[1:-_FOOTER]


def timeless(tree: Tree) -> Tree:
    """Without what depends on the time at which it is asked, and without what Redis 7.0 does not tell yet."""
    if tree.kind == ":":
        return _TIME if int(tree.value) >= _NOW_MS else tree
    if tree.value is None or tree.kind not in "*%~":
        return tree
    if tree.kind == "%":
        return Tree("%", [(name, _value(name, value)) for name, value in tree.value if name.value not in _SINCE_7_2])
    items: list[Tree] = tree.value
    if len(items) == 4 and [item.kind for item in items] == ["$", "$", ":", ":"] and b"-" in items[0].value:
        return Tree("*", [*items[:2], _TIME, items[3]])
    if len(items) % 2 == 0 and len(items) >= 6 and items[0].kind == "$" and items[0].value in (b"name", b"length"):
        pairs = zip(items[::2], items[1::2], strict=True)
        return Tree("*", [(name, _value(name, value)) for name, value in pairs if name.value not in _SINCE_7_2])
    return Tree(tree.kind, [timeless(item) for item in items])


def _value(name: Tree, value: Tree) -> Tree:
    return _TIME if name.value in _DURATIONS and int(value.value) >= 0 else timeless(value)
