"""A command's facts stand beside its handler: everything COMMAND tells, the executor checks and routing needs.

    group = Group("string")

    @group.command("GET key", arity=2, flags=Flag.READONLY | Flag.FAST, keys=KEY_READ, since="1.0.0",
                   complexity="O(1)", summary="Returns the string value of a key.")
    def get(ctx: Context, args: Args) -> Reply: ...

The syntax line names the command and is what `COMMAND DOCS` describes its arguments from. What each fact means is
defined at https://redis.io/docs/reference/command-tips/ and /key-specs/ and in Redis's `src/commands/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from typing import TYPE_CHECKING

from node.errors import CommandError, wrong_arity
from node.resp import Reply

if TYPE_CHECKING:
    from node.context import Context

Args = list[bytes]
"""A request as sent: the command's name first. A subcommand's name is args[1]."""

Handler = Callable[["Context", Args], Reply]
KeyFinder = Callable[[Args], list[int]]
"""Positions of the keys in a request, for the commands whose specs cannot say where they are."""


class Flag(IntFlag):
    """Command flags, named as COMMAND INFO prints them (lower case)."""

    NONE = 0
    WRITE = 1 << 0
    READONLY = 1 << 1
    DENYOOM = 1 << 2
    ADMIN = 1 << 3
    PUBSUB = 1 << 4
    NOSCRIPT = 1 << 5
    BLOCKING = 1 << 6
    LOADING = 1 << 7
    STALE = 1 << 8
    SKIP_MONITOR = 1 << 9
    SKIP_SLOWLOG = 1 << 10
    ASKING = 1 << 11
    FAST = 1 << 12
    NO_AUTH = 1 << 13
    MAY_REPLICATE = 1 << 14
    NO_MULTI = 1 << 15
    MOVABLEKEYS = 1 << 16
    ALLOW_BUSY = 1 << 17
    NO_MANDATORY_KEYS = 1 << 18
    NO_ASYNC_LOADING = 1 << 19
    PROTECTED = 1 << 20


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where keys stand in a request, and what is done with them.

    flags: as COMMAND INFO prints them, "RW access update". begin: an index, or with `keyword` the word to search for,
    from index `begin` on. Then either a range (last: relative to the first key, negative from the end; step; limit)
    or, with `count_at` given, a number of keys: it stands `count_at` behind begin, the first key `first_at` behind.
    """

    flags: str
    begin: int = 1
    last: int = 0
    step: int = 1
    limit: int = 0
    keyword: str = ""
    count_at: int | None = None
    first_at: int = 1
    notes: str = ""
    incomplete: bool = False
    unknown: bool = False
    """Where the keys are can not be told from the request's shape; the command's `find_keys` may know."""

    def positions(self, args: Args) -> list[int]:
        """Indices of the keys in `args`; [] where this spec finds none. CommandError when a key count is nonsense."""
        begin = self._begin(args)
        if self.unknown or begin is None or begin >= len(args):
            return []
        if self.count_at is not None:
            return self._counted(args, begin)
        if self.last >= 0:
            last = begin + self.last
        elif self.limit > 1:
            last = begin + (len(args) - begin) // self.limit + self.last
        else:
            last = len(args) + self.last
        return [at for at in range(begin, last + 1, self.step) if at < len(args)]

    def _begin(self, args: Args) -> int | None:
        if not self.keyword:
            return self.begin
        word = self.keyword.encode()
        places = range(self.begin, len(args)) if self.begin > 0 else range(len(args) + self.begin, 0, -1)
        return next((at + 1 for at in places if args[at].upper() == word), None)

    def _counted(self, args: Args, begin: int) -> list[int]:
        assert self.count_at is not None
        at = begin + self.count_at
        if at >= len(args) or not args[at].isdigit():
            return []
        first = begin + self.first_at
        end = first + int(args[at]) * self.step
        return list(range(first, end, self.step)) if end <= len(args) else []


KEY_READ = (KeySpec("RO access"),)
"""One key, first argument, whose value is returned or looked into."""
KEY_LOOK = (KeySpec("RO"),)
"""One key, first argument, of which only metadata is told."""
KEY_UPDATE = (KeySpec("RW update"),)
KEY_ACCESS_UPDATE = (KeySpec("RW access update"),)
KEY_ACCESS_DELETE = (KeySpec("RW access delete"),)
KEY_INSERT = (KeySpec("RW insert"),)
KEY_DELETE = (KeySpec("RW delete"),)
KEY_OVERWRITE = (KeySpec("OW update"),)


