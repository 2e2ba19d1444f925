"""From a request to its reply: lookup, checks, routing, call, propagation. Hot: every request passes through.

The usual request pays for one dict lookup, an arity check, one mask test and one look into the table of served slots.
Whatever is unusual about a client or the node shows in the mask, and only then the checks of `_admit` run, in the
order of Redis's `processCommand`.
"""

from __future__ import annotations

import logging
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cluster.routing import UNBOUND
from cluster.slots import key_slot
from gossip.messages import SLOT_COUNT
from node import errors
from node.blocking import NOT_YET
from node.client import Client, Unusual
from node.errors import CommandError
from node.gate import Deferred
from node.pubsub import behind
from node.registry import Args, Command, Flag
from node.resp import Reply, only_messages
from node.slot_stats import request_bytes
from node.transactions import RUN_AT_ONCE

if TYPE_CHECKING:
    from node.state import Node

log = logging.getLogger("hashslot")

_SLOT_MASK = SLOT_COUNT - 1
_BRACE = ord("{")  # To look for a byte is five times faster than to look for a string.

_UNAUTHENTICATED = int(Unusual.UNAUTHENTICATED)
_ASKING = int(Unusual.ASKING)
_FROM_PRIMARY = int(Unusual.FROM_PRIMARY)
_LOADING = int(Unusual.LOADING)
_UNFIT = int(Unusual.LOADING | Unusual.STALE | Unusual.TOO_FEW_REPLICAS | Unusual.SAVE_FAILED)
_REPLICA = int(Unusual.REPLICA)
_PAUSED = int(Unusual.PAUSED)
_STALE = int(Unusual.STALE)
_TOO_FEW_REPLICAS = int(Unusual.TOO_FEW_REPLICAS)
_SAVE_FAILED = int(Unusual.SAVE_FAILED)
_MONITORED = int(Unusual.MONITORED)
_QUEUEING = int(Unusual.QUEUEING)
_NOTED = int(Unusual.NOTED)
_IN_TRANSIT = int(Unusual.IN_TRANSIT)
_SLOT_STATS = int(Unusual.SLOT_STATS)
_EXPORTING = int(Unusual.EXPORTING)
_REPLY_OFF = int(Unusual.REPLY_OFF)
_SUBSCRIBED = int(Unusual.SUBSCRIBED)
_QUIET = _FROM_PRIMARY | _REPLY_OFF


