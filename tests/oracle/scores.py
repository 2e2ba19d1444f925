"""Comparing replies with doubles in them: redis-server 7.0 prints 17 digits, 7.2 and Valkey the fewest that do."""

from __future__ import annotations

from collections.abc import Callable

from node.numbers import format_double, parse_double
from tests.oracle.oracle import Judge, Unlike, words
from tests.oracle.wire import Tree


def shortened(tree: Tree) -> Tree:
    """With every double in the words of 7.2: 7.0 prints 17 digits."""
    if tree.value is None:
        return tree
    if tree.kind in "*~":
        return Tree(tree.kind, [shortened(item) for item in tree.value])
    if tree.kind in "$," and (b"." in tree.value or b"e" in tree.value):
        number = parse_double(tree.value)
        return tree if number is None else Tree(tree.kind, format_double(number))
    return tree


def check(
    judge: Judge, *request: object, order: Callable[[Tree], Tree] | None = None, unlike: Unlike | None = None
) -> Tree:
    """`Judge.check` with numbers as 7.2 prints them."""

    def alike(tree: Tree) -> Tree:
        if judge.kind == "redis":
            tree = shortened(tree)
        return tree if order is None else order(tree)

    return judge.check(*request, order=alike, unlike=unlike)


def check_all(judge: Judge, table: str, unlike: dict[str, Unlike]) -> None:
    """`Judge.check_all` with numbers as 7.2 prints them."""
    for line in table.splitlines():
        request = words(line)
        if request:
            check(judge, *request, unlike=unlike.get(line.strip()))
    judge.same_state()