@dataclass(slots=True, eq=False)
class Command:
    """One command or subcommand. Built by `Group.command`; counters at the end are filled while running.

    name: lower case, "client|kill" for a subcommand. arity: as in Redis, counting the name; negative: at least.
    history: (version, change) pairs. hints: command tips, as COMMAND INFO prints them.
    """

    name: str
    handler: Handler
    arity: int
    flags: Flag
    group: str
    since: str
    summary: str
    complexity: str
    syntax: str
    keys: tuple[KeySpec, ...] = ()
    acl: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    deprecated_since: str = ""
    replaced_by: str = ""
    find_keys: KeyFinder | None = None
    subcommands: dict[bytes, Command] = field(default_factory=dict)

    min_args: int = 0
    max_args: int = 0
    key_at: int = 0
    """Where the only key stands; 0 for no key at all; -1 when `key_positions` must be asked."""
    key_slice: slice | None = None
    """The keys as a slice of the request, when one plain range says it all."""

    calls: int = 0
    nsec: int = 0
    rejected: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.min_args = abs(self.arity)
        self.max_args = self.arity if self.arity > 0 else 1 << 62
        if not self.keys and self.find_keys is None:
            return
        self.key_at = -1
        if self.find_keys is None and len(self.keys) == 1:
            spec = self.keys[0]
            if spec.keyword or spec.count_at is not None or spec.incomplete or spec.limit > 1:
                return
            if spec.last == 0:
                self.key_at = spec.begin
            else:
                end = spec.begin + spec.last + 1 if spec.last > 0 else spec.last + 1
                self.key_slice = slice(spec.begin, end or None, spec.step)

    @property
    def full_name(self) -> str:
        """The name as people write it: "CLIENT KILL"."""
        return self.name.replace("|", " ").upper()

    def check_arity(self, args: Args) -> None:
        """CommandError when `args` are too few or too many."""
        if not self.min_args <= len(args) <= self.max_args:
            raise wrong_arity(self.name)

    def key_positions(self, args: Args) -> list[int]:
        """Indices of all keys in a request, in order of the specs."""
        if self.find_keys is not None:
            return self.find_keys(args)
        return [at for spec in self.keys for at in spec.positions(args)]

    def keys_of(self, args: Args) -> list[bytes]:
        """All keys of a request."""
        if self.key_at > 0:
            return [args[self.key_at]]
        if self.key_slice is not None:
            return args[self.key_slice]
        return [args[at] for at in self.key_positions(args)]

    def categories(self) -> list[str]:
        """ACL categories with their "@", as COMMAND INFO prints them: the declared ones and those the flags imply."""
        names = list(self.acl)
        implied = (
            (Flag.WRITE, "write"),
            (Flag.READONLY, "read"),
            (Flag.ADMIN, "admin"),
            (Flag.ADMIN, "dangerous"),
            (Flag.PUBSUB, "pubsub"),
            (Flag.FAST, "fast"),
            (Flag.BLOCKING, "blocking"),
        )
        names += [name for flag, name in implied if self.flags & flag and name not in names]
        if not self.flags & Flag.FAST:
            names.append("slow")
        return ["@" + name for name in names]


_GROUP_CATEGORIES = {"generic": ("keyspace",)} | {
    name: (name,) for name in ("string", "hash", "list", "set", "bitmap", "hyperloglog", "stream", "geo", "connection")
} | {"sorted-set": ("sortedset",)}


