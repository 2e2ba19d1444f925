"""The configuration of one node: every setting of Redis 7.2 and Valkey 8 and 9, and how CONFIG GET and SET see them.

The settings are declared in ``node.settings``; this module looks them up by name and alias, sets several at once or
none, tells whoever listens, and answers patterns. It reads no file (``node.config_file`` does) and opens no socket.
Typed attribute access is the fast path: ``config.maxclients`` is an int in the instance's dictionary.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from node.glob import compile_glob
from node.settings.cluster import ClusterSettings, ReplicationSettings
from node.settings.data import FileSettings, MemorySettings, TlsSettings
from node.settings.kinds import AnySetting, Setting, SettingError, to_bytes, to_text
from node.settings.network import CommandSettings, NetworkSettings, ProcessSettings

T = TypeVar("T")
Listener = Callable[[Any], "str | None"]


class HashslotSettings:
    """Settings that only hashslot has: none so far."""


class ConfigError(Exception):
    """CONFIG SET refused; the text is the whole error reply (``ERR CONFIG SET failed ...``)."""


class Config(
    NetworkSettings,
    CommandSettings,
    ProcessSettings,
    ClusterSettings,
    ReplicationSettings,
    MemorySettings,
    FileSettings,
    TlsSettings,
    HashslotSettings,
):
    """The values of all settings of one node. Starts with the defaults; ``directory`` is the start of ``dir``.

    Lines of a file that are no settings are kept beside them for the rooms that read them: ``user_lines``,
    ``renamed_commands`` (old name, new name or empty), ``module_lines``.
    """

    def __init__(self, directory: str = "") -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self.user_lines: list[tuple[str, ...]] = []
        self.renamed_commands: list[tuple[str, str]] = []
        self.module_lines: list[tuple[str, ...]] = []
        self.file = ""
        for setting in SETTINGS:
            self.__dict__[setting.attribute] = setting.default
        self.__dict__["dir"] = directory or os.getcwd()

    def get(self, name: str) -> Any:
        """The value of a setting by its name or alias; KeyError when there is none such."""
        return self.__dict__[BY_NAME[name.lower()].attribute]

    def text(self, name: str) -> str:
        """The value as CONFIG GET prints it; KeyError for an unknown name."""
        setting = BY_NAME[name.lower()]
        return setting.format(self.__dict__[setting.attribute])

    @overload
    def on_change(self, setting: Setting[T], listener: Callable[[T], str | None]) -> None: ...

    @overload
    def on_change(self, setting: str, listener: Listener) -> None: ...

    def on_change(self, setting: str | AnySetting, listener: Listener) -> None:
        """Calls ``listener`` with the new value when CONFIG SET changed the setting.

        A text that it returns vetoes the whole CONFIG SET and becomes the error's reason; everything is put back then,
        and listeners that had already agreed are called again with the old value.
        """
        name = BY_NAME[setting.lower()].name if isinstance(setting, str) else setting.name
        self._listeners.setdefault(name, []).append(listener)

    def set_many(self, values: Mapping[str, str] | Sequence[tuple[str, str]], *, local: bool = True) -> None:
        """CONFIG SET: all of the settings or none; raises ConfigError with Redis's reply.

        ``local``: the client is on this machine, which ``enable-protected-configs local`` asks for.
        """
        pairs = list(values.items()) if isinstance(values, Mapping) else list(values)
        chosen = self._resolve(pairs, local)
        before = {setting.attribute: self.__dict__[setting.attribute] for _, setting, _ in chosen}
        try:
            for name, setting, value in chosen:
                args = (value.split(" ") if value else []) if setting.multiple else [value]
                try:
                    self.__dict__[setting.attribute] = setting.parse(args, self.__dict__[setting.attribute])
                except SettingError as error:
                    raise _failed(name, str(error)) from None
            self._tell([(name, setting) for name, setting, _ in chosen], before)
        except ConfigError:
            self.__dict__.update(before)
            raise

    def _resolve(self, pairs: Sequence[tuple[str, str]], local: bool) -> list[tuple[str, AnySetting, str]]:
        chosen: list[tuple[str, AnySetting, str]] = []
        for given, value in pairs:
            name = given.lower()
            setting = BY_NAME.get(name)
            if setting is None:
                raise ConfigError(f"ERR Unknown option or number of arguments for CONFIG SET - '{given}'")
            if setting.immutable:
                raise _failed(given, "can't set immutable config")
            if setting.protected and not self._may_set_protected(local):
                raise _failed(given, "can't set protected config")
            if any(name == other for other, _, _ in chosen):
                raise _failed(given, "duplicate parameter")
            chosen.append((name, setting, value))
        return chosen

    def _may_set_protected(self, local: bool) -> bool:
        allowed = self.enable_protected_configs
        return allowed == "yes" or (allowed == "local" and local)

    def _tell(self, settings: Sequence[tuple[str, AnySetting]], before: Mapping[str, Any]) -> None:
        told: list[AnySetting] = []
        for name, setting in settings:
            if setting in told or self.__dict__[setting.attribute] == before[setting.attribute]:
                continue
            told.append(setting)
            for listener in self._listeners.get(setting.name, ()):
                reason = listener(self.__dict__[setting.attribute])
                if reason is not None:
                    self.__dict__.update(before)
                    self._untell(told)
                    raise _failed(name, reason)

    def _untell(self, settings: Sequence[AnySetting]) -> None:
        for setting in settings:
            for listener in self._listeners.get(setting.name, ()):
                listener(self.__dict__[setting.attribute])

    def set_args(self, args: Sequence[bytes], *, local: bool = True) -> None:
        """CONFIG SET as it arrives: names and values in turn, in bytes; raises ConfigError."""
        texts = [to_text(arg) for arg in args]
        self.set_many(list(zip(texts[::2], texts[1::2], strict=True)), local=local)

    def get_matching(self, patterns: Iterable[bytes]) -> dict[bytes, bytes]:
        """CONFIG GET: names (aliases too) that match any of the patterns, in any case, and their values.

        A pattern without ``*``, ``?`` and ``[`` is a name; only so are hidden settings found, and the name is answered
        as it was asked.
        """
        found: dict[bytes, bytes] = {}
        seen: set[bytes] = set()
        for pattern in patterns:
            if not any(special in pattern for special in b"*?["):
                setting = BY_NAME.get(to_text(pattern).lower())
                named = [(pattern, setting)] if setting is not None else []
            else:
                matches = compile_glob(pattern, True)
                named = [(name, setting) for name, setting in _VISIBLE if matches(name)]
            for name, setting in named:
                if name.lower() not in seen:
                    seen.add(name.lower())
                    found[name] = to_bytes(setting.format(self.__dict__[setting.attribute]))
        return found

    def load(self, name: str, args: Sequence[str], again: bool = False) -> None:
        """Sets one setting from a file's line, immutable ones too; raises SettingError or KeyError.

        ``again``: the same load has set it before (save points add up). Listeners are not called.
        """
        setting = BY_NAME[name.lower()]
        self.__dict__[setting.attribute] = setting.parse(args, self.__dict__[setting.attribute], again)


def _failed(name: str, reason: str) -> ConfigError:
    return ConfigError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def _declared() -> list[AnySetting]:
    tables = [table for table in Config.__mro__ if table is not Config]
    return [member for table in tables for member in vars(table).values() if isinstance(member, Setting)]


SETTINGS: tuple[AnySetting, ...] = tuple(_declared())
BY_NAME: dict[str, AnySetting] = {name: setting for setting in SETTINGS for name in (setting.name, *setting.aliases)}
_VISIBLE: tuple[tuple[bytes, AnySetting], ...] = tuple(
    (name.encode(), setting) for setting in SETTINGS if not setting.hidden for name in (setting.name, *setting.aliases)
)


def ineffective_settings() -> list[str]:
    """Names of the settings that are accepted, kept and shown but change nothing in hashslot, sorted."""
    return sorted(setting.name for setting in SETTINGS if setting.kept)
