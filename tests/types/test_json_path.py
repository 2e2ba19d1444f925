"""JSONPath: what each kind of step finds and where, filters, and paths that are none or lead too far."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types import json_path
from node.types.json_path import PathError, path_of
from tests.types.test_json import VALUES

STORE: Any = {
    "store": {
        "book": [
            {"category": "reference", "author": "Nigel Rees", "title": "Sayings", "price": 8.95},
            {"category": "fiction", "author": "Evelyn Waugh", "title": "Sword", "price": 12.99},
            {"category": "fiction", "author": "Herman Melville", "title": "Moby Dick", "isbn": "0-553", "price": 8.99},
            {"category": "fiction", "author": "J. R. R. Tolkien", "title": "Rings", "isbn": "0-395", "price": 22.99},
        ],
        "bicycle": {"color": "red", "price": 19.95},
    },
    "limit": 10,
    "list": [1, 2.0, "two", None, True, [5], {"x": 6}],
    "odd-name": {"a b": 1, "it's": 2, 'say "hi"': 3, "ü": 4, "$x": 5},
}


def found(path: str, document: Any = STORE) -> list[Any]:
    return path_of(path.encode()).query().values(document)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.limit", [10]),
        ("$['limit']", [10]),
        ('$["limit"]', [10]),
        ("$.['limit']", [10]),
        ("limit", [10]),
        (".limit", [10]),
        ("$.none", []),
        ("$.limit.none", []),
        ("$.list[0]", [1]),
        ("$.list[-1]", [{"x": 6}]),
        ("$.list[7]", []),
        ("$.list[-99]", [1]),
        ("$.list[0,2,0]", [1, "two", 1]),
        ("$.list[1:3]", [2.0, "two"]),
        ("$.list[:2]", [1, 2.0]),
        ("$.list[5:]", [[5], {"x": 6}]),
        ("$.list[-2:]", [[5], {"x": 6}]),
        ("$.list[:-5]", [1, 2.0]),
        ("$.list[::3]", [1, None, {"x": 6}]),
        ("$.list[1:6:2]", [2.0, None, [5]]),
        ("$.list[4:2]", []),
        ("$.list[0:99]", STORE["list"]),
        ("$.limit[0]", []),
        ("$.store['bicycle','none','book'][0,'color']", ["red", STORE["store"]["book"][0]]),
        ("$.list.*", STORE["list"]),
        ("$.list[*]", STORE["list"]),
        ("$.store.bicycle[*]", ["red", 19.95]),
        ("$.limit.*", []),
        ("$..price", [8.95, 12.99, 8.99, 22.99, 19.95]),
        ("$..book[2].title", ["Moby Dick"]),
        ("$..['color','isbn']", ["0-553", "0-395", "red"]),
        ("$.list..*", [*STORE["list"], 5, 6]),
        ("$.list..[0]", [1, 5]),
        ("$", [STORE]),
        ("$.store [ 'bicycle' ] .color", ["red"]),
        ("$.odd-name['a b']", [1]),
        ("$.odd-name['it\\'s']", [2]),
        ('$.odd-name["it\'s"]', [2]),
        ('$.odd-name["say \\"hi\\""]', [3]),
        ("$.odd-name.ü", [4]),
        ("$.odd-name.$x", [5]),
        ("$..book[?(@.isbn)].price", [8.99, 22.99]),
        ("$..book[?(!@.isbn)].price", [8.95, 12.99]),
        ("$..book[?(@.price<10)].title", ["Sayings", "Moby Dick"]),
        ("$..book[?@.price<=8.95].title", ["Sayings"]),
        ("$..book[?(@.price < $.limit && @.category=='fiction')].title", ["Moby Dick"]),
        ("$..book[?(@.price>20||@.price<8.99)].title", ["Sayings", "Rings"]),
        ('$..book[?(@.title=="Sayings" || @.price>9 && @.isbn)].title', ["Sayings", "Rings"]),
        ('$..book[?((@.title=="Sayings" || @.price>9) && @.isbn)].title', ["Rings"]),
        ("$..book[?(10 > @.price)].title", ["Sayings", "Moby Dick"]),
        ("$..book[?(@.author =~ 'R\\. R')].title", ["Rings"]),
        ('$..book[?(@.author =~ "(?i)^HERMAN")].title', ["Moby Dick"]),
        ('$..book[?(@.author =~ "[")].title', []),
        ("$..book[?(@.price =~ '8')].title", []),
        ("$..book[?(@.category != 'fiction')].title", ["Sayings"]),
        ("$..book[?(@.isbn != 'x')].title", ["Sayings", "Sword", "Moby Dick", "Rings"]),
        ("$..book[?(@.title in ['Rings', 'Sword'])].price", [12.99, 22.99]),
        ("$..book[?(@.title nin ['Rings', 'Sword'])].price", [8.95, 8.99]),
        ("$.list[?(@ == 2)]", [2.0]),
        ("$.list[?(@ == 1)]", [1]),
        ("$.list[?(@ == true)]", [True]),
        ("$.list[?(@ == null)]", [None]),
        ("$.list[?(@ == 'two')]", ["two"]),
        ("$.list[?(@ == [5])]", [[5]]),
        ('$.list[?(@ == {"x": 6})]', [{"x": 6}]),
        ("$.list[?(@ > 'a')]", ["two"]),
        ("$.list[?(@ >= 1)]", [1, 2.0]),
        ("$.list[?(@ == -1 || @ == 1.0e0)]", [1]),
        ("$.list[?(@[0] == 5)]", [[5]]),
        ("$.list[?(@.x)].x", [6]),
        ("$.store[?(@.color)].price", [19.95]),
        ("$.limit[?(@ > 5)]", [10]),
        ("$.store[?(@..price)]", [STORE["store"]["bicycle"]]),
        ("$.*[?(@.color == $.store.bicycle.color)].price", [19.95]),
        ("$..[?(@.x)]", [{"x": 6}]),
    ],
)
def test_what_is_found(path: str, values: list[Any]) -> None:
    assert found(path) == values


def test_numbers_of_two_paths_are_compared_by_value() -> None:
    assert found("$.a[?(@ == $.b)]", {"a": [1, 1.0, True, "1"], "b": 1}) == [1, 1.0]


@pytest.mark.parametrize(
    "path",
    [
        *("$.", "$..", "$[", "$[]", "$['a]", "$[1", "$[1:2:0]", "$[1:2:-1]", "$[a]", "$.a b", "", "..", "$.a'b'"),
        *("$.a[?]", "$.a[?(@]", "$.a[?(@.b>)]", "$.a[?(@.b=1)]", "$.a[?(&& 1)]", "$.a[?(nope)]", "$.a[?(@ == 01x)]"),
        *("$[?(@ == [1 2])]", "$[?(@ == {a:1})]", "$.a]", "$.a..", "$.[", "$[99999999999999999999]"),
    ],
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(PathError, match=r"^Error occurred on position [0-9]+, "):
        path_of(path.encode()).query()


def test_the_two_kinds_of_paths() -> None:
    for text, compiled, legacy in [
        ("$", "$", False),
        ("$.a", "$.a", False),
        ("$[0]", "$[0]", False),
        (".", "$", True),
        (".a", "$.a", True),
        ("a.b", "$.a.b", True),
        ("$a", "$.$a", True),
        ('["a"]', '$.["a"]', True),
    ]:
        path = path_of(text.encode())
        assert (path.original, path.text, path.legacy, path.is_root) == (text, compiled, legacy, compiled == "$")
    with pytest.raises(PathError, match="UTF-8"):
        path_of(b"\xff")


@pytest.mark.parametrize(
    ("path", "fixed"),
    [
        ("$", ()),
        ("$.a['b'][3]", ("a", "b", 3)),
        ("$.a[-1]", ("a", -1)),
        ("$..a", None),
        ("$.a[*]", None),
        ("$.a['b','c']", None),
        ("$.a[1:2]", None),
        ("$.a[?(@.b)].c", None),
    ],
)
def test_which_paths_say_one_place(path: str, fixed: tuple[object, ...] | None) -> None:
    assert path_of(path.encode()).query().fixed == fixed


@given(VALUES, st.sampled_from(["$..*", "$.*.*", "$..[0]", "$..[?(@>0)]", "$..[?(@ != 1)].*", "$[*]..*", "$..[::2]"]))
@settings(max_examples=200, deadline=None)
def test_locations_lead_to_the_values(document: Any, path: str) -> None:
    for match in path_of(path.encode()).query().matches(document):
        value = document
        for key in match.location():
            value = value[key]
        assert value is match.value


def test_a_path_cannot_exhaust_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: Any = 1
    for _ in range(240):
        deep = {"a": [deep]}
    assert len(found("$..a", deep)) == 240
    assert found("$" + ".a[0]" * 240, deep) == [1]
    assert found("$" + ".a" * 100_000, deep) == []
    for path in ("$[?" + "(" * 1000, "$[?" + "!" * 1000 + "@]", "$" + "[?@" * 1000, "$[?@==" + "[" * 1000):
        with pytest.raises(PathError):
            path_of(path.encode()).query()
    monkeypatch.setattr(json_path, "VISITS_MAX", 100_000)
    for path in ("$..*..*..*", "$..*[?($..*..*)]", "$..[?(@..a)]..[?(@..a)]"):
        with pytest.raises(PathError, match="visits more"):
            found(path, deep)


def test_an_expression_that_would_explode_does_not() -> None:
    start = time.monotonic()
    assert found('$[?(@ =~ "^(a+)+$")]', ["a" * 5000 + "b"]) == []
    assert time.monotonic() - start < 5