class Group:
    """The commands of one file. `name` is Redis's group: string, hash, generic, connection, server, cluster ..."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.commands: list[Command] = []

    def command(
        self,
        syntax: str,
        *,
        arity: int,
        flags: Flag = Flag.NONE,
        since: str,
        summary: str,
        complexity: str = "O(1)",
        keys: tuple[KeySpec, ...] = (),
        acl: tuple[str, ...] | None = None,
        hints: tuple[str, ...] = (),
        history: tuple[tuple[str, str], ...] = (),
        deprecated_since: str = "",
        replaced_by: str = "",
        find_keys: KeyFinder | None = None,
        of: str = "",
    ) -> Callable[[Handler], Handler]:
        """Declare a command. `of` names the container of a subcommand (of="CLIENT": syntax is "CLIENT KILL ...").

        acl: categories beyond those that flags imply; None for the group's usual ones.
        """
        words = syntax.split()
        name = f"{words[0]}|{words[1]}".lower() if of else words[0].lower()

        def declare(handler: Handler) -> Handler:
            declared = Command(
                name=name,
                handler=handler,
                arity=arity,
                flags=flags | (Flag.MOVABLEKEYS if find_keys is not None else Flag.NONE),
                group=self.name,
                since=since,
                summary=summary,
                complexity=complexity,
                syntax=syntax,
                keys=keys,
                acl=_GROUP_CATEGORIES.get(self.name, ()) if acl is None else acl,
                hints=hints,
                history=history,
                deprecated_since=deprecated_since,
                replaced_by=replaced_by,
                find_keys=find_keys,
            )
            if of:
                parent = next(one for one in self.commands if one.name == of.lower())
                parent.subcommands[words[1].lower().encode()] = declared
            else:
                self.commands.append(declared)
            return handler

        return declare

    def container(self, name: str, *, since: str, summary: str, acl: tuple[str, ...] | None = None) -> None:
        """Declare a command that only has subcommands (CLIENT, CONFIG, ...): called bare it is an arity error."""

        def unreachable(ctx: Context, args: Args) -> Reply:
            raise wrong_arity(name.lower())

        declare = self.command(
            name, arity=-2, since=since, summary=summary, complexity="Depends on subcommand.", acl=acl
        )
        declare(unreachable)


class CommandTable:
    """Every command by name. A name is found as sent: other spellings are added when first met, within a bound."""

    _SPELLINGS_MAX = 4096

    def __init__(self, groups: Iterable[Group]) -> None:
        self.by_name: dict[bytes, Command] = {}
        for group in groups:
            for command in group.commands:
                name = command.name.encode()
                if name in self.by_name:
                    raise ValueError(f"command {command.name} is declared twice")
                self.by_name[name] = command
        self.spellings: dict[bytes, Command] = {
            name: command
            for key, command in self.by_name.items()
            if not command.subcommands
            for name in (key, key.upper())
        }
        """What the executor looks into first. Containers are not in here: their subcommand has to be resolved."""

    def __iter__(self) -> Iterator[Command]:
        return iter(self.by_name.values())

    def calls(self) -> int:
        """How many commands were called since the start or the last CONFIG RESETSTAT."""
        return sum(one.calls + sum(child.calls for child in one.subcommands.values()) for one in self)

    def find(self, name: bytes) -> Command | None:
        """The command of that name in any case, without looking at subcommands."""
        command = self.by_name.get(name.lower())
        if command is not None and not command.subcommands and len(self.spellings) < self._SPELLINGS_MAX:
            self.spellings[name] = command
        return command

    def resolve(self, args: Args) -> Command:
        """The command or subcommand that a request names. CommandError with Redis's words when there is none."""
        command = self.find(args[0])
        if command is None:
            raise unknown_command(args)
        if not command.subcommands or len(args) < 2:
            return command
        subcommand = command.subcommands.get(args[1].lower())
        if subcommand is None:
            raise unknown_subcommand(args)
        return subcommand

    def named(self, name: bytes) -> Command | None:
        """By full name, "config|get" as COMMAND INFO takes it."""
        parent, _, child = name.lower().partition(b"|")
        command = self.by_name.get(parent)
        return command.subcommands.get(child) if command is not None and child else command


def _shown(text: bytes, limit: int) -> str:
    """As C prints a string: up to its first zero byte."""
    return text[:limit].partition(b"\0")[0].decode("utf-8", "surrogateescape")


def unknown_command(args: Args) -> CommandError:
    """Redis's words, with the name cut at 128 bytes and as many arguments as fit into 128 more."""
    shown = ""
    for arg in args[1:]:
        if len(shown) >= 128:
            break
        shown += f"'{_shown(arg, 128 - len(shown))}' "
    return CommandError(f"ERR unknown command '{_shown(args[0], 128)}', with args beginning with: {shown}")


def unknown_subcommand(args: Args) -> CommandError:
    """Redis's words for a container's unknown subcommand."""
    name = args[0].upper().decode("utf-8", "surrogateescape")
    return CommandError(f"ERR unknown subcommand '{_shown(args[1], 128)}'. Try {name} HELP.")
