"""COMMAND: what there is, told from the declarations that stand beside the handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from node import errors
from node.errors import CommandError
from node.glob import compile_glob
from node.help import container_help
from node.registry import Args, Command, Flag, Group, KeySpec
from node.resp import OrderedSet, Reply
from node.syntax import Argument, parse_syntax

if TYPE_CHECKING:
    from node.context import Context

group = Group("server")

_FLAG_NAMES = [(flag, (flag.name or "").lower()) for flag in Flag if flag and flag is not Flag.PROTECTED]


# COMMAND INFO ---------------------------------------------------------------------------------------------------------


def flag_names(command: Command) -> list[str]:
    """The flags as COMMAND INFO prints them."""
    return [name for flag, name in _FLAG_NAMES if command.flags & flag]


def key_range(command: Command) -> tuple[int, int, int]:
    """First key, last key and step, as COMMAND told them before there were key specs; zeros where they can't say."""
    first, last, step, previous = 0, 0, 0, 0
    for spec in command.keys:
        if spec.unknown or spec.keyword or spec.count_at is not None or (previous and previous != spec.begin - 1):
            continue
        first = first or spec.begin
        previous = last = spec.begin + spec.last if spec.last >= 0 else spec.last
        step = spec.step if not step else 1
    return first, last, step


def described_spec(spec: KeySpec) -> dict[bytes, object]:
    """One key spec as COMMAND INFO prints it."""
    names = spec.flags.split()
    if spec.incomplete and "incomplete" not in names:
        names.append("incomplete")
    told: dict[bytes, object] = {b"notes": spec.notes.encode()} if spec.notes else {}
    told[b"flags"] = OrderedSet(names)
    if spec.unknown:
        told[b"begin_search"] = told[b"find_keys"] = {b"type": b"unknown", b"spec": {}}
        return told
    if spec.keyword:
        where: dict[bytes, object] = {b"keyword": spec.keyword.encode(), b"startfrom": spec.begin}
        told[b"begin_search"] = {b"type": b"keyword", b"spec": where}
    else:
        told[b"begin_search"] = {b"type": b"index", b"spec": {b"index": spec.begin}}
    if spec.count_at is None:
        told[b"find_keys"] = {
            b"type": b"range",
            b"spec": {b"lastkey": spec.last, b"keystep": spec.step, b"limit": spec.limit},
        }
    else:
        told[b"find_keys"] = {
            b"type": b"keynum",
            b"spec": {b"keynumidx": spec.count_at, b"firstkey": spec.first_at, b"keystep": spec.step},
        }
    return told


def described(command: Command) -> list[object]:
    """A command as COMMAND INFO prints it."""
    return [
        command.name.encode(),
        command.arity,
        OrderedSet(flag_names(command)),
        *key_range(command),
        OrderedSet(command.categories()),
        OrderedSet(hint.encode() for hint in command.hints),
        OrderedSet(described_spec(spec) for spec in command.keys),
        OrderedSet(described(subcommand) for subcommand in command.subcommands.values()),
    ]


@group.command(
    "COMMAND",
    arity=-1,
    flags=Flag.LOADING | Flag.STALE,
    since="2.8.13",
    summary="Returns detailed information about all commands.",
    complexity="O(N) where N is the total number of commands",
    acl=("connection",),
    hints=("nondeterministic_output_order",),
)
def command(ctx: Context, args: Args) -> Reply:
    return [described(one) for one in ctx.node.commands]


@group.command(
    "COMMAND COUNT",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="2.8.13",
    summary="Returns a count of commands.",
    acl=("connection",),
    of="COMMAND",
)
def command_count(ctx: Context, args: Args) -> Reply:
    return len(ctx.node.commands.by_name)


@group.command(
    "COMMAND INFO [command-name [command-name ...]]",
    arity=-2,
    flags=Flag.LOADING | Flag.STALE,
    since="2.8.13",
    summary="Returns information about one, multiple or all commands.",
    complexity="O(N) where N is the number of commands to look up",
    acl=("connection",),
    hints=("nondeterministic_output_order",),
    history=(("7.0.0", "Allowed to be called with no argument to get info on all commands."),),
    of="COMMAND",
)
def command_info(ctx: Context, args: Args) -> Reply:
    if len(args) == 2:
        return [described(one) for one in ctx.node.commands]
    found = [ctx.node.commands.named(name) for name in args[2:]]
    return [None if one is None else described(one) for one in found]


# COMMAND DOCS ---------------------------------------------------------------------------------------------------------


def documented(command: Command) -> dict[bytes, object]:
    """A command as COMMAND DOCS prints it."""
    told: dict[bytes, object] = {
        b"summary": command.summary.encode(),
        b"since": command.since.encode(),
        b"group": command.group.encode(),
        b"complexity": command.complexity.encode(),
    }
    if command.deprecated_since:
        told[b"doc_flags"] = OrderedSet(["deprecated"])
        told[b"deprecated_since"] = command.deprecated_since.encode()
        told[b"replaced_by"] = command.replaced_by.encode()
    if command.history:
        told[b"history"] = OrderedSet([version.encode(), change.encode()] for version, change in command.history)
    arguments = parse_syntax(command.syntax, 2 if "|" in command.name else 1)
    if arguments:
        told[b"arguments"] = _documented_arguments(arguments, _spec_numbers(command))
    if command.subcommands:
        told[b"subcommands"] = {one.name.encode(): documented(one) for one in command.subcommands.values()}
    return told


