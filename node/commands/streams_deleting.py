"""Commands: deleting entries of a stream by their ids: XDEL, and Redis 8.2's XDELEX and XACKDEL, which look at groups.

What groups have pending may outlive its entry (KEEPREF), go with it (DELREF), or keep it (ACKED). Replicas are told in
XACK and XDEL, which those know that are older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.commands.streams_common import (
    REFERENCE_POLICIES,
    group_at,
    release_everywhere,
    stream_id,
    tell_deletion,
    tell_release,
)
from node.errors import SYNTAX, CommandError
from node.numbers import parse_int
from node.registry import KEY_DELETE, Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types.stream import Stream

if TYPE_CHECKING:
    from node.context import Context

group = Group("stream")

_NONE_SUCH, _DELETED, _STILL_REFERENCED = -1, 1, 2


@group.command(
    "XDEL key id [id ...]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    since="5.0.0",
    summary="Returns the number of messages after removing them from a stream.",
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
)
def xdel(ctx: Context, args: Args) -> Reply:
    stream = ctx.write_as(args[1], Stream)
    if stream is None:
        return 0
    numbers = [stream_id(text) for text in args[2:]]
    removed = sum([stream.delete(number) for number in numbers])
    if removed:
        ctx.modified("xdel", args[1])
        ctx.dirty += removed - 1
    return removed


def _policy_and_ids(args: Args, at: int) -> tuple[bytes, list[int]]:
    """What stands from args[at] on: a policy, and IDS with their number, in any order. CommandError for bad ones."""
    policy = b""
    numbers: list[int] = []
    while at < len(args):
        word = args[at].upper()
        at += 1
        if word in REFERENCE_POLICIES and not policy:
            policy = word
        elif word == b"IDS" and at < len(args) and not numbers:
            count = parse_int(args[at])
            if count is None or count < 1:
                raise CommandError("ERR Number of IDs must be a positive integer")
            at += 1
            if count > len(args) - at:
                raise CommandError("ERR The `numids` parameter must match the number of arguments")
            numbers = [stream_id(text) for text in args[at : at + count]]
            at += count
        else:
            raise CommandError(SYNTAX)
    if not numbers:
        raise CommandError(SYNTAX)
    return policy, numbers


def _finish(ctx: Context, key: bytes, deleted: list[int], released: dict[bytes, list[int]]) -> None:
    """Count and tell what was done."""
    if deleted:
        ctx.modified("xdel", key)
        ctx.dirty += len(deleted) - 1
    ctx.dirty += sum(map(len, released.values()))
    if ctx.dirty:
        ctx.propagate_nothing()
        tell_release(ctx, key, released)
        tell_deletion(ctx, key, deleted)


@group.command(
    "XDELEX key [KEEPREF | DELREF | ACKED] IDS <numids id [id ...]>",
    arity=-5,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    since="8.2.0",
    summary="Deletes one or multiple entries from the stream.",
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
)
def xdelex(ctx: Context, args: Args) -> Reply:
    policy, numbers = _policy_and_ids(args, 2)
    stream = ctx.write_as(args[1], Stream)
    if stream is None:
        return [_NONE_SUCH] * len(numbers)
    released = release_everywhere(stream, numbers) if policy == b"DELREF" else {}
    results: list[int] = []
    deleted: list[int] = []
    for number in numbers:
        if policy == b"ACKED" and number in stream and stream.is_referenced(number):
            results.append(_STILL_REFERENCED)
        elif stream.delete(number):
            results.append(_DELETED)
            deleted.append(number)
        else:
            results.append(_NONE_SUCH)
    _finish(ctx, args[1], deleted, released)
    return results


@group.command(
    "XACKDEL key group [KEEPREF | DELREF | ACKED] IDS <numids id [id ...]>",
    arity=-6,
    flags=Flag.WRITE | Flag.FAST,
    keys=(KeySpec("RW update delete"),),
    since="8.2.0",
    summary="Acknowledges and conditionally deletes one or multiple entries for a stream consumer group.",
    complexity="O(1) for each entry ID processed.",
)
def xackdel(ctx: Context, args: Args) -> Reply:
    policy, numbers = _policy_and_ids(args, 3)
    opened = group_at(ctx, args[1], args[2])
    if opened is None:
        return [_NONE_SUCH] * len(numbers)
    stream, found = opened
    results: list[int] = []
    deleted: list[int] = []
    released: dict[bytes, list[int]] = {}
    for number in numbers:
        if not found.release(number):
            results.append(_NONE_SUCH)
            continue
        released.setdefault(args[2], []).append(number)
        if policy == b"DELREF":
            for name, gone in release_everywhere(stream, [number]).items():
                released.setdefault(name, []).extend(gone)
        elif policy == b"ACKED" and number in stream and stream.is_referenced(number):
            results.append(_STILL_REFERENCED)
            continue
        results.append(_DELETED)
        if stream.delete(number):
            deleted.append(number)
    _finish(ctx, args[1], deleted, released)
    return results
