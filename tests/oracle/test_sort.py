"""SORT and SORT_RO against the real servers: case by case, then generated; the rules of a cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.commands import sorting
from tests.oracle.conftest import Servers
from tests.oracle.drawn import drawn
from tests.oracle.facts import declared, told
from tests.oracle.oracle import Judge, Unlike, unordered
from tests.oracle.told import compare_told

DATA = """
    RPUSH l 3 1 2 10 -5 1.5 1e2
    RPUSH words banana Apple cherry '' a apple
    RPUSH ids 3 1 2 4
    SADD s 3 1 2 30 4
    SADD names x y z w
    ZADD z 1 30 2 20 3 10 4 5
    MSET w_1 30 w_2 20 w_3 10 w_x 5 w_y 5 w_z 1
    MSET t_1 c t_2 b t_3 ''
    HSET h_1 f 9 g one
    HSET h_2 f 8 g two
    HSET h_3 f 7
"""
CASES = """
    SORT l
    SORT l DESC
    SORT l ASC
    SORT l DESC ASC
    SORT l ALPHA
    SORT l ALPHA DESC
    SORT l LIMIT 0 3
    SORT l LIMIT 2 100
    SORT l LIMIT -5 2
    SORT l LIMIT 0 0
    SORT l LIMIT 0 -1
    SORT l LIMIT 3 -7
    SORT l LIMIT 100 5
    SORT l LIMIT 9223372036854775807 9223372036854775807
    SORT l LIMIT 0 2 LIMIT 1 2
    SORT l LIMIT x 2
    SORT l LIMIT 1 x
    SORT l LIMIT 1
    SORT l LIMIT
    SORT words
    SORT words ALPHA
    SORT words ALPHA DESC LIMIT 1 3
    SORT ids BY w_*
    SORT ids BY w_* DESC
    SORT ids BY t_* ALPHA
    SORT ids BY t_* ALPHA DESC
    SORT ids BY t_*
    SORT ids BY h_*->f
    SORT ids BY h_*->f GET h_*->g
    SORT ids BY h_*->g ALPHA GET # GET h_*->f GET w_*
    SORT ids BY h_*->
    SORT ids BY h_*
    SORT ids BY w_*->f
    SORT ids BY nosort
    SORT ids BY nosort DESC
    SORT ids BY nosort LIMIT 1 2
    SORT ids BY nosort DESC LIMIT 1 2
    SORT ids BY nosort GET #
    SORT ids BY nosort GET w_* GET constant GET t_*
    SORT ids GET #
    SORT ids GET # GET #
    SORT ids GET *
    SORT ids GET w_**
    SORT ids GET h_*->nothing
    SORT ids GET h_*->
    SORT ids GET nothing_*
    SORT ids GET l
    SORT s
    SORT s DESC LIMIT 0 2
    SORT s ALPHA
    SORT names ALPHA
    SORT names
    SORT names BY w_*
    SORT names BY w_* DESC
    SORT names BY w_* GET # GET w_*
    SORT names BY nosort STORE r
    LRANGE r 0 -1
    SORT names BY nosort DESC STORE r
    LRANGE r 0 -1
    SORT s BY nosort LIMIT 1 2 STORE r
    LRANGE r 0 -1
    OBJECT ENCODING z
    SORT z
    OBJECT ENCODING z
    SORT z DESC
    SORT z BY nosort
    SORT z BY nosort DESC
    SORT z BY nosort DESC LIMIT 1 2
    SORT z BY nosort LIMIT 1 2
    SORT z BY nosort LIMIT 10 2
    SORT z ALPHA LIMIT 0 2 DESC
    SORT nothing
    SORT nothing BY w_* GET # LIMIT 1 2
    SORT nothing STORE r
    EXISTS r
    SORT nothing STORE r
    SORT l STORE r
    LRANGE r 0 -1
    SORT ids GET w_* GET h_*->g STORE r
    LRANGE r 0 -1
    SORT ids STORE ids
    LRANGE ids 0 -1
    SORT l STORE r STORE q
    SORT l STORE
    SORT l BY
    SORT l GET
    SORT l BOGUS
    SORT l BY nosort BOGUS
    SORT
    EXPIRE r 100
    SORT l STORE r
    TTL r
    SORT l STORE s
    TYPE s
    SET string v
    SORT string
    SORT string LIMIT x 1
    SORT h_1
    SORT_RO h_1
    SORT_RO l
    SORT_RO ids BY w_* GET # DESC LIMIT 0 3
    SORT_RO l STORE r
    SORT_RO
    RPUSH bad 1 "3 "
    SORT bad
    RPUSH nan 1 nan
    SORT nan
    RPUSH zero "1\\x002" 0
    SORT zero
    SORT nan STORE r
    COMMAND GETKEYS SORT a STORE b STORE c
    COMMAND GETKEYS SORT a BY STORE GET STORE STORE c
    COMMAND GETKEYS SORT a LIMIT STORE 1 STORE d
    COMMAND GETKEYS SORT_RO a STORE c
