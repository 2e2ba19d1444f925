"""The floors' source files, read and parsed once."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("gossip", "cluster", "node")


@dataclass(frozen=True)
class Source:
    """One module of a floor. name: dotted, "node.commands.strings"."""

    path: Path

    @property
    def name(self) -> str:
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @property
    def floor(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def does_io(self) -> bool:
        """Whether the docstring says so: "... I/O." or "I/O, and hot"."""
        return says_io(self.docstring)

    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [one for one in ast.walk(self.tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def says_io(docstring: str) -> bool:
    """Whether a module's docstring owns up to I/O."""
    return re.search(r"(?<!no )(?<!without )\bI/O\b", docstring, re.IGNORECASE) is not None


@lru_cache(maxsize=1)
def sources() -> tuple[Source, ...]:
    """Every module of the three floors."""
    found = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]
    return tuple(Source(path) for path in found)


def floor(name: str) -> list[Source]:
    return [one for one in sources() if one.floor == name]
