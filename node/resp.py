"""Python values to RESP2 or RESP3: the only place that knows either (https://redis.io/docs/reference/protocol-spec/).

Handlers return plain Python values and this module decides how each looks on the wire:

| value               | RESP3                 | RESP2                           |
|---------------------|-----------------------|---------------------------------|
| bytes, bytearray    | bulk string           | bulk string                     |
| str                 | simple string         | simple string                   |
| int                 | integer               | integer                         |
| float               | double                | bulk string                     |
| HumanDouble         | double, not shortened | bulk string                     |
| bool                | boolean               | integer 1 or 0                  |
| None                | null                  | null bulk string                |
| NULL_ARRAY          | null                  | null array                      |
| list, tuple         | array                 | array                           |
| Texts               | array                 | array                           |
| Pairs, Scored       | array of pairs        | flat array                      |
| dict, FlatMap       | map                   | flat array                      |
| Kept                | its value                                               |
| set, OrderedSet     | set                   | array                           |
| Verbatim            | verbatim string       | bulk string                     |
| BigNumber           | big number            | bulk string                     |
| Attributed          | attribute, then value | value                           |
| ByName              | map                   | array of arrays of two          |
| EncodedArray        | array                 | array                           |
| Push                | push                  | array                           |
| Several             | its values, one behind the other, in both               |
| Encoded             | what it is: bytes of the protocol                       |
| CommandError        | error                 | error                           |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from node.errors import CommandError
from node.numbers import format_double, format_double_human

Reply = Any
"""A value of the table above; nesting makes a precise type useless to callers."""

OK: Final = "OK"


class _NullArray:
    """The reply of a command that found nothing where it would have returned an array."""

    __slots__ = ()


NULL_ARRAY: Final = _NullArray()


class Pairs(list[Any]):
    """A flat list a, b, a, b whose neighbours belong together: RESP3 nests each pair, RESP2 leaves it flat."""

    __slots__ = ()


class Texts(list[bytes]):
    """Nothing but `bytes`, so that nobody has to look."""

    __slots__ = ()


class Scored(Pairs):
    """Texts (`bytes`) and scores (`float`) in turn."""

    __slots__ = ()


class FlatMap(list[bytes]):
    """Fields and values in turn, nothing but `bytes`: a map."""

    __slots__ = ()


class OrderedSet(list[Any]):
    """Distinct values that leave in this order, and that need not be hashable."""

    __slots__ = ()


class Push(list[Any]):
    """An out-of-band message: its first element names its kind."""

    __slots__ = ()


class Several(list[Any]):
    """Replies that leave one behind the other: SUBSCRIBE answers with a message for each channel."""

    __slots__ = ()


class Encoded(bytes):
    """What is already in the protocol of whom it is for."""

    __slots__ = ()


class EncodedArray(bytes):
    """An array whose elements are encoded already, the same in both protocols: see `encoded_array`."""

    __slots__ = ()


class Kept:
    """A value that is replied again and again (`repeats.py`): it does not change, and is encoded once a protocol."""

    __slots__ = ("in2", "in3", "value")

    def __init__(self, value: Reply) -> None:
        self.value = value
        self.in2: bytes | None = None
        self.in3: bytes | None = None


class ByName(list[Any]):
    """Pairs of a name and a value, where a name may come again: RESP3 has a map, RESP2 an array of pairs."""

    __slots__ = ()


class Verbatim:
    """Text for people. `format` is three letters, txt or mkd."""

    __slots__ = ("format", "text")

    def __init__(self, text: bytes, format: bytes = b"txt") -> None:
        self.text = text
        self.format = format


class HumanDouble:
    """A double that is written with all its digits (coordinates)."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value