def _spec_numbers(command: Command) -> Iterator[int]:
    """Which key spec finds each argument that is a key: one each, and the last one all that are left."""
    yield from range(len(command.keys))
    while command.keys:
        yield len(command.keys) - 1


def _documented_arguments(arguments: Iterable[Argument], specs: Iterator[int]) -> list[dict[bytes, object]]:
    """`specs`: the numbers of the command's key specs, of which each argument that is a key takes the next."""
    told = []
    for argument in arguments:
        index = next(specs, None) if argument.type == "key" else None
        kind = "string" if argument.type == "key" and index is None else argument.type
        one: dict[bytes, object] = {b"name": argument.name.encode(), b"type": kind.encode()}
        if not argument.arguments:
            one[b"display_text"] = argument.name.encode()
        if index is not None:
            one[b"key_spec_index"] = index
        if argument.token:
            one[b"token"] = argument.token.encode()
        if argument.flags:
            one[b"flags"] = OrderedSet(argument.flags)
        if argument.arguments:
            one[b"arguments"] = _documented_arguments(argument.arguments, specs)
        told.append(one)
    return told


@group.command(
    "COMMAND DOCS [command-name [command-name ...]]",
    arity=-2,
    flags=Flag.LOADING | Flag.STALE,
    since="7.0.0",
    summary="Returns documentary information about one, multiple or all commands.",
    complexity="O(N) where N is the number of commands to look up",
    acl=("connection",),
    hints=("nondeterministic_output_order",),
    of="COMMAND",
)
def command_docs(ctx: Context, args: Args) -> Reply:
    table = ctx.node.commands
    chosen = list(table) if len(args) == 2 else [one for name in args[2:] if (one := table.named(name)) is not None]
    return {one.name.encode(): documented(one) for one in chosen}


# COMMAND LIST ---------------------------------------------------------------------------------------------------------


@group.command(
    "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    arity=-2,
    flags=Flag.LOADING | Flag.STALE,
    since="7.0.0",
    summary="Returns a list of command names.",
    complexity="O(N) where N is the total number of commands",
    acl=("connection",),
    hints=("nondeterministic_output_order",),
    of="COMMAND",
)
def command_list(ctx: Context, args: Args) -> Reply:
    chosen: Callable[[Command], bool] = _every
    if len(args) == 5 and args[2].lower() == b"filterby":
        chosen = _filter(args[3].lower(), args[4])
    elif len(args) != 2:
        raise CommandError(errors.SYNTAX)
    everything = [one for parent in ctx.node.commands for one in (parent, *parent.subcommands.values())]
    return [one.name.encode() for one in everything if chosen(one)]


def _every(command: Command) -> bool:
    return True


def _filter(kind: bytes, wanted: bytes) -> Callable[[Command], bool]:
    if kind == b"module":
        return lambda command: False
    if kind == b"aclcat":
        category = "@" + wanted.lower().decode("latin-1")
        return lambda command: category in command.categories()
    if kind == b"pattern":
        matches = compile_glob(wanted, True)
        return lambda command: matches(command.name.encode())
    raise CommandError(errors.SYNTAX)


# COMMAND GETKEYS ------------------------------------------------------------------------------------------------------


@group.command(
    "COMMAND GETKEYS command [arg [arg ...]]",
    arity=-3,
    flags=Flag.LOADING | Flag.STALE,
    since="2.8.13",
    summary="Extracts the key names from an arbitrary command.",
    complexity="O(N) where N is the number of arguments to the command",
    acl=("connection",),
    of="COMMAND",
)
def command_getkeys(ctx: Context, args: Args) -> Reply:
    request = args[2:]
    return [request[at] for at, _ in _keys(ctx, request)]


@group.command(
    "COMMAND GETKEYSANDFLAGS command [arg [arg ...]]",
    arity=-3,
    flags=Flag.LOADING | Flag.STALE,
    since="7.0.0",
    summary="Extracts the key names and access flags for an arbitrary command.",
    complexity="O(N) where N is the number of arguments to the command",
    acl=("connection",),
    of="COMMAND",
)
def command_getkeysandflags(ctx: Context, args: Args) -> Reply:
    request = args[2:]
    return [[request[at], OrderedSet(flags.split())] for at, flags in _keys(ctx, request)]


def _keys(ctx: Context, request: Args) -> list[tuple[int, str]]:
    """Where the keys of a request stand, each with the flags of its key spec. CommandError with Redis's reasons."""
    try:
        found = ctx.node.commands.resolve(request)
    except CommandError:
        raise CommandError("ERR Invalid command specified") from None
    if found.find_keys is None and all(spec.flags == "not_key" for spec in found.keys):
        raise CommandError("ERR The command has no key arguments")
    try:
        found.check_arity(request)
    except CommandError:
        raise CommandError("ERR Invalid number of arguments specified for command") from None
    if found.find_keys is not None:
        flags = found.keys[0].flags if found.keys else ""
        places = [(at, flags) for at in found.find_keys(request)]
    else:
        places = [(at, _flags(spec, request)) for spec in found.keys for at in spec.positions(request)]
    if not places and not found.flags & Flag.NO_MANDATORY_KEYS:
        raise CommandError("ERR Invalid arguments specified for command")
    return places


def _flags(spec: KeySpec, request: Args) -> str:
    """What a request does with its keys, where that depends on its options: SET reads them only with GET."""
    if "variable_flags" not in spec.flags:
        return spec.flags
    return "RW access update" if any(arg.upper() == b"GET" for arg in request[3:]) else "OW update"


@group.command(
    "COMMAND HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Returns helpful text about the different subcommands.",
    acl=("connection",),
    of="COMMAND",
)
def command_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)
