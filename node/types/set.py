"""Sets: members are bytes, kept in one of three forms, which are Redis's encodings in other words.

- `array`: an intset. Integers, ascending, in the narrowest of 16, 32 and 64 bits that held all that were ever in it.
- `bytes`: a listpack. Members in order of insertion, with a zero byte before, between and behind them.
- `dict`: a hashtable. Also a listpack that has a member with a zero byte in it.

The packed form makes a small set as small as in Redis (a Python object for each member would be three times that), and
looking for a member is one search at the speed of C. When forms change is defined by `t_set.c` of Redis 7.2.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice
from typing import Protocol, TypeAlias

from gossip.ids import RandomSource
from node.numbers import parse_int
from node.types.drawing import Drawable, shuffle_front

_INTSET_ENTRIES_MAX = 1 << 30
_WIDER = {"h": "i", "i": "q"}
_EMPTY_PACK = b"\0"

Store: TypeAlias = "array[int] | bytes | dict[bytes, None]"


class SetLimits(Protocol):
    """The settings of the same names: up to and including these a set is compact."""

    @property
    def set_max_intset_entries(self) -> int: ...

    @property
    def set_max_listpack_entries(self) -> int: ...

    @property
    def set_max_listpack_value(self) -> int: ...


class Set(Drawable):
    """The value of a set key.

    store: see above; never empty while the key exists. table: whether Redis would hold it as a hash table. loaded: it
    comes from a file and is to be put in the form that the settings ask for before it changes.
    """

    __slots__ = ("loaded", "store", "table")

    def __init__(self, store: Store, *, table: bool = False, loaded: bool = False) -> None:
        self._urn = None
        self.store = store
        self.table = table
        self.loaded = loaded

    @staticmethod
    def of(member: bytes, count: int, limits: SetLimits) -> Set:
        """An empty set, in the form for a request that adds `count` members of which this is the first."""
        if count <= limits.set_max_intset_entries and parse_int(member) is not None:
            return Set(array("h"))
        if count <= limits.set_max_listpack_entries:
            return Set(_EMPTY_PACK)
        return Set({}, table=True)

    @staticmethod
    def empty(*, integers: bool) -> Set:
        """An empty set that begins as an intset, or as a listpack."""
        return Set(array("h") if integers else _EMPTY_PACK)

    @staticmethod
    def listpack(members: list[bytes], *, loaded: bool = False) -> Set:
        """A listpack of these members, which differ."""
        made = Set(_EMPTY_PACK, loaded=loaded)
        made._pack(members)
        return made

    # Looking ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        store = self.store
        return store.count(b"\0") - 1 if isinstance(store, bytes) else len(store)

    def __contains__(self, member: bytes) -> bool:
        store = self.store
        if isinstance(store, dict):
            return member in store
        if isinstance(store, bytes):
            return b"\0" not in member and b"\0%b\0" % member in store
        number = parse_int(member)
        return number is not None and self._place(number) is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, without counting."""
        store = self.store
        return len(store) == 1 if isinstance(store, bytes) else not store

    def members(self) -> list[bytes]:
        """All members: of an intset ascending, else in order of insertion."""
        store = self.store
        if isinstance(store, dict):
            return list(store)
        if isinstance(store, bytes):
            return store[1:-1].split(b"\0") if len(store) > 1 else []
        return [b"%d" % number for number in store]

    def lookup(self) -> dict[bytes, None]:
        """The members as keys, to test many for membership. Not to be changed."""
        store = self.store
        return store if isinstance(store, dict) else dict.fromkeys(self.members())

    def copy(self) -> Set:
        """An equal set that shares nothing with this one."""
        store = self.store
        if isinstance(store, array):
            store = store[:]
        elif isinstance(store, dict):
            store = store.copy()
        return Set(store, table=self.table, loaded=self.loaded)

    # Encoding -----------------------------------------------------------------------------------------------------

    @property
    def form(self) -> str:
        """OBJECT ENCODING of the set as it is, settled or not."""
        if self.table:
            return "hashtable"
        return "intset" if isinstance(self.store, array) else "listpack"

    def encoding(self, limits: SetLimits) -> str:
        """What OBJECT ENCODING calls it."""
        if self.loaded:
            self.settle(limits)
        return self.form

    def settle(self, limits: SetLimits) -> None:
        """Bring a set as loaded into the form that Redis would have given it while loading."""
        self.loaded = False
        size = len(self)
        if isinstance(self.store, array):
            if size > limits.set_max_intset_entries:
                self._to_table()
        elif not self.table:
            if size > limits.set_max_listpack_entries:
                self._to_table()
        elif size <= min(limits.set_max_intset_entries, _INTSET_ENTRIES_MAX):
            members = self.members()
            self.store, self.table = array("h"), False
            self.update(members, limits)

    def expect(self, count: int, limits: SetLimits) -> None:
        """A request is about to add `count` members: be a table at once when a compact form would not hold them."""
        if self.loaded:
            self.settle(limits)
        if not self.table:
            compact = isinstance(self.store, array)
            if count > (limits.set_max_intset_entries if compact else limits.set_max_listpack_entries):
                self._to_table()

    def to_intset(self, limits: SetLimits) -> None:
        """All members are integers: be an intset, unless there are too many of them."""
        if isinstance(self.store, array) or len(self) > min(limits.set_max_intset_entries, _INTSET_ENTRIES_MAX):
            return
        numbers = sorted(map(int, self.members()))
        self.store, self.table = narrowest(numbers), False

    def _to_table(self) -> dict[bytes, None]:
        members = dict.fromkeys(self.members())
        self.store = members
        self.table = True
        return members

    def _pack(self, members: Iterable[bytes]) -> None:
        """Be a listpack of these members."""
        packed = b"\0".join((b"", *members, b""))
        members = list(members)
        fits = packed.count(b"\0") == len(members) + 1
        self.store = packed if fits else dict.fromkeys(members)

    # Changing -----------------------------------------------------------------------------------------------------

    def update(self, members: list[bytes], limits: SetLimits) -> int:
        """Add members one after the other. Returns how many are new."""
        if self.loaded:
            self.settle(limits)
        added = 0
        for at, member in enumerate(members):
            if self.table:
                return added + self._fill(members[at:] if at else members)
            added += self.add(member, limits)
        return added

    def _fill(self, members: list[bytes]) -> int:
        """Add members to a table."""
        store = self.store
        assert isinstance(store, dict)
        before = len(store)
        if self._urn is None:
            store.update(dict.fromkeys(members))
        else:
            for member in members:
                if member not in store:
                    store[member] = None
                    self.added(member)
        return len(store) - before

    def add(self, member: bytes, limits: SetLimits) -> bool:
        """Add one member. False when it is there already."""
        if self.loaded:
            self.settle(limits)
        store = self.store
        if self.table:
            if member in store:
                return False
            store[member] = None  # type: ignore[index,call-overload]
            if self._urn is not None:
                self.added(member)
            return True
        if isinstance(store, bytes):
            if b"\0%b\0" % member in store and b"\0" not in member:
                return False
        elif isinstance(store, array):
            return self._add_to_intset(member, limits)
        elif member in store:
            return False
        if len(self) >= limits.set_max_listpack_entries or len(member) > limits.set_max_listpack_value:
            self._to_table()[member] = None
        else:
            self._add_to_listpack(member)
        return True

    def _add_to_listpack(self, member: bytes) -> None:
        store = self.store
        if isinstance(store, bytes):
            if b"\0" not in member:
                self.store = b"%b%b\0" % (store, member)
                return
            store = self.store = dict.fromkeys(self.members())
        assert isinstance(store, dict)
        store[member] = None

    def _add_to_intset(self, member: bytes, limits: SetLimits) -> bool:
        number = parse_int(member)
        store = self.store
        assert isinstance(store, array)
        size = len(store)
        if number is not None:
            at = bisect_left(store, number)
            if at < size and store[at] == number:
                return False
            self._insert(at, number)
            if size >= min(limits.set_max_intset_entries, _INTSET_ENTRIES_MAX):
                self._to_table()
            return True
        longest = limits.set_max_listpack_value
        digits = max(len(str(store[0])), len(str(store[-1]))) if size else 0
        if size < limits.set_max_listpack_entries and max(len(member), digits) <= longest:
            self._pack([*self.members(), member])
        else:
            self._to_table()[member] = None
        return True

    def _insert(self, at: int, number: int) -> None:
        """Put a number into the array, which may have to become wider: it never gets narrower, as in Redis."""
        store = self.store
        assert isinstance(store, array)
        while True:
            try:
                store.insert(at, number)
            except OverflowError:
                store = array(_WIDER[store.typecode], store)
            else:
                self.store = store
                return

    def _place(self, number: int) -> int | None:
        """Where a number stands in the array; None when it does not."""
        store = self.store
        assert isinstance(store, array)
        at = bisect_left(store, number)
        return at if at < len(store) and store[at] == number else None

    def remove(self, member: bytes, limits: SetLimits) -> bool:
        """Remove one member. False when it is not there."""
        if self.loaded:
            self.settle(limits)
        store = self.store
        if isinstance(store, dict):
            if member not in store:
                return False
            del store[member]
            if self._urn is not None:
                self.removed(member)
            return True
        if isinstance(store, bytes):
            if member not in self:
                return False
            self.store = store.replace(b"\0%b\0" % member, b"\0", 1)
            return True
        number = parse_int(member)
        at = None if number is None else self._place(number)
        if at is None:
            return False
        del store[at]
        return True

    # Drawing ------------------------------------------------------------------------------------------------------

    def draw(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` members drawn one by one, so that one may come again. O(1) each, but for the first of many."""
        store = self.store
        if isinstance(store, dict):
            return self._draw(store, count, random)
        members = self.members()
        size = len(members)
        return [members[random.randrange(size)] for _ in range(count)]

    def draw_distinct(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` different members in any order; all of them when there are no more."""
        store = self.store
        if isinstance(store, dict):
            return self._draw_distinct(store, count, random)
        members = self.members()
        if count < len(members):
            shuffle_front(members, count, random)
        return members[:count]

    def take(self, random: RandomSource, limits: SetLimits) -> bytes:
        """Remove one member, each equally likely, and return it. O(1), but for the first of many."""
        if self.loaded:
            self.settle(limits)
        store = self.store
        if isinstance(store, dict):
            urn = self._urn
            if urn is None:
                return self._take(store, random)
            name = urn.take(random)
            del store[name]
            return name
        member = self.draw(1, random)[0]
        self.remove(member, limits)
        return member

    def take_many(self, count: int, random: RandomSource, limits: SetLimits) -> list[bytes]:
        """Remove `count` members (fewer than there are) and return them. O(count), or O(N) when few are left."""
        if self.loaded:
            self.settle(limits)
        store = self.store
        if isinstance(store, dict) and count * 3 < len(store):
            return [self._take(store, random) for _ in range(count)]
        members = self.members()
        if count * 2 <= len(members):
            shuffle_front(members, count, random)
            taken, kept = members[:count], None
        else:
            kept_count = len(members) - count
            shuffle_front(members, kept_count, random)
            taken, kept = members[kept_count:], set(members[:kept_count])
        self._drop(taken, kept)
        return taken

    def _drop(self, taken: list[bytes], kept: set[bytes] | None) -> None:
        """Remove these members; `kept`: the others, where they are fewer. What is kept stays in its order."""
        store = self.store
        gone = set(taken)
        rest = [one for one in self.members() if (one not in gone if kept is None else one in kept)]
        if isinstance(store, array):
            self.store = array(store.typecode, map(int, rest))
        elif isinstance(store, bytes):
            self._pack(rest)
        else:
            self.store = dict.fromkeys(rest)
            self._urn = None


def narrowest(numbers: list[int]) -> array[int]:
    """An array of these ascending numbers in the narrowest width."""
    for code in "hi":
        try:
            return array(code, numbers)
        except OverflowError:
            continue
    return array("q", numbers)


def intersection(sets: list[Set], limit: int = 0) -> list[bytes]:
    """The members that all of these sets have, in the order of the smallest; at most `limit` of them unless it is 0."""
    smallest, *others = sorted(sets, key=len)
    common = smallest.members()
    for other in others:
        if other is not smallest:
            lookup = other.lookup()
            if limit and other is others[-1]:
                return list(islice((member for member in common if member in lookup), limit))
            common = [member for member in common if member in lookup]
    return common[:limit] if limit else common


def union(sets: list[Set]) -> list[bytes]:
    """The members that any of these sets has: ascending when all are intsets, else in order of first appearance."""
    if len(sets) == 1:
        return sets[0].members()
    members: dict[bytes, None] = {}
    for one in sets:
        members.update(one.lookup())
    if all(isinstance(one.store, array) for one in sets):
        return [b"%d" % number for number in sorted(map(int, members))]
    return list(members)


def difference(first: Set, others: list[Set]) -> list[bytes]:
    """The members of the first set that none of the others has, in its order."""
    if any(other is first for other in others):
        return []
    members = first.members()
    for other in sorted(others, key=len, reverse=True):
        lookup = other.lookup()
        members = [member for member in members if member not in lookup]
    return members
