"""Generated sequences over all types: every reply and, again and again, the whole state must be equal.

HASHSLOT_ORACLE_EXAMPLES sequences a server and protocol (40 unless set), each of 250 steps and more; the seed is in
pytest's header, and HASHSLOT_ORACLE_SEED replays it. A longer run:

    HASHSLOT_ORACLE_EXAMPLES=2000 python -m pytest tests/oracle/test_sequences.py --timeout 0

What differs is reported with the shortest sequence that still shows it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from node.types.hash import Hash
from node.types.zset import ZSet
from tests.commands.harness import encoded
from tests.oracle.oracle import EXAMPLES, SEED, Judge
from tests.oracle.scores import shortened
from tests.oracle.sequences import BLOCKING, Request, sequence
from tests.oracle.streams import timeless
from tests.oracle.test_sets import ORDERS as SET_ORDERS
from tests.oracle.wire import Tree, unordered, unordered_pairs

STEPS = 250
STATE_EVERY = 40
_TOLERANCE_MS = 1500
_LATEST = str((1 << 63) - 1)

ORDERS: dict[str, Callable[[Tree], Tree]] = {
    **SET_ORDERS,
    **dict.fromkeys(("KEYS", "HKEYS", "HVALS"), unordered),
    "HGETALL": unordered_pairs,
}


def _scanned(tree: Tree) -> Tree:
    if tree.kind != "*" or len(tree.value) != 2:
        return tree
    return Tree("*", [tree.value[0], unordered_pairs(tree.value[1])])


ORDERS["HSCAN"] = ORDERS["ZSCAN"] = _scanned


def _random_fields(request: Request) -> Callable[[Tree], Tree]:
    return unordered_pairs if len(request) > 3 else unordered


def blocks(request: Request) -> bool:
    """Whether a request may wait, if it is not within MULTI."""
    return str(request[0]) in BLOCKING or "BLOCK" in request


class Run:
    """One sequence on both sides. `difference` is what differed last, as text."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._queued: list[Request] = []
        self.difference = ""
        self.newer = False

    def differs(self, requests: Sequence[Request], settings: dict[str, str]) -> int | None:
        """After how many of these requests replies or states first differ; None when they never do."""
        self._judge.both("DISCARD")
        self._judge.begin(**settings)
        self._queued = []
        for done, request in enumerate(requests, 1):
            if not self._same_reply(request):
                return done
            if not self._queued and (done % STATE_EVERY == 0 or done == len(requests)) and not self._same_state():
                return done
        return None

    def _same_reply(self, request: Request) -> bool:
        if request[0] == "CARRY":
            carried = None if self._queued else self._carried(request)
            if carried is None:
                return True
            request = carried
        if (blocks(request) and not self._queued) or self._is_undefined(request):
            return True
        if self._judge.kind == "redis":
            self._create_consumer(request)
        theirs, ours = self._judge.both(*request)
        pairs = [(request, theirs, ours)]
        if theirs == Tree("+", b"QUEUED") or request[0] == "MULTI":
            self._queued.append(request)
        elif request[0] in ("EXEC", "DISCARD"):
            if theirs.kind == ours.kind == "*" and theirs.value and len(theirs.value) == len(ours.value):
                pairs = list(zip(self._queued[1:], theirs.value, ours.value, strict=True))
            self._queued = []
        if all(self._same(*pair) for pair in pairs):
            return True
        self.difference = f"theirs: {theirs!r}\nours:   {ours!r}"
        return False

    def _same(self, request: Request, theirs: Tree, ours: Tree) -> bool:
        left, right = self._comparable(request, theirs), self._comparable(request, ours)
        return left == right or self._is_time(request, left, right) or self._is_known(request, left, right)

    def _comparable(self, request: Request, tree: Tree) -> Tree:
        name = str(request[0]).upper()
        if self._judge.kind == "redis":
            tree = shortened(tree)
        if name in ("XINFO", "XPENDING"):
            return timeless(tree)
        if name == "OBJECT" and tree.kind == "$":
            return Tree("$", self._encoding(tree.value))
        if name.startswith("SORT") and "BY" in request:
            return unordered(tree)  # equal weights come in the order of their hash table
        if name == "HRANDFIELD":
            return _random_fields(request)(tree)
        return ORDERS[name](tree) if name in ORDERS else tree

    def _encoding(self, name: bytes) -> bytes:
        """As a server says that has no listpacks for lists and sets, or embeds by the key's length too."""
        if self._judge.kind == "valkey":
            name = b"table" if self.newer and name in (b"listpack", b"listpackex", b"hashtable") else name
            return b"embstr" if name == b"raw" else name
        return {b"listpack": b"small", b"quicklist": b"small", b"hashtable": b"small"}.get(name, name)

    def _is_time(self, request: Request, theirs: Tree, ours: Tree) -> bool:
        if theirs.kind != ":" or ours.kind != ":" or request[0] not in ("TTL", "PTTL", "EXPIRETIME"):
            return False
        left, right = int(theirs.value), int(ours.value)
        return min(left, right) > 0 and abs(left - right) <= _TOLERANCE_MS

    def _is_known(self, request: Request, theirs: Tree, ours: Tree) -> bool:
        return any(holds(request, theirs, ours) for holds in KNOWN[self._judge.kind])

    def _is_undefined(self, request: Request) -> bool:
        """Whether a reply says nothing: lexicographic ranges of scores that differ depend on how a set is stored.

        And redis-server 7.0 lets XSETID take a stream's last id below a deleted one, Valkey has no latest deadline for
        fields of hashes.
        """
        if str(request[0]) in ("HEXPIREAT", "HPEXPIREAT", "HSETEX", "HGETEX") and _LATEST in request:
            return True
        if request[0] == "XSETID":
            return self._judge.kind == "redis"
        if "LEX" not in str(request[0]) and "BYLEX" not in request:
            return False
        database = self._judge.ours.client.database
        values = [database.keys_of(encoded(word)).get(encoded(word)) for word in request[1:3]]
        scores = [set(value.lookup().values()) for value in values if isinstance(value, ZSet)]
        return bool(self._queued) or any(len(different) > 1 for different in scores)

    def _create_consumer(self, request: Request) -> None:
        """Before 7.2 these create the consumer only if there is something for it."""
        if request[0] in ("XCLAIM", "XAUTOCLAIM"):
            creates = [["XGROUP", "CREATECONSUMER", *request[1:4]]]
        elif request[0] == "XREADGROUP" and "STREAMS" in request:
            creates = [["XGROUP", "CREATECONSUMER", key, *request[2:4]] for key in request[request.index("STREAMS") + 1 :]]
        else:
            return
        for create in creates:
            theirs, _ = self._judge.both(*create)
            if theirs == Tree("+", b"QUEUED"):
                self._queued.append(create)

    def _carried(self, request: Request) -> Request | None:
        """A RESTORE of what the real server dumps; None when it has no such key, or the request was spoilt."""
        if len(request) != 3:
            return None
        dumped, _ = self._judge.both("DUMP", request[1])
        return ["RESTORE", request[2], 0, dumped.value, "REPLACE"] if dumped.value else None

    def _same_state(self) -> bool:
        try:
            if self.newer:
                self._same_newer_state()
            else:
                self._judge.same_state()
            if self._judge.kind == "valkey":
                self._same_digests(sorted(self._judge.ours.client.database.keys()))
        except AssertionError as error:
            self.difference = "state: " + str(error).rpartition("\ntheirs:")[2]
            return False
        return True

    def _same_newer_state(self) -> None:
        """Valkey keeps a hash that ever had a deadline as a table: of hashes, contents and deadlines are compared."""
        judge, database = self._judge, self._judge.ours.client.database
        judge.check("KEYS", "*", order=unordered)
        names = list(database.keys())
        hashes = [key for key in names if isinstance(database.keys_of(key)[key], Hash)]
        judge.same_state([key for key in names if key not in hashes])
        for key in hashes:
            judge.check("PEXPIRETIME", key, within=_TOLERANCE_MS)
            judge.check("HGETALL", key, order=unordered_pairs)
            fields = list(database.keys_of(key)[key].names())
            judge.check("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)

    def _same_digests(self, names: list[bytes]) -> None:
        self._judge.ours.node.config.load("enable-debug-command", ["yes"])
        theirs, ours = self._judge.both("DEBUG", "DIGEST-VALUE", *names)
        if theirs != ours:
            raise AssertionError(f"{names}\ntheirs: {theirs!r}\nours:   {ours!r}")

Known = Callable[[Request, Tree, Tree], bool]
def _for(names: str, theirs_has: str, ours_has: str) -> Known:
    """Replies to these commands (any, when empty) of which theirs has one text in it and ours the other."""
    wanted = names.split()

    def holds(request: Request, theirs: Tree, ours: Tree) -> bool:
        named = not wanted or str(request[0]).upper() in wanted
        return named and theirs_has in repr(theirs) and ours_has in repr(ours)

    return holds


def _both_refuse(names: str) -> Known:
    """Errors of these commands with other words: another argument is looked at first."""
    wanted = names.split()
    return lambda request, theirs, ours: request[0] in wanted and theirs.kind == ours.kind == "-"


KNOWN: dict[str, list[Known]] = {
    "redis": [
        _for("ZRANK ZREVRANK", "wrong number of arguments", "syntax error"),  # WITHSCORE since 7.2
        _for("XREAD XREADGROUP", "ERR Unbalanced XREAD list", "ERR Unbalanced 'xread"),
        _for("", "timeout is negative", "timeout is out of range"),
        _for("SORT SORT_RO", "x00", ""),  # they compare with strcoll(), which stops at a NUL
        _for("SORT SORT_RO", "", "x00"),
        _for("GEOPOS", "179.99", "'180'"),  # infinity as a position: what C makes of it is not defined
        _both_refuse("BITCOUNT BITPOS"),
        _for("BITCOUNT BITPOS", ":b'", "ERR "),  # arguments are looked at even when there is no key since 7.2
    ],
    "valkey": [
        # Other words, and looked at before the type of the key is.
        _both_refuse("HEXPIREAT HPEXPIREAT HEXPIRETIME HPEXPIRETIME HPERSIST HGETDEL HSETEX HGETEX"),
        _for("GEOSEARCH GEOSEARCHSTORE GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO", "does not exist", "could not decode"),
        _for("MULTI", "not allowed inside", "can not be nested"),
        *[_for("GETEX", "ERR ", ours) for ours in ("_b''", "$None", "WRONGTYPE")],  # Valkey looks at the expiry first
        _for("BITCOUNT", "", "syntax error"),  # Valkey takes a start without an end
        _for("SORT SORT_RO", "can't be converted", "*["),  # "" and NUL are 0 to strtod()
        _for("SORT SORT_RO", "x00", ""),
        _for("SORT SORT_RO", "", "x00"),
        _for("GEOPOS", "179.99", "'180'"),  # infinity as a position: what C makes of it is not defined
        _for("ZSCAN SSCAN HSCAN", "invalid cursor", "'0'"),
    ],
}
"""Where a server is not like Redis 7.2, our reference; the tables of each type show these differences one by one."""


def _shortest(run: Run, requests: list[Request], settings: dict[str, str]) -> list[Request]:
    """Without all requests that are not needed for a difference."""
    step = len(requests) // 2
    while step:
        at = 0
        while at < len(requests):
            fewer = requests[:at] + requests[at + step :]
            found = run.differs(fewer, settings) if fewer else None
            if found is None:
                at += step
            else:
                requests = fewer[:found]
        step //= 2
    run.differs(requests, settings)
    return requests


def _limits(rng: random.Random, kind: str) -> dict[str, str]:
    """Limits that a few steps cross."""
    small = rng.random() < 0.5
    names = ["hash_max_listpack_entries", "zset_max_listpack_entries", "set_max_intset_entries"]
    names += ["set_max_listpack_entries"] if kind == "valkey" else []
    return dict.fromkeys(names, "5") | {"list_max_listpack_size": "4"} if small else {}


def test_sequences(judge: Judge) -> None:
    run = Run(judge)
    for example in range(EXAMPLES):
        rng = random.Random(f"{SEED} {judge.kind} {judge.protocol} {example}")
        settings = _limits(rng, judge.kind)
        run.newer = judge.kind == "valkey" and example % 2 == 1
        requests = sequence(rng, STEPS, run.newer)
        found = run.differs(requests, settings)
        if found is not None:
            first = run.difference
            story = "\n  ".join(" ".join(map(repr, one)) for one in _shortest(run, requests[:found], settings))
            pytest.fail(f"seed {SEED}, example {example}, {settings}:\n  {story}\n{run.difference or first}")
    judge.both("DISCARD")
