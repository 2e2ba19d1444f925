"""Commands: server."""

from __future__ import annotations

from node.registry import Group

group = Group("server")
