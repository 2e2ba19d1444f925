"""Lists: written as a quicklist (18), read from it and from its forerunners (1, 10, 14).

A list that is one listpack is written as a quicklist of one node, as in Redis 7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from node.persistence import listpack, ziplist
from node.persistence.encodings.base import Encoding, Loader, Pieces, Rest
from node.persistence.errors import EmptyValue, RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.blocks import LISTPACK_OVERHEAD, PLAIN, Block, entry_size
from node.types.list import OPEN, List

TAG_LIST = 1
TAG_LIST_ZIPLIST = 10
TAG_LIST_QUICKLIST = 14
TAG_LIST_QUICKLIST_2 = 18

_NODE_PLAIN = 1
_NODE_PACKED = 2
_USUAL_FILL = -2


class _HalfRead:
    """How many items a list has, and the nodes that arrived."""

    __slots__ = ("left", "nodes")

    def __init__(self, count: int) -> None:
        self.left = count
        self.nodes: list[Block] = []


def _begun(cursor: Cursor) -> _HalfRead:
    half = cursor.progress
    if not isinstance(half, _HalfRead):
        half = cursor.progress = _HalfRead(cursor.length())
        if half.left == 0:
            raise EmptyValue("a list without elements")
        cursor.commit()
    return half


def _add(nodes: list[Block], node: Block) -> None:
    """Take in a node. One that is near no end is sealed now: to seal all when the last has come would take long."""
    nodes.append(node)
    if len(nodes) > 2 * OPEN:
        nodes[-1 - OPEN].seal()


def _finished(nodes: list[Block]) -> List:
    if not nodes:
        raise EmptyValue("a list without elements")
    return List.from_nodes(nodes)


def load_elements(cursor: Cursor) -> List:
    """Type 1: a count, then that many elements."""
    half = _begun(cursor)
    nodes = half.nodes
    while half.left:
        element = cursor.string()
        if not nodes or not nodes[-1].has_room(element, _USUAL_FILL):
            _add(nodes, Block(size=LISTPACK_OVERHEAD))
        nodes[-1].opened().append(element)
        nodes[-1].size += entry_size(element)
        half.left -= 1
        cursor.commit()
    return _finished(nodes)


def load_ziplist(cursor: Cursor) -> List:
    """Type 10: one ziplist. Redis 7.2 makes a quicklist of it, however small."""
    elements = ziplist.decode(cursor.string())
    if not elements:
        raise EmptyValue("a list without elements")
    return List.from_nodes([Block(elements)], stays_quicklist=True)


def _nodes_loader(read: Callable[[Cursor], Block | None]) -> Loader:
    def load(cursor: Cursor) -> List:
        half = _begun(cursor)
        while half.left:
            node = read(cursor)
            if node is not None:
                _add(half.nodes, node)
            half.left -= 1
            cursor.commit()
        return _finished(half.nodes)

    return load


def _ziplist_node(cursor: Cursor) -> Block | None:
    elements = ziplist.decode(cursor.string())
    return Block(elements) if elements else None


def _listpack_node(cursor: Cursor) -> Block | None:
    container = cursor.length()
    if container == _NODE_PLAIN:
        return Block([cursor.string()], PLAIN)
    if container != _NODE_PACKED:
        raise RdbError(f"a list has a node of unknown kind {container}")
    data = cursor.string()
    elements = listpack.decode(data)
    return Block(elements) if elements else None


def _node(block: Block, compress: bool) -> bytes:
    if block.size == PLAIN:
        return b"\x01" + encode_string(block.elements()[0], compress)
    return b"\x02" + encode_string(listpack.encode(block), compress)


def save(value: List, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    nodes = value.nodes()
    return b"\x12", encode_length(len(nodes)) + b"".join([_node(node, options.compress) for node in nodes])


def _node_by_node(rest: Rest[Block], count: int, compress: bool) -> Iterator[bytes]:
    head = b"\x12" + encode_length(count)
    while some := rest.take(1):
        yield head + _node(some[0], compress)
        head = b""


def save_piecewise(value: List, options: SaveOptions) -> Pieces:
    """See `PiecewiseSaver`: a node is a piece."""
    nodes = value.nodes()
    rest = Rest(nodes, Block.copy)
    return Pieces(_node_by_node(rest, len(nodes), options.compress), rest.hold)


ENCODING = Encoding(
    name="list",
    loaders={
        TAG_LIST: load_elements,
        TAG_LIST_ZIPLIST: load_ziplist,
        TAG_LIST_QUICKLIST: _nodes_loader(_ziplist_node),
        TAG_LIST_QUICKLIST_2: _nodes_loader(_listpack_node),
    },
    classes=(List,),
    save=save,
    save_piecewise=save_piecewise,
)
