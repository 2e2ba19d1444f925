"""What a real server says of a command (COMMAND INFO and COMMAND DOCS) beside what we declare."""

from __future__ import annotations

from typing import Any

from node.commands.introspection import key_range
from node.registry import Command, Flag, KeySpec
from tests.commands.harness import Harness
from tests.oracle.wire import Tree, Wire, parse_whole


def plain(tree: Tree) -> Any:
    """A reply in RESP3 as plain data: texts as str, sets and arrays as lists, maps as dicts."""
    if tree.kind in "+$=":
        return tree.value.decode()
    if tree.kind == ":":
        return int(tree.value)
    if tree.kind in "*~":
        return [plain(item) for item in tree.value]
    if tree.kind == "%":
        return {plain(name): plain(value) for name, value in tree.value}
    assert tree.kind == "_", tree
    return None


def told(wire: Wire, name: str) -> dict[str, Any] | None:
    """The facts that a server tells of a command ("get", "client|kill") over RESP3; None when it does not know it."""
    info = plain(wire.call(b"COMMAND", b"INFO", name.encode()))[0]
    if info is None:
        return None
    docs = plain(wire.call(b"COMMAND", b"DOCS", name.encode()))[name]
    return {
        "arity": info[1],
        "flags": sorted(info[2]),
        "range": tuple(info[3:6]),
        "categories": sorted(info[6]),
        "tips": info[7],
        "keys": [_spec_told(spec) for spec in info[8]],
        "group": docs["group"],
        "since": docs["since"],
        "summary": docs["summary"].rstrip("."),
        "complexity": docs.get("complexity", "").rstrip("."),
        "history": [tuple(pair) for pair in docs.get("history", [])],
        "deprecated": (docs.get("deprecated_since", ""), docs.get("replaced_by", "")),
    }


def declared(command: Command) -> dict[str, Any]:
    """The same facts as we declare them."""
    return {
        "arity": command.arity,
        "flags": sorted(str(flag.name).lower() for flag in Flag if flag and command.flags & flag),
        "range": key_range(command),
        "categories": sorted(command.categories()),
        "tips": list(command.hints),
        "keys": [_spec_declared(spec) for spec in command.keys],
        "group": command.group,
        "since": command.since,
        "summary": command.summary.rstrip("."),
        "complexity": command.complexity.rstrip("."),
        "history": list(command.history),
        "deprecated": (command.deprecated_since, command.replaced_by),
    }


def shape(arguments: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The arguments of COMMAND DOCS: name, type, token, flags and what is inside; groups have names of our own."""
    return [
        (
            "" if "arguments" in one else one["name"],
            one["type"],
            one.get("token", ""),
            sorted(one.get("flags", [])),
            shape(one.get("arguments", [])),
        )
        for one in arguments
    ]


def arguments_told(wire: Wire, name: str) -> list[tuple[Any, ...]]:
    """The shape of a command's arguments as a server tells it over RESP3."""
    return shape(plain(wire.call(b"COMMAND", b"DOCS", name.encode()))[name].get("arguments", []))


def arguments_declared(name: str) -> list[tuple[Any, ...]]:
    """The same as we tell it."""
    reply = plain(parse_whole(Harness().wire("COMMAND", "DOCS", name, protocol=3)))
    return shape(reply[name].get("arguments", []))


def _spec_told(spec: dict[str, Any]) -> tuple[Any, ...]:
    begin, find = spec["begin_search"], spec["find_keys"]
    return sorted(spec["flags"]), spec.get("notes", ""), begin["type"], begin["spec"], find["type"], find["spec"]


def _spec_declared(spec: KeySpec) -> tuple[Any, ...]:
    flags = sorted(spec.flags.split() + (["incomplete"] if spec.incomplete else []))
    if spec.unknown:
        return flags, spec.notes, "unknown", {}, "unknown", {}
    begin: dict[str, Any] = {"index": spec.begin}
    if spec.keyword:
        begin = {"keyword": spec.keyword, "startfrom": spec.begin}
    find = {"lastkey": spec.last, "keystep": spec.step, "limit": spec.limit}
    if spec.count_at is not None:
        find = {"keynumidx": spec.count_at, "firstkey": spec.first_at, "keystep": spec.step}
    kind = "range" if spec.count_at is None else "keynum"
    return flags, spec.notes, "keyword" if spec.keyword else "index", begin, kind, find
