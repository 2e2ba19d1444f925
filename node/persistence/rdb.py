"""RDB as a stream: a reader that takes chunks of any size, and a writer that gives out bytes slice by slice.

Neither knows a file or a socket. The same writer serves BGSAVE, a replica's full sync and the base of an append-only
file; the same reader loads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

from node.persistence.crc64 import crc64
from node.persistence.encodings import LOADERS, PIECEWISE_SAVERS, SAVERS, unsupported
from node.persistence.encodings.base import Pieces
from node.persistence.errors import EmptyValue, NeedMore, RdbError
from node.persistence.options import DEFAULT_OPTIONS, RDB_VERSION_VALKEY, SaveOptions
from node.persistence.records import Aux, End, Function, Header, Key, Record, Resize, SelectDb, SlotImport, SlotInfo
from node.persistence.wire import MAX_STRING, Cursor, encode_int, encode_length, encode_string

SLOT_IMPORT, SLOT_INFO, FUNCTION, FUNCTION_PRE_RELEASE, MODULE_AUX = 0xF3, 0xF4, 0xF5, 0xF6, 0xF7
IDLE, FREQ, AUX, RESIZE, EXPIRE_MS, EXPIRE_S, SELECT, END = 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF

NEWEST_REDIS = 12
VALKEY_VERSION = RDB_VERSION_VALKEY
_FIRST_WITH_CHECKSUM = 5
_HEADER_SIZE = 9
_NO_TAG = -1
_JOB_NAME_LENGTH = 40
_SLOTS = 16384

_EXPIRE = Struct("<Bq")


class RdbReader:
    """Turns chunks of an RDB into records.

    Memory: what is kept between calls is the value that is being read, and the bytes of a string that is not whole.
    `empty_keys` counts collections without elements, which are passed over as Redis does. `leftover` is what was fed
    behind the end of the RDB, such as the mark of a `$EOF:` transfer.
    """

    def __init__(self, max_string: int = MAX_STRING) -> None:
        self.version = 0
        self.finished = False
        self.leftover = b""
        self.empty_keys = 0
        self.offset = 0
        """How many bytes were read for good, from the start of the RDB."""
        self._cursor = Cursor(b"", max_string=max_string)
        self._chunks: list[bytes] = []
        self._held = 0
        self._need = _HEADER_SIZE
        self._crc = 0
        self._error: RdbError | None = None
        self._db = 0
        self._tag = _NO_TAG
        self._key = b""
        self._expire_ms: int | None = None
        self._idle_s: int | None = None
        self._freq: int | None = None
        self._in_module = False

    def feed(self, chunk: bytes) -> list[Record]:
        """The records that `chunk` completes. Errors: RdbError; once raised, it is raised by every later call."""
        if self._error is not None:
            raise self._error
        if self.finished:
            self.leftover += chunk
            return []
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held < self._need:
            return []
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        cursor = self._cursor
        cursor.data = data
        cursor.end = len(data)
        cursor.pos = cursor.mark = 0
        records: list[Record] = []
        try:
            self._read(cursor, records)
        except NeedMore as more:
            self._keep(data, cursor.mark, more.need)
        except RdbError as error:
            if error.offset is None:
                error.offset = self.offset + cursor.pos
            self._error = error
            self._chunks.clear()
            raise
        else:
            self.leftover = data[cursor.pos :]
            self.offset += cursor.pos
            self._chunks.clear()
            self.finished = True
            cursor.data = b""
        return records

    def close(self) -> None:
        """Say that nothing more will come. Errors: RdbError if the RDB has not reached its end."""
        if self._error is not None:
            raise self._error
        if not self.finished:
            self._error = RdbError("the RDB ends too early", self.offset + self._held)
            raise self._error

    def _keep(self, data: bytes, mark: int, need: int) -> None:
        """Hold what lies behind `mark` until the bytes up to `need` are there."""
        if mark:
            self._crc = crc64(data[:mark], self._crc)
            data = data[mark:]
            self.offset += mark
        self._chunks = [data]
        self._held = len(data)
        self._need = need - mark

    def _read(self, cursor: Cursor, records: list[Record]) -> None:
        """Read records until the end mark (returns) or the end of the bytes (NeedMore)."""
        if self.version == 0:
            records.append(self._header(cursor.take(_HEADER_SIZE)))
            cursor.commit()
        data = cursor.data
        end = cursor.end
        loaders = LOADERS
        while True:
            tag = self._tag
            if tag == _NO_TAG:
                pos = cursor.pos
                if pos >= end:
                    raise NeedMore(pos + 1)
                if self._in_module:
                    self._module_item(cursor)
                    continue
                tag = data[pos]
                cursor.pos = pos + 1
                if tag >= SLOT_IMPORT:
                    if self._opcode(tag, cursor, records):
                        return
                    cursor.mark = cursor.pos
                    continue
                if loaders[tag] is None:
                    cursor.pos = pos
                    raise RdbError(unsupported(tag))
                self._key = cursor.string()
                self._tag = tag
                cursor.mark = cursor.pos
            loader = loaders[tag]
            assert loader is not None
            try:
                value = loader(cursor)
            except EmptyValue:
                self.empty_keys += 1
            else:
                records.append(Key(self._db, self._key, value, self._expire_ms, self._idle_s, self._freq))
            cursor.progress = None
            cursor.mark = cursor.pos
            self._tag = _NO_TAG
            self._expire_ms = self._idle_s = self._freq = None

    def _header(self, head: bytes) -> Header:
        magic, digits = (b"REDIS", head[5:]) if head.startswith(b"REDIS") else (head[:6], head[6:])
        if magic not in (b"REDIS", b"VALKEY") or not digits.isdigit():
            raise RdbError("no RDB: neither REDIS nor VALKEY and a version", 0)
        version = int(digits)
        if not (1 <= version <= NEWEST_REDIS if magic == b"REDIS" else version == VALKEY_VERSION):
            raise RdbError(f"Can't handle RDB format version {version}", 0)
        self.version = version
        return Header(magic.decode(), version)

    def _opcode(self, code: int, cursor: Cursor, records: list[Record]) -> bool:
        """Read what follows opcode `code`; whether it was the end."""
        if code == EXPIRE_MS:
            self._expire_ms = int.from_bytes(cursor.take(8), "little", signed=True)
        elif code == EXPIRE_S:
            self._expire_ms = int.from_bytes(cursor.take(4), "little", signed=True) * 1000
        elif code == END:
            records.append(End(self._check_end(cursor)))
            return True
        elif code == SELECT:
            self._db = cursor.length()
            records.append(SelectDb(self._db))
        elif code == RESIZE:
            records.append(Resize(cursor.length(), cursor.length()))
        elif code == AUX:
            records.append(Aux(cursor.string(), cursor.string()))
        elif code == FREQ:
            self._freq = cursor.byte()
        elif code == IDLE:
            self._idle_s = cursor.length()
        elif code == FUNCTION:
            records.append(Function(cursor.string()))
        elif code == SLOT_INFO:
            records.append(SlotInfo(cursor.length(), cursor.length(), cursor.length()))
        elif code == SLOT_IMPORT:
            name = cursor.string().decode("ascii", "replace")
            count = cursor.length()
            if len(name) != _JOB_NAME_LENGTH or count > _SLOTS:
                raise RdbError("an import of slots without a proper name or with too many ranges")
            ranges = [(cursor.length(), cursor.length()) for _ in range(count)]
            if not all(first <= last < _SLOTS for first, last in ranges):
                raise RdbError("an import of slots that do not exist")
            records.append(SlotImport(name, ranges))
        elif code == MODULE_AUX:
            cursor.length()
            if cursor.length() != 2:
                raise RdbError("module data does not say when it belongs")
            cursor.length()
            self._in_module = True
        else:
            raise RdbError("a function of a release candidate of Redis 7.0 (opcode 0xf6)")
        return False

    def _module_item(self, cursor: Cursor) -> None:
        """Pass over one item of a module's data: 0 end, 1 and 2 integers, 3 float, 4 double, 5 string."""
        kind = cursor.length()
        if kind == 0:
            self._in_module = False
        elif kind <= 2:
            cursor.length()
        elif kind <= 4:
            cursor.take(4 if kind == 3 else 8)
        elif kind == 5:
            cursor.string()
        else:
            raise RdbError(f"unknown module opcode {kind}")
        cursor.commit()

    def _check_end(self, cursor: Cursor) -> bool:
        """Compare the checksum behind the end mark; whether there was one."""
        if self.version < _FIRST_WITH_CHECKSUM:
            return False
        crc = crc64(cursor.data[: cursor.pos], self._crc)
        announced = int.from_bytes(cursor.take(8), "little")
        if announced and announced != crc:
            raise RdbError("Wrong RDB checksum")
        return announced != 0