class BigNumber:
    """An integer beyond 64 bits."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


class Attributed:
    """A value with attributes (a map) that RESP3 clients may look at and RESP2 clients never see."""

    __slots__ = ("attributes", "value")

    def __init__(self, attributes: dict[Any, Any], value: Reply) -> None:
        self.attributes = attributes
        self.value = value


class Silence:
    """No reply at all (CLIENT REPLY OFF, REPLCONF ACK). Encodes to nothing."""

    __slots__ = ()


SILENCE: Final = Silence()

Encoder = Callable[[Any], bytes]


def bulk(value: bytes) -> bytes:
    """A bulk string, the same in both protocols."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def request(args: Iterable[bytes]) -> bytes:
    """A command as clients and replication streams send it: an array of bulk strings."""
    parts = [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def encoded_array(parts: Sequence[bytes]) -> EncodedArray:
    """An array of values that are encoded already: of bulk strings, requests and such arrays."""
    return EncodedArray(b"*%d\r\n%b" % (len(parts), b"".join(parts)))


_BULK_HEADS: Final = [b"$%d\r\n" % size for size in range(1024)]
"""Formatting a reply costs more than sticking three strings together."""


_BREAKS_AND_HEADS: Final = [b"\r\n$%d\r\n" % size for size in range(1024)]
_PAIR_HEADS: Final = [b"\r\n*2\r\n$%d\r\n" % size for size in range(1024)]
_MANY: Final = 8
"""From so many on, looking whether all are bulk strings pays."""


def _bulks(values: Collection[Any]) -> bytes | None:
    """Bulk strings with a line break before each and none behind the last; None when not all values are short bytes."""
    return _joined(values) if set(map(type, values)) == {bytes} else None


def _joined(texts: Collection[bytes]) -> bytes | None:
    """The same of what is known to be bytes, and not empty; None when one is not short.

    Half the time of a call for each: LRANGE and its kin reply with hundreds.
    """
    sizes = list(map(len, texts))
    try:
        if sizes.count(sizes[0]) == len(sizes):
            head = _BREAKS_AND_HEADS[sizes[0]]
            return head + head.join(texts)
        parts = [b""] * (2 * len(sizes))
        parts[::2] = [_BREAKS_AND_HEADS[size] for size in sizes]
    except IndexError:
        return None
    parts[1::2] = texts
    return b"".join(parts)


_SCORES_KEPT: Final = 8192


class _ScoreTexts(dict[float, bytes]):
    """What stands behind a member for its score: made when asked for, and kept while they are few.

    Formatting a double takes longer than all else about it.
    """

    def __init__(self, kind: bytes) -> None:
        """kind: `$` for a bulk string, `,` for a double."""
        super().__init__()
        self._kind = kind

    def __missing__(self, score: float) -> bytes:
        text = format_double(score)
        made = b"\r\n,%b" % text if self._kind == b"," else b"\r\n$%d\r\n%b" % (len(text), text)
        if score != 0:  # 0 and -0 are the same key
            if len(self) >= _SCORES_KEPT:
                self.clear()
            self[score] = made
        return made


_score2: Final = _ScoreTexts(b"$").__getitem__
_score3: Final = _ScoreTexts(b",").__getitem__


class _Integers(dict[int, bytes]):
    """Encoded integers: the small ones are there, others are made when asked for. Faster to ask than a function."""

    def __missing__(self, value: int) -> bytes:
        return b":%d\r\n" % value


class _Statuses(dict[str, bytes]):
    """Encoded simple strings, likewise."""

    def __missing__(self, value: str) -> bytes:
        return b"+%b\r\n" % value.encode("utf-8", "surrogateescape")


_integer: Final = _Integers((number, b":%d\r\n" % number) for number in range(-1, 1024)).__getitem__
_status: Final = _Statuses((text, b"+%b\r\n" % text.encode()) for text in ("OK", "PONG", "QUEUED")).__getitem__


_ESCAPES: Final = [
    b"\\x%02x" % byte if not 32 <= byte <= 126 else bytes((byte,)) for byte in range(256)
]
for _byte, _escape in zip(b'\\"\n\r\t\a\b', (b"\\\\", b'\\"', b"\\n", b"\\r", b"\\t", b"\\a", b"\\b"), strict=True):
    _ESCAPES[_byte] = _escape


def quoted(text: bytes) -> bytes:
    """Text in double quotes with what is unprintable escaped, as MONITOR shows arguments (`sdscatrepr`)."""
    return b'"%b"' % b"".join([_ESCAPES[byte] for byte in text])


def only_messages(value: Reply) -> Reply:
    """What of a reply goes also to a client that wants no replies (CLIENT REPLY OFF): messages of pub/sub."""
    if type(value) is not Several:
        return SILENCE
    return Several([item for item in value if type(item) in (Push, Encoded)])


def _error(value: CommandError) -> bytes:
    line = value.text.replace("\r", " ").replace("\n", " ")
    return b"-%b\r\n" % line.encode("utf-8", "surrogateescape")


def _silence(value: Silence) -> bytes:
    return b""


def encode2(value: Reply) -> bytes:
    """`value` in RESP2. KeyError for a value that is not in this module's table."""
    if type(value) is bytes:
        size = len(value)
        return _BULK_HEADS[size] + value + b"\r\n" if size < 1024 else b"$%d\r\n%b\r\n" % (size, value)
    return _ENCODERS2[type(value)](value)


def _several2(value: Several) -> bytes:
    return b"".join([encode2(item) for item in value])


def _array2(value: Collection[Any]) -> bytes:
    if len(value) >= _MANY and (body := _bulks(value)) is not None:
        return b"*%d%b\r\n" % (len(value), body)
    parts = [encode2(item) for item in value]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def _texts2(value: Sequence[bytes]) -> bytes:
    body = _joined(value) if value else b""
    if body is None:
        body = b"".join([b"\r\n$%d\r\n%b" % (len(text), text) for text in value])
    return b"*%d%b\r\n" % (len(value), body)


def _flat_map3(value: FlatMap) -> bytes:
    flat = _texts2(value)
    return b"%%%d%b" % (len(value) // 2, flat[flat.index(b"\r") :])


def _kept2(value: Kept) -> bytes:
    encoded = value.in2
    if encoded is None:
        encoded = value.in2 = encode2(value.value)
    return encoded


def _kept3(value: Kept) -> bytes:
    encoded = value.in3
    if encoded is None:
        encoded = value.in3 = encode3(value.value)
    return encoded


def _scored(value: Scored, heads: Sequence[bytes], score_text: Callable[[float], bytes]) -> bytes | None:
    """The elements, a line break before each; None when one is not short. heads: what stands before a member, by size."""
    members = value[::2]
    parts = [b""] * (3 * len(members))
    try:
        parts[::3] = [heads[size] for size in map(len, members)]
    except IndexError:
        return None
    parts[1::3] = members
    parts[2::3] = map(score_text, value[1::2])
    return b"".join(parts)


def _scored2(value: Scored) -> bytes:
    body = _scored(value, _BREAKS_AND_HEADS, _score2)
    return _array2(value) if body is None else b"*%d%b\r\n" % (len(value), body)


def _scored3(value: Scored) -> bytes:
    body = _scored(value, _PAIR_HEADS, _score3)
    return _pairs3(value) if body is None else b"*%d%b\r\n" % (len(value) // 2, body)


def _map2(value: dict[Any, Any]) -> bytes:
    parts = [encode2(item) for pair in value.items() for item in pair]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def encode3(value: Reply) -> bytes:
    """`value` in RESP3. KeyError for a value that is not in this module's table."""
    if type(value) is bytes:
        size = len(value)
        return _BULK_HEADS[size] + value + b"\r\n" if size < 1024 else b"$%d\r\n%b\r\n" % (size, value)
    return _ENCODERS3[type(value)](value)


def _several3(value: Several) -> bytes:
    return b"".join([encode3(item) for item in value])


def _array3(value: Collection[Any]) -> bytes:
    if len(value) >= _MANY and (body := _bulks(value)) is not None:
        return b"*%d%b\r\n" % (len(value), body)
    parts = [encode3(item) for item in value]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def _pairs3(value: Pairs) -> bytes:
    pairs = [b"*2\r\n%b%b" % (encode3(value[at]), encode3(value[at + 1])) for at in range(0, len(value), 2)]
    return b"*%d\r\n%b" % (len(pairs), b"".join(pairs))


def _by_name3(value: ByName) -> bytes:
    parts = [encode3(item) for pair in value for item in pair]
    return b"%%%d\r\n%b" % (len(value), b"".join(parts))


def _set3(value: Collection[Any]) -> bytes:
    if len(value) >= _MANY and (body := _bulks(value)) is not None:
        return b"~%d%b\r\n" % (len(value), body)
    parts = [encode3(item) for item in value]
    return b"~%d\r\n%b" % (len(parts), b"".join(parts))


def _push3(value: Push) -> bytes:
    parts = [encode3(item) for item in value]
    return b">%d\r\n%b" % (len(parts), b"".join(parts))


def _map3(value: dict[Any, Any]) -> bytes:
    parts = [encode3(item) for pair in value.items() for item in pair]
    return b"%%%d\r\n%b" % (len(value), b"".join(parts))


def _attributed3(value: Attributed) -> bytes:
    return b"|" + _map3(value.attributes)[1:] + encode3(value.value)


_ENCODERS2: Final[dict[type, Encoder]] = {
    bytes: bulk,
    bytearray: bulk,
    int: _integer,
    str: _status,
    type(None): lambda value: b"$-1\r\n",
    _NullArray: lambda value: b"*-1\r\n",
    list: _array2,
    tuple: _array2,
    Texts: _texts2,
    Pairs: _array2,
    Scored: _scored2,
    ByName: _array2,
    EncodedArray: lambda value: value,
    Kept: _kept2,
    FlatMap: _texts2,
    Push: _array2,
    Several: _several2,
    Encoded: bytes,
    set: _array2,
    frozenset: _array2,
    OrderedSet: _array2,
    dict: _map2,
    bool: lambda value: b":1\r\n" if value else b":0\r\n",
    float: lambda value: bulk(format_double(value)),
    HumanDouble: lambda value: bulk(format_double_human(value.value)),
    Verbatim: lambda value: bulk(value.text),
    BigNumber: lambda value: bulk(b"%d" % value.value),
    Attributed: lambda value: encode2(value.value),
    CommandError: _error,
    Silence: _silence,
}

_ENCODERS3: Final[dict[type, Encoder]] = {
    **_ENCODERS2,
    type(None): lambda value: b"_\r\n",
    _NullArray: lambda value: b"_\r\n",
    list: _array3,
    tuple: _array3,
    Pairs: _pairs3,
    Scored: _scored3,
    FlatMap: _flat_map3,
    Kept: _kept3,
    ByName: _by_name3,
    Push: _push3,
    Several: _several3,
    set: _set3,
    frozenset: _set3,
    OrderedSet: _set3,
    dict: _map3,
    bool: lambda value: b"#t\r\n" if value else b"#f\r\n",
    float: lambda value: b",%b\r\n" % format_double(value),
    HumanDouble: lambda value: b",%b\r\n" % format_double_human(value.value),
    Verbatim: lambda value: b"=%d\r\n%b:%b\r\n" % (len(value.text) + 4, value.format, value.text),
    BigNumber: lambda value: b"(%d\r\n" % value.value,
    Attributed: _attributed3,
}
