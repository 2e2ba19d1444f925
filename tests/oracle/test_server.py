"""Server commands against the real servers: errors, digests, fields of INFO, and what COMMAND tells of each command."""

from __future__ import annotations

import random
import re
import time

import pytest

from node.commands.debug import dataset_digest
from node.commands.introspection import described, documented
from node.info import info
from node.state import COMMANDS
from tests.commands.harness import Harness
from tests.oracle.oracle import SEED, Judge, Unlike
from tests.oracle.wire import Tree, Wire
from tests.servers import ServerProcess

TABLES = {
    "flush": """
        SET k v
        FLUSHDB ASYNC
        SET k v
        FLUSHDB sync
        FLUSHDB WHAT
        FLUSHALL WHAT
        FLUSHALL SYNC ASYNC
        SELECT 3
        SET k v
        DBSIZE
        SELECT 0
        DBSIZE
        FLUSHALL
        DBSIZE x
        LASTSAVE x
        TIME x
    """,
    "config": """
        CONFIG GET nosuch
        CONFIG GET maxmemory
        CONFIG GET MAXMEMORY
        CONFIG GET
        CONFIG SET maxmemory
        CONFIG SET nosuch 1
        CONFIG SET maxmemory x
        CONFIG SET port
        CONFIG SET databases 3
        CONFIG SET maxmemory 1 maxmemory
        CONFIG SET maxmemory 1 maxmemory 2
        CONFIG REWRITE
        CONFIG REWRITE x
        CONFIG RESETSTAT
        CONFIG WHAT
        CONFIG
    """,
    "memory": """
        SET k v
        MEMORY USAGE nothing
        MEMORY USAGE k SAMPLES
        MEMORY USAGE k SAMPLES x
        MEMORY USAGE k SAMPLES -1
        MEMORY USAGE k WHAT
        MEMORY USAGE
        MEMORY PURGE
        MEMORY WHAT
        MEMORY
    """,
    "shutdown and lolwut": """
        SHUTDOWN WHAT
        SHUTDOWN SAVE NOSAVE
        SHUTDOWN ABORT NOW
        SHUTDOWN ABORT
        LOLWUT VERSION x
    """,
    "command": """
        COMMAND INFO nosuch
        COMMAND DOCS nosuch
        COMMAND WHAT
        COMMAND COUNT x
        COMMAND LIST x
        COMMAND LIST FILTERBY
        COMMAND LIST FILTERBY WHAT x
        COMMAND LIST FILTERBY MODULE x
        COMMAND LIST FILTERBY ACLCAT nosuch
        COMMAND LIST FILTERBY PATTERN hset
        COMMAND LIST FILTERBY PATTERN HSETNX
        COMMAND GETKEYS
        COMMAND GETKEYS nosuch x
        COMMAND GETKEYS ping x
        COMMAND GETKEYS client what
        COMMAND GETKEYS set a
        COMMAND GETKEYS get a b
        COMMAND GETKEYS set a b
        COMMAND GETKEYS mset a 1 b 2
        COMMAND GETKEYS mget a b c
        COMMAND GETKEYS rename a b
        COMMAND GETKEYS object encoding k
        COMMAND GETKEYSANDFLAGS rename a b
        COMMAND GETKEYSANDFLAGS set a b
        COMMAND GETKEYSANDFLAGS mget a b
        COMMAND GETKEYSANDFLAGS object encoding k
    """,
}


@pytest.mark.real
@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name], UNLIKE)


UNLIKE: dict[str, Unlike] = {}


