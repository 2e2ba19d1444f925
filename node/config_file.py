"""redis.conf and the command line: from text to a filled ``Config``, and the errors a user sees when that fails.

Programs that start redis-server read its error block and its way of joining arguments; both are kept as they are.
Reads files: I/O.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from typing import BinaryIO

from node.config import BY_NAME, Config
from node.settings.kinds import SettingError, quote, to_bytes, to_text
from node.words import split_words

#: Settings of old versions that a file may still name; they say nothing and are not kept.
RETIRED = frozenset(("list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"))

_WRONG = "Bad directive or wrong number of arguments"


class ConfigFileError(Exception):
    """A configuration that cannot be used; the text is what redis-server prints before it exits with status 1."""


class FatalConfigError(ConfigFileError):
    """A file that cannot be opened; redis-server logs this as one warning line."""


def words_of(line: str) -> list[str] | None:
    """The words of a configuration line; None for unbalanced quotes. A zero byte ends the line."""
    words = split_words(to_bytes(line).partition(b"\0")[0])
    return None if words is None else [to_text(word) for word in words]


def options_text(args: Sequence[str]) -> str:
    """The lines that command-line options stand for: ``--port 7000 --save ''`` becomes two lines, values quoted.

    As redis-server joins them: behind an option's name the next argument is its value even if it begins with two
    dashes; ``--save`` alone, or followed by another option, means no save points; ``"--port 7000"`` in one argument
    is a whole line.
    """
    parts: list[str] = []
    name_is_open = False
    for at, arg in enumerate(args):
        if arg.startswith("--") and not name_is_open:
            parts.append(("\n" if parts else "") + arg[2:])
            words = words_of(arg)
            name_is_open = words is not None and len(words) == 1
            follower = args[at + 1] if at + 1 < len(args) else None
            if name_is_open and arg.lower() == "--save" and (follower is None or follower.startswith("--")):
                parts.append(' ""')
                name_is_open = False
        else:
            parts.append(" " + quote(arg))
            name_is_open = False
    return "".join(parts)


class Loader:
    """Reads lines into a ``Config``. One loader is one start of a node: what its lines say adds up.

    ``known_command``: says whether a command exists, for ``rename-command``; every name passes without it.
    ``version``: the version named in the error block.
    """

    def __init__(
        self, config: Config, version: str = "7.2.0", known_command: Callable[[str], bool] | None = None
    ) -> None:
        self.config = config
        self.version = version
        self.known_command = known_command
        self._loaded: set[str] = set()
        self._including: list[str] = []

    def load_text(self, text: str) -> None:
        """Takes all lines of ``text``; raises ConfigFileError that names the line and the reason."""
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip(" \t\r\n")
            if not line or line.startswith("#"):
                continue
            try:
                self._line(line)
            except SettingError as error:
                raise ConfigFileError(
                    f"\n*** FATAL CONFIG FILE ERROR (Redis {self.version}) ***\n"
                    f"Reading the configuration file, at line {number}\n>>> '{line}'\n{error}"
                ) from None
        if self.config.cluster_enabled and self.config.replicaof is not None:
            raise ConfigFileError(
                f"\n*** FATAL CONFIG FILE ERROR (Redis {self.version}) ***\n"
                "replicaof directive not allowed in cluster mode"
            )

    def load_file(self, path: str, extra: str = "", stdin: BinaryIO | None = None) -> None:
        """Takes a file (none if ``path`` is empty), then standard input if given, then the lines of ``extra``."""
        text = self._read(path) if path else ""
        if stdin is not None:
            text += to_text(stdin.read())
        self.load_text(f"{text}\n{extra}" if extra else text)

    def _read(self, path: str) -> str:
        try:
            with open(os.path.join(self.config.dir, path), "rb") as file:
                return to_text(file.read())
        except OSError as error:
            raise FatalConfigError(f"Fatal error, can't open config file '{path}': {error.strerror}") from None

    def _line(self, line: str) -> None:
        words = words_of(line)
        if words is None:
            raise SettingError("Unbalanced quotes in configuration line")
        if not words:
            return
        name, *args = words
        name = name.lower()
        if name in BY_NAME:
            self._setting(name, args)
        elif name in RETIRED and len(args) == 1:
            return
        elif not self._directive(name, args):
            raise SettingError(_WRONG)

    def _setting(self, name: str, args: list[str]) -> None:
        setting = BY_NAME[name]
        if setting.multiple and len(args) == 1 and args[0]:
            split = words_of(args[0])
            if split is None:
                raise SettingError("Unbalanced quotes in configuration line")
            args = split
        self.config.load(name, args, setting.name in self._loaded)
        self._loaded.add(setting.name)

    def _directive(self, name: str, args: list[str]) -> bool:
        """Lines that are no settings; False when the line is none of them either."""
        if name == "include" and len(args) == 1:
            self._include(args[0])
        elif name == "rename-command" and len(args) == 2:
            if self.known_command is not None and not self.known_command(args[0].lower()):
                raise SettingError("No such command in rename-command")
            self.config.renamed_commands.append((args[0].lower(), args[1]))
        elif name == "user" and args:
            self.config.user_lines.append(tuple(args))
        elif name == "loadmodule" and args:
            self.config.module_lines.append(tuple(args))
        elif name == "sentinel":
            raise SettingError("sentinel directive while not in sentinel mode")
        else:
            return False
        return True

    def _include(self, pattern: str) -> None:
        directory = self.config.dir
        if any(special in pattern for special in "*?["):
            paths = sorted(glob.glob(os.path.join(directory, pattern)))
        else:
            paths = [os.path.join(directory, pattern)]
        for path in paths:
            if path in self._including:
                raise SettingError(f"include of '{pattern}' leads back to itself")
            self._including.append(path)
            self.load_file(path)
            self._including.pop()


def load_command_line(
    argv: Sequence[str], config: Config, loader: Loader | None = None, stdin: BinaryIO | None = None
) -> None:
    """Fills ``config`` from the arguments behind the program's name, as redis-server takes them.

    The first argument is a file unless it begins with a dash; ``-`` as the last one reads standard input (``stdin``,
    or the process's own); options come last and win. ``config.file`` becomes the file's absolute path. Raises
    ConfigFileError.
    """
    args = list(argv)
    path = ""
    if args and not args[0].startswith("-"):
        path = os.path.abspath(args.pop(0))
    source: BinaryIO | None = None
    if args and args[-1] == "-":
        args.pop()
        source = stdin if stdin is not None else sys.stdin.buffer
    config.file = path
    (loader or Loader(config)).load_file(path, options_text(args), source)