_WHILE_SUBSCRIBED = frozenset(
    ("subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "ping", "quit", "reset")
)
"""What a client that speaks RESP2, where a message looks like a reply, may ask for while it listens to channels."""


class Postponed(Exception):
    """The request `args` can not run now (CLIENT PAUSE): keep it, and everything behind it, until the node resumes."""

    def __init__(self, args: Args) -> None:
        super().__init__()
        self.request = args


class Executor:
    """Runs requests on a node, one after the other."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._context = node.context
        self._table = node.commands
        self._spellings = node.commands.spellings
        self._clustered = node.clustered
        self._slot_mask = _SLOT_MASK if node.clustered else 0
        self._replication = node.replication
        self._ready = node.blocking.ready
        self._served = node.cluster.served if node.cluster is not None else bytearray(b"\x01")
        """One byte a slot, 1 where this node serves it with nothing more to ask: kept up to date by the cluster. A node
        without a cluster has one slot."""

    def run(self, client: Client, requests: Iterator[Args], out: list[bytes]) -> Deferred | None:
        """Run requests, one after the other, and append their encoded replies to `out`.

        Returns when all are done, when the client is to be closed, or with a reply that is not there yet; Postponed when
        a request has to wait, which it names. Whatever is left in `requests` then has not been run.

        The usual request, on one key that is served here, is dealt with right here, without one call that is not
        needed; everything else goes through `execute`.
        """
        node, context, lookup = self._node, self._context, self._spellings.get
        served, mask, replication, ready = self._served, self._slot_mask, self._replication, self._ready
        append, encode = out.append, client.encode
        for args in requests:
            command = lookup(args[0])
            if (
                command is not None
                and not client.unusual
                and not node.unusual
                and command.key_at > 0
                and command.min_args <= len(args) <= command.max_args
            ):
                key = args[command.key_at]
                slot = (key_slot(key) if _BRACE in key else crc_hqx(key, 0)) & mask
                if served[slot]:
                    context.client = client
                    database = context.database = client.database
                    context.expires = database.expires
                    context.slot = slot
                    context.keys = database.slots[slot]
                    command.calls += 1
                    try:
                        reply = command.handler(context, args)
                        if context.effects is not None or (context.dirty and (replication.feeding or ready)):
                            self._after_change(args)
                        append(encode(reply))
                    except CommandError as error:
                        self._failed(command)
                        append(self._error(client, error))
                    except Exception:
                        append(self._bug(client, args))
                    continue
            try:
                node.dirty += context.dirty
                context.dirty = 0
                reply = self.execute(client, args)
                if reply.__class__ is Deferred:
                    return reply
                encode = client.encode
                append(encode(reply))
            except CommandError as error:
                append(self._error(client, error))
            except Postponed:
                raise
            except Exception:
                append(self._bug(client, args))
            if client.closing:
                return None
        node.dirty += context.dirty  # Changes of which nobody is told are counted once for all of them.
        context.dirty = 0
        return None

    def _error(self, client: Client, error: CommandError) -> bytes:
        """The encoded error reply, counted; nothing for a client that wants no replies."""
        self._node.stats.error(error.code)
        return b"" if client.unusual & _REPLY_OFF else client.encode(error)

    def _bug(self, client: Client, args: Args) -> bytes:
        """The reply after an exception that is a mistake of ours: the node goes on."""
        log.exception("Internal error in %r", args[0][:64])
        self._context.abandon()
        return client.encode(CommandError("ERR internal error, see the log of this node"))

    def execute(self, client: Client, args: Args) -> Reply:
        """The reply to one request. CommandError for an error reply; Postponed when it has to wait.

        args: at least one element, the command's name first.
        """
        command = self._spellings.get(args[0])
        unusual = client.unusual or self._node.unusual
        if command is None or unusual or not command.min_args <= len(args) <= command.max_args:
            return self._execute_carefully(client, args)
        self.point(client, command, args, 0)
        return self._call(command, args)

    def _execute_carefully(self, client: Client, args: Args) -> Reply:
        """`execute` with everything that may stand in a request's way, in the order of Redis's `processCommand`."""
        unusual = client.unusual | self._node.unusual
        try:
            command = self._table.resolve(args)
            if not command.min_args <= len(args) <= command.max_args:
                command.rejected += 1
                command.check_arity(args)
            if unusual:
                self._admit(client, command, args, unusual)
            self.point(client, command, args, unusual)
        except CommandError:
            if unusual & _QUEUEING and client.transaction is not None:
                client.transaction.aborted = True
            raise
        if unusual & _QUEUEING and client.transaction is not None and command.name not in RUN_AT_ONCE:
            return client.transaction.queue(command, args)
        if unusual & _SUBSCRIBED:
            return self._call_subscribed(client, command, args)
        reply = self._measured(client, command, args) if unusual & _SLOT_STATS else self._call(command, args)
        if unusual & _QUIET and self._keeps_quiet(client, command):
            return only_messages(reply)
        return reply

    def point(self, client: Client, command: Command, args: Args, unusual: int) -> None:
        """Point the context at the client, the database and the slot of a request. CommandError when another node
        serves that slot, or its keys are in several."""
        context = self._context
        context.client = client
        database = context.database = client.database
        context.expires = database.expires
        if self._clustered:
            at = command.key_at
            if at > 0:
                key = args[at]
                slot = key_slot(key) if _BRACE in key else crc_hqx(key, 0) & _SLOT_MASK
            elif at:
                slot = self._common_slot(command, args)
            else:
                return
            if slot >= 0:
                if not self._served[slot]:
                    self._route(client, command, args, slot, unusual)
                context.slot = slot
                context.keys = database.slots[slot]
        else:
            context.slot = 0
            context.keys = database.slots[0]

    def execute_all(self, client: Client, queued: Sequence[tuple[Command, Args]]) -> list[Reply]:
        """EXEC: run what was queued, each with its reply or error. CommandError when it may not run here any more.

        Nothing of it is admitted again, but the keys of all of it must be in one slot that is served here.
        """
        node = self._node
        unusual = client.unusual | node.unusual
        if self._clustered:
            self._check_slots(client, queued, unusual)
        replies: list[Reply] = []
        context = self._context
        context.may_block = False
        try:
            with node.one_unit():
                for command, args in queued:
                    if not client.is_primary and command.flags & Flag.WRITE and unusual & _REPLICA:
                        replies.append(CommandError(errors.READ_ONLY))
                        continue
                    self.point(client, command, args, unusual)
                    if unusual & _SLOT_STATS:
                        replies.append(self._measured_queued(client, command, args))
                    else:
                        replies.append(self._call_queued(command, args))
        finally:
            context.may_block = True
        if node.blocking.ready:
            node.blocking.serve()
        return replies

    def _call(self, command: Command, args: Args) -> Reply:
        """Run a command on the context as it stands, and tell replicas what it changed."""
        context = self._context
        command.calls += 1
        try:
            reply = command.handler(context, args)
        except CommandError:
            self._failed(command)
            raise
        if context.dirty or context.effects is not None:
            self._after_change(args)
        return reply

    def _call_queued(self, command: Command, args: Args) -> Reply:
        """`_call` where an error is one of several replies: in EXEC, or with messages behind it."""
        try:
            return self._call(command, args)
        except CommandError as error:
            self._node.stats.error(error.code)
            return error

    def _measured(self, client: Client, command: Command, args: Args) -> Reply:
        """`_call`, counted for its slot (CLUSTER SLOT-STATS)."""
        if not command.key_at:
            return self._call(command, args)
        node, slot, stream = self._node, self._context.slot, self._replication
        began_ns, began_at, sent = node.io.ticks_ns(), stream.offset, 0
        try:
            reply = self._call(command, args)
            if not isinstance(reply, Deferred) and not client.unusual & _QUIET:
                reply = client.encoded(reply)
                sent = len(reply)
            return reply
        except CommandError as error:
            sent = len(client.encoded(error))
            raise
        finally:
            # What goes to replicas counts for the slot too.
            sent += (stream.offset - began_at) * len(stream.primary.peers)
            node.slot_stats.add(slot, node.io.ticks_ns() - began_ns, request_bytes(args), sent)

    def _measured_queued(self, client: Client, command: Command, args: Args) -> Reply:
        try:
            return self._measured(client, command, args)
        except CommandError as error:
            self._node.stats.error(error.code)
            return error

    def _call_subscribed(self, client: Client, command: Command, args: Args) -> Reply:
        """Run the request of a client that listens to channels: what it tells itself stands behind the reply."""
        with self._node.pubsub.holding(client) as messages:
            reply = self._call_queued(command, args)
        if client.unusual & _REPLY_OFF:
            reply = only_messages(reply)
        if messages and isinstance(reply, Deferred):
            self._node.io.call_later(0, lambda: client.send(b"".join(messages)))
            return reply
        return behind(reply, messages)

    def run_again(self, client: Client, command: Command, args: Args) -> Reply:
        """Try the request of a client that waits. `blocking.NOT_YET` when there is still nothing for it."""
        context = self._context
        if self._node.unusual & _IN_TRANSIT and self._node.transit.holds(client, command, args):
            return NOT_YET
        if self._node.unusual & _EXPORTING and self._node.migrations.holds(client, command, args):
            return NOT_YET
        # Who waits in a slot that comes here was let in by its ASKING.
        self.point(client, command, args, client.unusual | self._node.unusual | _ASKING)
        context.retries = True
        try:
            with self._node.one_unit():
                return self._call(command, args)
        finally:
            context.retries = False

    def _check_slots(self, client: Client, queued: Sequence[tuple[Command, Args]], unusual: int) -> None:
        """All keys of a transaction together are routed like those of one command."""
        keyed = [(command, args, command.keys_of(args)) for command, args in queued if command.key_at]
        keys = [key for _, _, found in keyed for key in found]
        if not keys:
            return
        slot = key_slot(keys[0])
        if any(key_slot(key) != slot for key in keys):
            self._route_unowned(slot)
            raise CommandError(errors.CROSS_SLOT)
        if not self._served[slot] and not client.is_primary:
            writing = next((one for one, _, _ in keyed if one.flags & Flag.WRITE), keyed[0][0])
            self._node.route(client, writing, keys, slot, asking=bool(unusual & _ASKING))

    def _keeps_quiet(self, client: Client, command: Command) -> bool:
        """Whether this client gets no reply: the primary's stream (but to REPLCONF GETACK), or after CLIENT REPLY OFF."""
        return command.name != "replconf" if client.is_primary else bool(client.unusual & _REPLY_OFF)

    def _after_change(self, args: Args) -> None:
        """Tell replicas and files what happened: the request as sent, or the effects that its handler named."""
        context = self._context
        node = self._node
        effects, context.effects = context.effects, None
        node.dirty += context.dirty
        context.dirty = 0
        if node.propagates:
            self._propagate(args, effects)
        if node.blocking.ready and context.may_block and not context.retries:
            node.blocking.serve()

    def _propagate(self, args: Args, effects: list[Args] | None) -> None:
        context, node = self._context, self._node
        if effects is None:
            node.propagate(context.database, args)
        elif len(effects) == 1:
            node.propagate(context.database, effects[0])
        else:
            with node.one_unit():
                for effect in effects:
                    node.propagate(context.database, effect)

    def _failed(self, command: Command) -> None:
        """A handler failed. What it changed before it did is told all the same: data and stream must not part."""
        command.failed += 1
        context = self._context
        effects, context.effects = context.effects, None
        dirty, context.dirty = context.dirty, 0
        self._node.dirty += dirty
        if dirty and effects:
            for effect in effects:
                self._node.propagate(context.database, effect)

    # The slow way -------------------------------------------------------------------------------------------------

    def _admit(self, client: Client, command: Command, args: Args, unusual: int) -> None:
        """The checks that usual requests need not pay for. CommandError or Postponed when the request may not run."""
        try:
            self._check(client, command, args, unusual)
        except CommandError:
            command.rejected += 1
            raise
        if unusual & _IN_TRANSIT and self._node.transit.holds(client, command, args):
            raise Postponed(args)
        if unusual & _EXPORTING and self._node.migrations.holds(client, command, args):
            raise Postponed(args)
        if unusual & _PAUSED and self._node.pause.postpones(client, command):
            raise Postponed(args)
        if unusual & _ASKING:
            client.mark(Unusual.ASKING, False)
        if unusual & _MONITORED and not command.flags & (Flag.SKIP_MONITOR | Flag.ADMIN):
            self._node.monitor(client, args)
        if unusual & _NOTED and command.key_at:
            self._node.access.note(client, command, args)

    def _check(self, client: Client, command: Command, args: Args, unusual: int) -> None:
        flags = command.flags
        if unusual & _UNAUTHENTICATED and not flags & Flag.NO_AUTH:
            raise CommandError(errors.NO_AUTH)
        if client.is_primary:
            return
        if unusual & _UNFIT and self._clustered and command.key_at:
            # Who asks for another node's slot is told so whatever is wrong with this one: it may just have been replaced.
            self.point(client, command, args, unusual)
        writes = bool(flags & Flag.WRITE)
        if unusual & _SAVE_FAILED and not unusual & _REPLICA and (writes or command.name == "ping"):
            raise CommandError(errors.SAVE_FAILED)
        if writes and unusual & _TOO_FEW_REPLICAS:
            raise CommandError(errors.NO_REPLICAS)
        if writes and unusual & _REPLICA and self._node.config.replica_read_only and not self._redirects_writes(command):
            raise CommandError(errors.READ_ONLY)
        if unusual & _QUEUEING and flags & Flag.NO_MULTI:
            raise CommandError("ERR Command not allowed inside a transaction")
        if unusual & _SUBSCRIBED and client.resp == 2 and command.name not in _WHILE_SUBSCRIBED:
            raise CommandError(errors.ONLY_SUBSCRIBING.format(command.name))
        if unusual & _STALE and not flags & Flag.STALE:
            raise CommandError(errors.MASTER_DOWN)
        if unusual & _LOADING and not flags & Flag.LOADING:
            raise CommandError(errors.LOADING)

    def _redirects_writes(self, command: Command) -> bool:
        """On a cluster's replica a write with keys is answered with MOVED, which comes from the routing below."""
        return self._clustered and command.key_at != 0

    def _common_slot(self, command: Command, args: Args) -> int:
        """The slot of all keys of a request; -1 when it has none. CommandError CROSSSLOT when they differ."""
        keys = command.keys_of(args)
        if not keys:
            return -1
        first = keys[0]
        # Keys that are meant to be together mostly begin with the same tag: then there is little to compute. They all
        # do if the least and the greatest of them do.
        if first.startswith(b"{") and (end := first.find(b"}")) > 1:
            tag = first[: end + 1]
            if min(keys).startswith(tag) and max(keys).startswith(tag):
                return crc_hqx(first[1:end], 0) & _SLOT_MASK
        slot = key_slot(first)
        for key in keys:
            if key_slot(key) != slot:
                command.rejected += 1
                self._route_unowned(slot)
                raise CommandError(errors.CROSS_SLOT)
        return slot

    def _route_unowned(self, slot: int) -> None:
        """Redis looks for the owner of the first key's slot before it looks at the second key."""
        cluster = self._node.cluster
        if cluster is not None and cluster.owner(slot) is None:
            raise CommandError(UNBOUND.text)

    def _route(self, client: Client, command: Command, args: Args, slot: int, unusual: int) -> None:
        """A slot that is not simply served here. Returns when it may be served all the same; CommandError otherwise."""
        if client.is_primary:
            return
        asking = bool(unusual & _ASKING) or bool(command.flags & Flag.ASKING)
        try:
            self._node.route(client, command, command.keys_of(args), slot, asking=asking)
        except CommandError:
            command.rejected += 1
            raise