def encode_key(key: bytes, value: object, expire_ms: int | None, options: SaveOptions = DEFAULT_OPTIONS) -> bytes:
    """One key as it stands in a file. `expire_ms`: Unix time in milliseconds, or None.

    Errors: TypeError if values of its class are never saved.
    """
    saver = SAVERS.get(type(value))
    if saver is None:
        raise TypeError(f"no RDB encoding for {type(value).__name__}")
    tag, body = saver(value, options)
    if expire_ms is None:
        return tag + encode_string(key, options.compress) + body
    return _EXPIRE.pack(EXPIRE_MS, expire_ms) + tag + encode_string(key, options.compress) + body


class KeyPieces:
    """The bytes of `encode_key` in pieces of some tens of kilobytes, for values that are too big to be written in one go
    between two commands; an empty one says that some of the work is done. The value must not change until the last piece
    was taken, or `hold` has returned True."""

    __slots__ = ("_expiry", "_key", "_pieces")

    def __init__(
        self, key: bytes, value: object, expire_ms: int | None, options: SaveOptions = DEFAULT_OPTIONS
    ) -> None:
        saver = PIECEWISE_SAVERS.get(type(value))
        self._key = self._expiry = b""
        """What stands behind the first byte, the tag, and before it."""
        if saver is None:
            self._pieces: Iterator[bytes] = Pieces([encode_key(key, value, expire_ms, options)])
            return
        self._key = encode_string(key, options.compress)
        if expire_ms is not None:
            self._expiry = _EXPIRE.pack(EXPIRE_MS, expire_ms)
        self._pieces = saver(value, options)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        if self._key and piece:
            piece = b"%b%b%b%b" % (self._expiry, piece[:1], self._key, piece[1:])
            self._key = b""
        return piece

    def hold(self) -> bool:
        """The value is about to change. Whether the pieces are made without it from here on."""
        if not isinstance(self._pieces, Pieces):
            return False
        self._pieces.hold()
        return True


