"""Which types can be saved and loaded: the one list. A new type is a module here and a line in ENCODINGS."""

from __future__ import annotations

from node.persistence.encodings import (
    bloom,
    count_min,
    cuckoo,
    hashes,
    json,
    lists,
    sets,
    streams,
    strings,
    tdigest,
    top_k,
    zsets,
)
from node.persistence.encodings.base import Encoding, Loader, PiecewiseSaver, Saver
from node.persistence.encodings.modules import encoding_of_modules
from node.persistence.options import RDB_VERSION_FIELD_DEADLINES, RDB_VERSION_VALKEY

_MODULES = (bloom.MODULE, cuckoo.MODULE, count_min.MODULE, top_k.MODULE, tdigest.MODULE)

MODULE_CLASSES = frozenset((*json.ENCODING.classes, *(module.value_class for module in _MODULES)))
"""Of values that are a module's elsewhere: who lacks the module can not read them."""

ENCODINGS: tuple[Encoding, ...] = (
    strings.ENCODING,
    streams.ENCODING,
    hashes.ENCODING,
    json.ENCODING,
    encoding_of_modules(_MODULES, others=json.load),
    lists.ENCODING,
    sets.ENCODING,
    zsets.ENCODING,
)

LOADERS: list[Loader | None] = [None] * 256
"""By RDB type tag."""
SAVERS: dict[type, Saver] = {}
"""By the exact class of the value."""
PIECEWISE_SAVERS: dict[type, PiecewiseSaver] = {}

for _encoding in ENCODINGS:
    for _tag, _loader in _encoding.loaders.items():
        LOADERS[_tag] = _loader
    for _class in _encoding.classes:
        SAVERS[_class] = _encoding.save
        if _encoding.save_piecewise is not None:
            PIECEWISE_SAVERS[_class] = _encoding.save_piecewise

_TYPE_NAMES: dict[int, str] = {
    6: "module value",
    22: "hash with field expiry",
    23: "hash with field expiry",
    24: "hash with field expiry",
    25: "hash with field expiry",
}

_INTRODUCED = ((16, 10), (20, 11), (22, RDB_VERSION_VALKEY), (23, RDB_VERSION_FIELD_DEADLINES))
"""From this tag on, values need at least this RDB version; what is older is read by every server that has RESTORE. Tag 22
is Valkey's."""
_RESTORE_SINCE = 6


def unsupported(tag: int) -> str:
    """Why a value of type `tag`, which has no loader, cannot be read."""
    name = _TYPE_NAMES.get(tag)
    return f"unknown type {tag}" if name is None else f"type {tag} ({name}) is not supported"


def version_needed(tag: int) -> int:
    """The lowest RDB version whose servers read a value of type `tag`."""
    version = _RESTORE_SINCE
    for first, needed in _INTRODUCED:
        if tag >= first:
            version = needed
    return version
