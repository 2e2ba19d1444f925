"""The settings as a page: ``node/SETTINGS.md`` is this text, and ``hashslot node --help-settings`` prints its like.

Run ``python -m node.settings.document`` from the repository's root to write the page anew: I/O.
"""

from __future__ import annotations

from pathlib import Path

from node.config import SETTINGS, ineffective_settings
from node.settings.kinds import AnySetting

PAGE = Path(__file__).resolve().parent.parent / "SETTINGS.md"

_INTRODUCTION = """# Settings

Every setting name of Redis 7.2 and of Valkey 8 and 9 is accepted, in a file, on the command line and by CONFIG SET,
and is shown by CONFIG GET. This page is generated from the declarations: `python -m node.settings.document`.

*When*: `any time` can be set by CONFIG SET; `at start` only in a file or on the command line; `protected` by CONFIG SET
if `enable-protected-configs` allows it. *Hidden* settings are shown by their exact name only.
"""

_KEPT = """
## Accepted, kept, without effect here

These change nothing in hashslot: they belong to what it does not have (or not yet), or to machinery of another kind.
"""

_RETIRED = """
## Accepted in files and ignored

Names that Redis itself no longer knows: `list-max-ziplist-entries`, `list-max-ziplist-value`, `lua-replicate-commands`.

## Differences from Redis 7.2

- `bind` is `127.0.0.1 -::1` by default, not every address.
- `hide-user-data-from-log`, `rdb-version-check` and others of Valkey have Valkey's defaults; a setting that both have
  has Redis's.
- A size above 2^64-1 is refused (as in Valkey 9), not cut down to it; `maxmemory-clients` above 2^63-1 likewise.
- An `include` that leads back to itself is refused.
"""


def _when(setting: AnySetting) -> str:
    if setting.immutable:
        return "at start"
    return "protected" if setting.protected else "any time"


def _row(setting: AnySetting) -> str:
    default = "" if setting.name == "dir" else setting.format(setting.default)
    names = f"`{setting.name}`" + "".join(f", `{alias}`" for alias in setting.aliases)
    hidden = " (hidden)" if setting.hidden else ""
    return f"| {names}{hidden} | {setting.describe()} | {f'`{default}`' if default else ''} | {_when(setting)} |"


def page() -> str:
    """The whole page in Markdown."""
    head = "| name | value | default | when |\n| --- | --- | --- | --- |"
    lines = [_INTRODUCTION, "## With an effect\n", head]
    lines += [_row(setting) for setting in sorted(SETTINGS, key=lambda one: one.name) if not setting.kept]
    lines += [_KEPT, head]
    lines += [_row(setting) for setting in sorted(SETTINGS, key=lambda one: one.name) if setting.kept]
    lines.append(_RETIRED)
    return "\n".join(lines)


def help_text() -> str:
    """What ``hashslot node --help-settings`` prints: all settings, then the names without an effect."""
    lines = [
        f"{setting.name:<44} {_when(setting):<10} {setting.describe()}; default: "
        f"{setting.format(setting.default) or '(empty)'}"
        for setting in sorted(SETTINGS, key=lambda one: one.name)
        if not setting.kept
    ]
    kept = [f"  {name}" for name in ineffective_settings()]
    return "\n".join(["Settings:", *lines, "", "Accepted, kept, without effect here:", *kept])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
