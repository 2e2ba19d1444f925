"""When a node counts as failed: own silence counts, reports of others, quorum, and the way back.

One node's silence makes PFAIL, which is nobody's truth but its own. A majority of those that own slots, telling each
other within the reports' lifetime, makes FAIL. Redis's rules (`cluster_legacy.c`, "Failure detection" in the cluster
specification), with one clear word on who votes: primaries that own slots, on all sides of the count.
"""

from __future__ import annotations

from gossip.ids import NodeId
from gossip.members import FAIL, PFAIL, REPLICA, Member

REPORT_LIFETIMES = 2
"""A report is void after this many node timeouts."""
FAIL_UNDO_TIMEOUTS = 2
"""A slot-owning primary that answers again stays FAIL this many node timeouts, for a replica to take over."""


def add_report(member: Member, reporter: NodeId, now_ms: int) -> bool:
    """`reporter` calls the member unreachable. Returns whether it had not done so before."""
    is_new = reporter not in member.reports
    member.reports[reporter] = now_ms
    return is_new


def withdraw_report(member: Member, reporter: NodeId) -> bool:
    """`reporter` can reach the member. Returns whether it had said otherwise before."""
    return member.reports.pop(reporter, None) is not None


def count_reports(member: Member, now_ms: int, timeout_ms: int) -> int:
    """How many others call the member unreachable; reports too old are dropped."""
    reports = member.reports
    if reports:
        lifetime_ms = REPORT_LIFETIMES * timeout_ms
        for reporter in [one for one, at_ms in reports.items() if now_ms - at_ms > lifetime_ms]:
            del reports[reporter]
    return len(reports)


def quorum(voters: int) -> int:
    """How many of so many voters are a majority."""
    return voters // 2 + 1


def should_fail(member: Member, myself: Member, voters: int, now_ms: int, timeout_ms: int) -> bool:
    """Whether PFAIL turns into FAIL: this node cannot reach it, and with the reports there is a majority of voters."""
    if member.flags & (PFAIL | FAIL) != PFAIL:
        return False
    needed = quorum(voters) - myself.votes
    return len(member.reports) >= needed and count_reports(member, now_ms, timeout_ms) >= needed


def may_clear_fail(member: Member, now_ms: int, timeout_ms: int) -> bool:
    """Whether a FAIL node that answers again is well.

    Replicas and primaries without slots are at once. A primary that still owns slots is when its replicas have had
    their time to take over and have not.
    """
    if member.flags & REPLICA or not member.slot_count:
        return True
    return now_ms - member.fail_since_ms > FAIL_UNDO_TIMEOUTS * timeout_ms