def standard_aux(
    server_version: str, now_s: int, used_memory: int, aof_base: bool, replication: tuple[int, str, int] | None = None
) -> list[tuple[bytes, bytes | int]]:
    """The aux fields of Redis 7.2, in its order. `replication` is (database in the stream, id, offset) of a full sync
    or of a file; None leaves the three out."""
    fields: list[tuple[bytes, bytes | int]] = [
        (b"redis-ver", server_version.encode()),
        (b"redis-bits", 64),
        (b"ctime", now_s),
        (b"used-mem", used_memory),
    ]
    if replication is not None:
        db, replid, offset = replication
        fields += [(b"repl-stream-db", db), (b"repl-id", replid.encode()), (b"repl-offset", offset)]
    fields.append((b"aof-base", int(aof_base)))
    return fields


class RdbWriter:
    """Collects an RDB, to be taken away in slices of any size; keeps the checksum over all of them.

    Call in this order: `header`, `function`s, then for each database `select`, `resize` and its keys; `finish`.
    """

    def __init__(self, options: SaveOptions = DEFAULT_OPTIONS) -> None:
        self.options = options
        self.pending = 0
        """How many bytes wait to be taken."""
        self._parts: list[bytes] = []
        self._crc = 0

    def header(self, aux: Iterable[tuple[bytes, bytes | int]] = ()) -> None:
        """The magic with the version of the options, and facts such as those of `standard_aux`."""
        compress = self.options.compress
        version = self.options.version
        self.raw(b"VALKEY%03d" % version if version == VALKEY_VERSION else b"REDIS%04d" % version)
        for name, value in aux:
            text = encode_int(value) if isinstance(value, int) else encode_string(value, compress)
            self.raw(b"\xfa" + encode_string(name, compress) + text)

    def function(self, code: bytes) -> None:
        """A library as FUNCTION LOAD takes it."""
        self.raw(bytes((FUNCTION,)) + encode_string(code, self.options.compress))

    def select(self, db: int) -> None:
        """The keys that follow belong to `db`."""
        self.raw(bytes((SELECT,)) + encode_length(db))

    def resize(self, keys: int, expires: int) -> None:
        """How many keys the database has, and how many of them expire; a hint for the reader."""
        self.raw(bytes((RESIZE,)) + encode_length(keys) + encode_length(expires))

    def key(self, key: bytes, value: object, expire_ms: int | None = None) -> None:
        """One key, at once; see `encode_key`."""
        data = encode_key(key, value, expire_ms, self.options)
        self._parts.append(data)
        self.pending += len(data)

    def raw(self, data: bytes) -> None:
        """Bytes that are RDB already, such as a piece from `KeyPieces`."""
        self._parts.append(data)
        self.pending += len(data)

    def take(self) -> bytes:
        """All bytes since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.pending = 0
        self._crc = crc64(data, self._crc)
        return data

    def finish(self) -> bytes:
        """The rest: what waits to be taken, the end mark and the checksum."""
        self.raw(bytes((END,)))
        data = self.take()
        return data + self._crc.to_bytes(8, "little")