"""


def test_table(judge: Judge) -> None:
    judge.check_all(DATA)
    judge.check_all(CASES)


def test_weights_are_what_strtod_reads(judge: Judge) -> None:
    """No number beyond a double is in here: redis-server 7.0 never clears errno, and every later SORT would fail."""
    judge.check("RPUSH", "l", "1", " 2", "\t3", "inf", "-inf", "+5", "0x10", "")
    judge.check("SORT", "l", unlike=Unlike("valkey", "Valkey reads numbers with a library that knows no spaces or hex"))


def test_a_set_in_its_own_order(judge: Judge) -> None:
    judge.check_all(DATA)
    judge.check("SORT", "names", "BY", "nosort", order=unordered)
    judge.check("SORT_RO", "names", "BY", "nosort", "DESC", order=unordered)


_elements = st.one_of(st.integers(-20, 20).map(str), st.sampled_from(["1.5", "x", "inf", "-0", "0", "1e1", "10"]))
_patterns = st.sampled_from(["w_*", "h_*->f", "#", "nosort", "*", "x*y", "h_*->"])
_sources = st.sampled_from(["l", "z", "n"])
_words = st.lists(
    st.one_of(
        st.sampled_from([("ALPHA",), ("DESC",), ("ASC",)]),
        st.tuples(st.just("LIMIT"), st.integers(-3, 12), st.integers(-3, 12)),
        st.tuples(st.just("BY"), _patterns),
        st.tuples(st.just("GET"), _patterns),
    ),
    max_size=5,
).map(lambda words: tuple(part for word in words for part in word))


def _ties(request: tuple[object, ...]) -> bool:
    """Equal weights with ALPHA and BY are in no order; nor can a set be told apart there."""
    return not ("ALPHA" in request and "BY" in request)


_requests = st.one_of(
    st.tuples(st.just(("SORT",)), st.tuples(_sources), _words).map(lambda parts: sum(parts, ())).filter(_ties),
    st.tuples(st.just(("SORT",)), st.tuples(_sources), _words, st.just(("STORE", "r")))
    .map(lambda parts: sum(parts, ()))
    .filter(_ties),
    st.tuples(st.tuples(st.just("RPUSH"), _sources), st.lists(_elements, min_size=1, max_size=6)).map(
        lambda parts: (*parts[0], *parts[1])
    ),
    st.tuples(st.just("ZADD"), _sources, st.integers(-9, 9), _elements),
    st.tuples(st.just("SADD"), _sources, st.integers(-99, 99)),
    st.tuples(st.just("DEL"), _sources),
    st.tuples(st.just("SET"), st.integers(-20, 20).map("w_{}".format), _elements),
    st.tuples(st.just("HSET"), st.integers(-20, 20).map("h_{}".format), st.just("f"), _elements),
    st.tuples(st.just("LRANGE"), st.just("r"), st.just(0), st.just(-1)),
)


def _is_in_order(judge: Judge, request: tuple[object, ...]) -> bool:
    """A set that is not sorted comes in any order."""
    return not ("nosort" in request or "BY" in request) or judge.ours.run("TYPE", str(request[1])) != "set"


def test_sequences(judge: Judge) -> None:
    @drawn()
    @given(st.lists(_requests, min_size=25, max_size=50))
    def run(sequence: list[tuple[object, ...]]) -> None:
        judge.begin()
        for request in sequence:
            if request[0] != "SORT" or _is_in_order(judge, request):
                judge.check(*request)
        judge.same_state()

    run()


COMMANDS = {command.name: command for command in sorting.group.commands}


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", COMMANDS)
def test_facts(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    assert facts is not None
    ours = declared(COMMANDS[name])
    if kind == "redis":
        facts["summary"] = ours["summary"]  # Redis 7.2 says it in other words than 7.0
    facts["range"] = ours["range"]  # compared as COMMAND INFO prints it in test_introspection
    assert facts == {fact: ours[fact] for fact in facts}


TOLD = """
    RPUSH l 3 1 2
    SORT l
    SORT l STORE r
    SORT l BY nosort GET # STORE r
    SORT nothing STORE r
    SORT nothing STORE r
    SORT_RO l
"""


def test_told_as_redis_tells(servers: Servers) -> None:
    compare_told(servers, TOLD)
