"""The types of values: what TYPE and OBJECT ENCODING call them, how they are copied. A new type is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from node.types import string
from node.types.blocks import ListLimits
from node.types.bloom import Bloom
from node.types.count_min import CountMin
from node.types.cuckoo import Cuckoo
from node.types.hash import Hash, HashLimits
from node.types.json import Json
from node.types.list import List
from node.types.set import Set, SetLimits
from node.types.stream import Stream, StreamLimits
from node.types.tdigest import TDigest
from node.types.top_k import TopK
from node.types.zset import ZSet, ZSetLimits


class Limits(HashLimits, ListLimits, SetLimits, StreamLimits, ZSetLimits, Protocol):
    """The settings that encodings depend on; `Config` has them all."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One type. `encoding` is asked with the settings; `copy` shares nothing that changes; `size` is what freeing
    costs, in elements."""

    name: str
    encoding: Callable[[Any, Limits], str]
    copy: Callable[[Any], Any]
    size: Callable[[Any], int]


STRING = Kind("string", lambda value, limits: string.encoding(value), string.copy, lambda value: 1)
HASH = Kind("hash", Hash.encoding, Hash.copy, len)
BLOOM = Kind("MBbloom--", lambda value, limits: "raw", Bloom.copy, lambda value: 1)
COUNT_MIN = Kind("CMSk-TYPE", lambda value, limits: "raw", CountMin.copy, lambda value: 1)
CUCKOO = Kind("MBbloomCF", lambda value, limits: "raw", Cuckoo.copy, lambda value: 1)
T_DIGEST = Kind("TDIS-TYPE", lambda value, limits: "raw", TDigest.copy, lambda value: 1)
TOP_K = Kind("TopK-TYPE", lambda value, limits: "raw", TopK.copy, lambda value: len(value.top) + 1)
JSON = Kind("ReJSON-RL", Json.encoding, Json.copy, Json.parts)
LIST = Kind("list", List.encoding, List.copy, len)
SET = Kind("set", Set.encoding, Set.copy, len)
STREAM = Kind("stream", Stream.encoding, Stream.copy, Stream.parts)
ZSET = Kind("zset", ZSet.encoding, ZSet.copy, len)

KINDS: dict[type, Kind] = {
    bytes: STRING,
    int: STRING,
    bytearray: STRING,
    Bloom: BLOOM,
    CountMin: COUNT_MIN,
    Cuckoo: CUCKOO,
    Hash: HASH,
    Json: JSON,
    List: LIST,
    Set: SET,
    Stream: STREAM,
    TDigest: T_DIGEST,
    TopK: TOP_K,
    ZSet: ZSET,
}
"""By the class of a value."""


def type_name(value: Any) -> str:
    """What TYPE answers. KeyError for something that is no value."""
    return KINDS[type(value)].name


def encoding_of(value: Any, limits: Limits) -> str:
    """What OBJECT ENCODING answers. KeyError for something that is no value."""
    return KINDS[type(value)].encoding(value, limits)


def copy_of(value: Any) -> Any:
    """An equal value that shares nothing that changes with this one (COPY). KeyError for something that is no value."""
    return KINDS[type(value)].copy(value)


def elements_of(value: Any) -> int:
    """How many parts freeing the value takes apart. KeyError for something that is no value."""
    return KINDS[type(value)].size(value)
