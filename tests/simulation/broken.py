"""Rules broken on purpose, to see that the simulation notices: each replaces a piece of the real machine for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from cluster import claims, contact, elections, epochs, lease, voting
from cluster.core import Core
from cluster.failover import Vote
from cluster.machine import Cluster
from cluster.slotmap import SlotMap
from gossip import proof
from gossip.machine import Gossip
from gossip.members import Link, Member
from gossip.messages import FailoverAuthAck, Header, Message


def _votes_again(core: Core, candidate: Member, header: Header, link: Link, now_ms: int) -> None:
    """Votes for everybody who asks, as often as asked."""
    if core.myself.votes and candidate.primary is not None and header.current_epoch >= core.current_epoch:
        core.last_vote_epoch = core.current_epoch
        core.votes[candidate.primary.id] = Vote(candidate.id, now_ms)
        core.out.changed(state=False)
        own = candidate.link
        core.out.send((own if own is not None and own.opened else link).id, FailoverAuthAck(core.header()))


def _believes(gossip: Gossip, link: Link, sender: Member | None, message: Message, now_ms: int) -> None:
    """Whatever comes over an accepted link is its sender's word."""
    gossip._heard_word(link, sender, message, now_ms)


class _Forgetful:
    """A node whose votes are kept in memory only: what is written to disk does not tell of them."""

    def __init__(self) -> None:
        self._saved_state = Cluster.saved_state

    def __call__(self, cluster: Cluster) -> object:
        state = self._saved_state(cluster)
        epoch = max((one.config_epoch for one in state.nodes), default=0)
        return type(state)(state.nodes, epoch, 0, state.migrating, state.importing)


def _patched(*patches: tuple[object, str, object]) -> Callable[[], ExitStack]:
    def begin() -> ExitStack:
        stack = ExitStack()
        for target, name, value in patches:
            stack.enter_context(patch.object(target, name, value))
        return stack

    return begin


_forgetful = _Forgetful()


@dataclass(frozen=True, slots=True)
class Rule:
    """A broken rule. faults: which bring it to light. notices: what the check says that finds it (a regular expression).
    first: the seed to begin with, where it takes many."""

    begin: Callable[[], ExitStack]
    faults: tuple[str, ...]
    notices: str
    shape: str = "3x3"
    first: int = 0


RULES: dict[str, Rule] = {
    "vote twice in an epoch": Rule(
        _patched((voting, "requested", _votes_again), (elections, "_knows_it_goes_first", lambda *_: False),
                 (elections, "DELAY_MS", 0), (elections, "JITTER_MS", 20), (elections, "RANK_DELAY_MS", 0)),
        ("crash", "pause", "noise"), "votes twice in epoch",
    ),
    "vote before it is saved": Rule(
        _patched((Cluster, "saved_state", lambda cluster: _forgetful(cluster))),
        ("crash", "pause"), "before it is saved|votes twice",
    ),
    "promote a stale replica": Rule(
        _patched((voting, "_better_candidate", lambda *_: ""), (elections, "_rank", lambda *_: 0),
                 (elections, "_knows_it_goes_first", lambda *_: True)),
        ("slow", "slow", "crash"), "is promoted over", first=40,
    ),
    "believe any stranger": Rule(_patched((proof, "hear", _believes)), ("stranger", "pause"), "stranger|votes"),
    "no lease": Rule(
        _patched((lease, "is_needed", lambda *_: False)), ("cut", "pause"), "acknowledges a write",
    ),
    "vote against a primary that holds a lease": Rule(
        # Where replies of writes wait for cover nobody is told what the two have done: without that the lease stands alone.
        _patched((Member, "leased_ms", property(lambda _: -(10**15), lambda *_: None)),
                 (contact, "is_needed", lambda *_: False)),
        ("cut",), "acknowledges a write", "3x2", first=6,
    ),
    "take an epoch that another may take": Rule(
        _patched((epochs, "next_own", lambda core: epochs.greatest(core) + 1),
                 (epochs, "next_elected", lambda core: core.current_epoch + 1)),
        ("reshard",), "have owned .* in epoch", "3x2", first=300,
    ),
    "give a slot back to who had it": Rule(
        _patched((claims, "_taken_from", lambda *_: 0), (claims, "_migrating_to", lambda *_: 0)),
        ("reshard",), "agreement|owners", "5x1", first=301,
    ),
    "tell that a node has what it has ceased to claim": Rule(
        _patched((SlotMap, "claimed", SlotMap.bits)), ("reshard", "pause"), "agreement|owners", "5x1", first=300,
    ),
}


@contextmanager
def broken(name: str) -> Iterator[Rule]:
    """While this lasts, the rule does not hold. KeyError for an unknown one."""
    rule = RULES[name]
    with rule.begin():
        yield rule


__all__ = ["RULES", "Rule", "broken"]