# DEBUG ----------------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_digests(real: ServerProcess) -> None:
    """Strings, hashes, integers and deadlines in several databases: equal data has equal digests."""
    print(f"HASHSLOT_ORACLE_SEED={SEED}")
    rng = random.Random(SEED)
    wire = Wire(real.port)
    wire.call(b"FLUSHALL")
    ours = Harness(settings={"enable-debug-command": "yes"})
    ours.node.set_time(time.time_ns() // 1_000_000)

    def both(*args: bytes) -> None:
        wire.call(*args)
        ours.run(*args)

    assert ours.run("DEBUG", "DIGEST") == wire.call(b"DEBUG", b"DIGEST").value.decode()
    for number in range(60):
        if rng.random() < 0.2:
            both(b"SELECT", b"%d" % rng.randrange(4))
        key = b"k%d" % number
        kind = rng.randrange(4)
        if kind == 0:
            both(b"SET", key, rng.randbytes(rng.randrange(60)))
        elif kind == 1:
            both(b"SET", key, b"%d" % rng.randrange(-(10**9), 10**9))
        elif kind == 2:
            both(b"APPEND", key, rng.randbytes(5))
        else:
            fields = [rng.randbytes(rng.randrange(1, 80)) for _ in range(2 * rng.randrange(1, 20))]
            both(b"HSET", key, *fields)
        if rng.random() < 0.3:
            both(b"EXPIRE", key, b"1000")
        values = [b"DEBUG", b"DIGEST-VALUE", key, b"nothing"]
        assert ours.run(*values) == [item.value.decode() for item in wire.call(*values).value]
    assert ours.run("DEBUG", "DIGEST") == wire.call(b"DEBUG", b"DIGEST").value.decode()
    both(b"FLUSHALL")
    assert dataset_digest(ours.node.databases) == bytes(20)
    wire.close()


DEBUG_CASES = """
    DEBUG
    DEBUG WHAT
    DEBUG SLEEP
    DEBUG SLEEP 0
    DEBUG SLEEP x
    DEBUG OBJECT nothing
    DEBUG LISTPACK nothing
    DEBUG LISTPACK string
    DEBUG SET-ACTIVE-EXPIRE 1
    DEBUG QUICKLIST-PACKED-THRESHOLD 100b
    DEBUG QUICKLIST-PACKED-THRESHOLD 0
    DEBUG QUICKLIST-PACKED-THRESHOLD x
    DEBUG CHANGE-REPL-ID
    DEBUG DROP-CLUSTER-PACKET-FILTER -1
    DEBUG POPULATE x
    DEBUG POPULATE -1
    DEBUG POPULATE 3 p 10
    DEBUG POPULATE 12 q
    GET p:0
    GET p:2
    GET q:11
    GET q:12
    DEBUG POPULATE 3
    DBSIZE
    DEBUG REPLICATE set a b
    DEBUG PROTOCOL string
    DEBUG PROTOCOL integer
    DEBUG PROTOCOL double
    DEBUG PROTOCOL null
    DEBUG PROTOCOL array
    DEBUG PROTOCOL set
    DEBUG PROTOCOL map
    DEBUG PROTOCOL verbatim
    DEBUG PROTOCOL true
    DEBUG PROTOCOL false
    DEBUG PROTOCOL bignum
    DEBUG PROTOCOL what
    DEBUG ERROR "CODE text"
"""


@pytest.mark.real
def test_debug(judge: Judge) -> None:
    judge.check("SET", "string", "text")
    judge.ours.node.config.load("enable-debug-command", ["yes"])
    for line in DEBUG_CASES.split("\n"):
        if line.strip() == 'DEBUG ERROR "CODE text"':
            judge.check("DEBUG", "ERROR", "CODE text")
        elif line.strip():
            judge.check(*line.split())


@pytest.mark.real
def test_debug_object(judge: Judge) -> None:
    """All but the address, the clock and the references of strings."""
    judge.ours.node.config.load("enable-debug-command", ["yes"])
    judge.ours.node.config.set_many({"rdbcompression": "no"})
    for args in (("SET", "k", "text"), ("SET", "k", "7"), ("SET", "k", "x" * 100), ("HSET", "h", "f", "v")):
        judge.check(*args)
        theirs, ours = judge.both("DEBUG", "OBJECT", args[1])
        wanted = dict(re.findall(rb"(\w+):(\S+)", theirs.value))
        found = dict(re.findall(rb"(\w+):(\S+)", ours.value))
        fields = [b"encoding", b"serializedlength"] if judge.kind == "redis" else [b"serializedlength"]
        assert [found[name] for name in fields] == [wanted[name] for name in fields], args
        assert list(found)[:4] == [b"at", b"refcount", b"encoding", b"serializedlength"]


# COMMAND --------------------------------------------------------------------------------------------------------------


def _tree(wire: Wire, *args: bytes) -> dict[str, list[Tree]]:
    """COMMAND INFO by full name."""
    found: dict[str, list[Tree]] = {}
    for item in wire.call(*args).value:
        if item.value is not None:
            for one in (item, *item.value[9].value):
                found[one.value[0].value.decode()] = one.value
    return found


_SINCE_7_0 = {
    "select": "allow_busy",
    "client|getname": "allow_busy",
    "client|getredir": "allow_busy",
    "client|id": "allow_busy",
    "client|no-evict": "allow_busy",
    "client|reply": "allow_busy",
    "client|setname": "allow_busy",
    "memory|malloc-stats": "loading",
    "memory|purge": "loading",
}
"""Flags that commands got after 7.0."""
_OTHER_ARITY = {"command|getkeys", "command|getkeysandflags"}
MINE = {"generic", "connection", "server"}
_NOT_MINE = {"replicaof", "slaveof", "psync", "replconf", "role", "sync", "wait"}


@pytest.mark.real
def test_command_info(redis70: ServerProcess) -> None:
    """Arity, flags, keys and ACL categories of each key, connection and server command."""
    wire = Wire(redis70.port)
    theirs = _tree(wire, b"COMMAND")
    wire.close()
    seen = 0
    for parent in COMMANDS:
        for command in (parent, *parent.subcommands.values()):
            if command.group not in MINE or command.name not in theirs or command.name in _NOT_MINE:
                continue
            seen += 1
            real, ours = theirs[command.name], described(command)
            if command.name not in _OTHER_ARITY:
                assert int(real[1].value) == ours[1], command.name
            flags = {flag.value.decode() for flag in real[2].value} | {_SINCE_7_0.get(command.name, "")} - {""}
            assert flags == set(ours[2]), command.name  # type: ignore[call-overload]
            assert [int(part.value) for part in real[3:6]] == ours[3:6], command.name
            assert {name.value.decode() for name in real[6].value} == set(ours[6]), command.name  # type: ignore[call-overload]
            assert _plain(real[8]) == _spec(ours[8]), command.name
    assert seen > 80


def _plain(tree: Tree) -> object:
    if tree.kind in "*~":
        flat = [_plain(item) for item in tree.value]
        return flat
    return int(tree.value) if tree.kind == ":" else tree.value.decode()


def _spec(value: object) -> object:
    """A value of ours as RESP2 would nest it."""
    if isinstance(value, dict):
        return [_spec(part) for pair in value.items() for part in pair]
    if isinstance(value, list):
        return [_spec(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.real
def test_command_docs_arguments(redis70: ServerProcess) -> None:
    """The shape of each command's arguments: types, tokens, flags and nesting, read from its syntax line."""
    wire = Wire(redis70.port, 3)
    theirs: dict[str, dict[str, Tree]] = {}
    for name, docs in wire.call(b"COMMAND", b"DOCS").value:
        fields = {key.value.decode(): value for key, value in docs.value}
        theirs[name.value.decode()] = fields
        for child, more in fields["subcommands"].value if "subcommands" in fields else ():
            theirs[child.value.decode()] = {key.value.decode(): value for key, value in more.value}
    wire.close()
    unlike: list[str] = []
    seen = 0
    for parent in COMMANDS:
        for command in (parent, *parent.subcommands.values()):
            if command.group not in MINE or command.name not in theirs or command.name in _NOT_MINE:
                continue
            docs = theirs[command.name]
            ours = documented(command)
            real = [_shape(item) for item in docs["arguments"].value] if "arguments" in docs else []
            if [_our_shape(item) for item in ours.get(b"arguments", [])] != real:  # type: ignore[attr-defined]
                unlike.append(command.name)
            assert docs["since"].value == ours[b"since"] or command.name in _OTHER_SINCE, command.name
            assert docs["group"].value == ours[b"group"], command.name
            seen += bool(real)
    assert seen > 30
    assert sorted(unlike) == sorted(_OTHER_SHAPE)


_OTHER_SHAPE = {"client|list", "client|kill", "shutdown", "config|get", "command|getkeys", "command|getkeysandflags"}
_OTHER_SHAPE |= {"failover", "migrate"}
"""Described in another way since 7.2, or, for SHUTDOWN, CLIENT KILL, FAILOVER and MIGRATE, by what their syntax line says:
7.0 gives TO to the whole block, and calls AUTH and AUTH2 optional within a choice that is optional itself."""
_OTHER_SINCE = {"client|pause"}


def _shape(tree: Tree) -> tuple[object, ...]:
    fields = {key.value.decode(): value for key, value in tree.value}
    nested = tuple(_shape(item) for item in fields["arguments"].value) if "arguments" in fields else ()
    flags = tuple(flag.value.decode() for flag in fields["flags"].value) if "flags" in fields else ()
    token = fields["token"].value if "token" in fields else b""
    return fields["type"].value, token, flags, nested


def _our_shape(fields: dict[bytes, object]) -> tuple[object, ...]:
    nested = tuple(_our_shape(item) for item in fields.get(b"arguments", ()))  # type: ignore[attr-defined]
    return fields[b"type"], fields.get(b"token", b""), tuple(fields.get(b"flags", ())), nested  # type: ignore[arg-type]


# INFO -----------------------------------------------------------------------------------------------------------------


def _fields(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("#"):
            section = line[2:]
            found[section] = []
        elif line:
            found[section].append(line.partition(":")[0])
    return found


_BY_COUNT = {"Commandstats", "Errorstats", "Latencystats", "Keyspace"}


@pytest.mark.real
def test_info_has_the_fields_of_the_real_server(redis70: ServerProcess) -> None:
    """Every section and field of 7.0 is there, in its order; ours has more."""
    wire = Wire(redis70.port)
    wire.call(b"SET", b"k", b"v")
    theirs = _fields(wire.call(b"INFO", b"everything").value.decode())
    wire.close()
    ours = Harness()
    ours.run("SET", "k", "v")
    mine = _fields(info(ours.node, ["everything"]))
    assert [name for name in theirs if name != "Latencystats"] == list(mine)
    for section, names in theirs.items():
        if section not in _BY_COUNT:
            assert [name for name in mine[section] if name in names] == names, section


@pytest.mark.real
def test_info_sections(judge: Judge) -> None:
    """Which sections come for which arguments."""
    for asked in ((), ("default",), ("all",), ("everything",), ("server", "CPU"), ("nosuch",), ("nosuch", "server")):
        theirs, ours = judge.both("INFO", *asked)
        assert theirs.kind == ours.kind
        skipped = {"Latencystats", "TLS", "Cluster Info", "Scripting Engines"}
        wanted = [name for name in _fields(theirs.value.decode().replace("txt:", "", 1)) if name not in skipped]
        assert list(_fields(ours.value.decode().replace("txt:", "", 1))) == wanted, asked


# MONITOR --------------------------------------------------------------------------------------------------------------

WATCHED = [
    (b"PING",),
    (b"SET", b"k", bytes(range(256))),
    (b"set", b"", b"'\"\\"),
    (b"AUTH", b"default", b"secret"),
    (b"HELLO", b"2", b"AUTH", b"default", b"secret", b"SETNAME", b"x"),
    (b"CLIENT", b"ID"),
    (b"CONFIG", b"GET", b"port"),
    (b"CLIENT", b"LIST"),
    (b"RESET",),
]
"""Requests; those of administrators are not shown."""


@pytest.mark.real
def test_monitor_lines(real: ServerProcess) -> None:
    """All but the time and the address."""
    watcher, wire = Wire(real.port), Wire(real.port)
    watcher.call(b"MONITOR")
    ours = Harness()
    seen: list[bytes] = []
    mine = ours.connect()
    mine.send = seen.append
    ours.node.run(mine, [b"MONITOR"])
    shown = 0
    for request in WATCHED:
        wire.call(*request)
        ours.node.run(ours.client, list(request))
        if request[0] == b"CONFIG" or request[1:2] == (b"LIST",):
            continue
        theirs = watcher.read().value
        assert theirs.partition(b"] ")[2] == seen[shown].partition(b"] ")[2].removesuffix(b"\r\n"), request
        shown += 1
    assert len(seen) == shown
    watcher.close()
    wire.close()
