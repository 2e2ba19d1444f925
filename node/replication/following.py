"""The replica's side of a node: the handshake's events turned into data, the stream applied. No socket.

A full sync is loaded into fresh databases, which take the place of the old ones when the payload is complete: for a
node without data, and with `repl-diskless-load swapdb` for any. Else a node that has data would hold both, so the
payload waits in a file until it is complete (`arrival.py`); then the old data goes, and the new is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from node import resp
from node.client import Client, Unusual
from node.errors import CommandError, ProtocolError
from node.keyspace import Database
from node.logs import NOTICE
from node.persistence.records import Aux, Key, Record, SlotImport
from node.replication import replica
from node.replication.arrival import Arrival
from node.replication.replica import Introduction, Session, Step
from node.replication.stream import StreamParser
from node.version import REPLICA_VERSION

if TYPE_CHECKING:
    from node.replication.state import Replication
    from node.state import Node

log = logging.getLogger("hashslot")

COMMANDS_PER_SLICE = 256
"""Commands of the stream applied before others have their turn."""
BYTES_PER_SLICE = 32 * 1024
"""Bytes of the payload that are loaded before others have their turn."""
_NUDGES = 10
_RETRY_FIRST_MS = 20
_RETRY_MAX_MS = 1000


class Following:
    """One primary that is followed, over as many connections as it takes.

    Whoever owns the socket calls `connecting`, `connected`, `received` and `lost`; `retry_ms` tells how long to wait
    before the next attempt.
    """

    def __init__(self, node: Node, replication: Replication, host: str, port: int, database: Database) -> None:
        """database: the one that the stream's next command is for, if it goes on where we are."""
        self.host = host
        self.port = port
        self.state = "connect"
        """What ROLE calls it: connect, connecting, handshake, sync, connected."""
        self.retry_ms = _RETRY_FIRST_MS
        self.client: Client | None = None
        """The primary as a client, while the link is up."""
        self.database = database
        self._node = node
        self._replication = replication
        self._session: Session | None = None
        self._parser = StreamParser()
        self._unread: list[bytes] = []
        """What the connection has given and nobody has looked at yet."""
        self._unit: list[bytes] = []
        """Bytes of a transaction of the stream whose EXEC has not come: it was not applied, and does not count."""
        self._unit_commands: list[list[bytes]] = []
        self._arrival: Arrival | None = None
        self._send: Callable[[bytes], None] | None = None
        self._close: Callable[[], None] | None = None
        self._fresh: list[Database] = []
        self._imports: list[SlotImport] = []
        self._sync: replica.FullResync | None = None
        self._sync_read = 0
        self._sync_size = 0
        self._stopped = False
        self._nudges = 0
        self._has_history = replication.backlog is not None
        """Whether our data is a point of a history that the primary may know."""
        self._last_io_ms = node.io.steady_ms()
        self._down_since_ms: int | None = None if not self._has_history else node.io.steady_ms()

    def take_up(self, database: Database, age_ms: int) -> None:
        """Our data was loaded from a file of that age, with the point of the primary's history that it is."""
        self.database = database
        self._has_history = True
        self._down_since_ms = self._node.io.steady_ms() - age_ms

    # From the socket's owner --------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the stream is followed."""
        return self.state == "connected"

    @property
    def heard_ms(self) -> int | None:
        """Unix ms at which the primary's stream was last heard, or the connection lost; None when there was none yet."""
        return self._last_io_ms if self.connected else self._down_since_ms

    def connecting(self) -> None:
        """An attempt to connect begins."""
        self.state = "connecting"
        self._last_io_ms = self._node.io.steady_ms()

    def connected_to(self, send: Callable[[bytes], None], close: Callable[[], None]) -> None:
        """The connection is up. `close` ends it, and calls `lost` before it returns."""
        self.state = "handshake"
        self._send, self._close = send, close
        self._last_io_ms = self._node.io.steady_ms()
        has_data = any(map(len, self._node.databases))
        mode = self._node.config.repl_diskless_load
        self._session = Session(self._introduction(), as_it_is=has_data and mode in ("disabled", "on-empty-db"))
        send(self._session.begin())

    def _introduction(self) -> Introduction:
        config = self._node.config
        replication = self._replication
        return Introduction(
            port=config.replica_announce_port or config.port,
            ip=config.replica_announce_ip,
            user=config.masteruser,
            password=config.masterauth,
            version=REPLICA_VERSION,
            replid=replication.id if self._has_history else "?",
            offset=replication.offset + 1 if self._has_history else -1,
            failover=replication.failover.in_progress,
        )

    def received(self, data: bytes) -> bool:
        """Bytes from the primary. True when there is more to do: stop reading, call `apply` in the next turn."""
        if self._session is None:
            return False
        self._last_io_ms = self._node.io.steady_ms()
        self._node.stats.net_repl_input_bytes += len(data)
        self._unread.append(data)
        return self.apply()

    def apply(self) -> bool:
        """One slice of what was received: a part of the payload, or commands of the stream. True when there is more."""
        if self._apply_commands():
            return True
        if self._is_loading():
            return True  # That takes its turns itself; what follows has to wait.
        if not self._unread or self._session is None:
            return False
        data = self._unread[0]
        if self._session.step is Step.STREAM or len(data) <= BYTES_PER_SLICE:
            del self._unread[0]
        else:
            data, self._unread[0] = data[:BYTES_PER_SLICE], data[BYTES_PER_SLICE:]
        for event in self._session.feed(data):
            self._handle(event)
            if self._session is None:
                return False
        return self._apply_commands() or bool(self._unread) or self._is_loading()

    def _is_loading(self) -> bool:
        return self._arrival is not None and self._arrival.loading

    def lost(self, reason: str = "") -> None:
        """The connection is down, or could not be made."""
        if self._stopped:
            return
        if self._session is not None and reason:
            log.log(NOTICE, "Connection with master lost: %s", reason)
        if self.client is not None:
            self.client.send = _nowhere
            self._send = None
            while self.apply():
                continue  # What has reached us is not lost with the connection.
        if self.connected:
            self._down_since_ms = self._node.io.steady_ms()
            self.retry_ms = _RETRY_FIRST_MS
        else:
            self.retry_ms = min(self.retry_ms * 2, _RETRY_MAX_MS)
        self._forget_connection()
        self.state = "connect"
        self._replication.refresh()

    def stop(self) -> None:
        """Follow no more. A second call does nothing."""
        self._stopped = True
        close = self._close
        self._drop_arrival()
        self._forget_connection()
        if close is not None:
            close()

    def _forget_connection(self) -> None:
        """What was read and not applied is gone: the next PSYNC asks for it again."""
        self._session = None
        self._send = self._close = None
        self._parser = StreamParser()
        self._unread = []
        self._unit = []
        self._unit_commands = []
        self._fresh = []
        if not self._is_loading():
            self._drop_arrival()
        client, self.client = self.client, None
        if client is not None:
            self.database = client.database
            self._node.forget_client(client)

    def _drop_arrival(self) -> None:
        arrival, self._arrival = self._arrival, None
        self._sync = None
        if arrival is not None:
            arrival.drop()

    def _end(self, reason: str) -> None:
        """End the connection ourselves."""
        log.warning("Link to master %s:%d: %s", self.host, self.port, reason)
        if self._close is not None:
            self._close()

    # Events -------------------------------------------------------------------------------------------------------

    def _handle(self, event: replica.Event) -> None:
        match event:
            case replica.Send(data):
                if self._send is not None:
                    self._send(data)
            case replica.Streamed(data):
                self._nudges = 0
                self._parser.feed(data)
            case replica.Loaded(records, read, size):
                self._sync_read, self._sync_size = read, size
                self._load(records)
            case replica.FullResync(replid, offset) if not self._accepts(replid, offset):
                self._end(f"it has another history, and less data: up to {offset}, we up to {self._replication.offset}")
            case replica.Received(data, read, size):
                self._sync_read, self._sync_size = read, size
                if self._arrival is None:
                    self._arrival = Arrival(self._node, self._replication)
                self._arrival.keep(data)
            case replica.FullResync():
                self._replication.failover.answered()
                log.log(NOTICE, "Full resync from master: %s:%d", event.replid, event.offset)
                self.state = "sync"
                self._sync = event
                self._sync_read = self._sync_size = 0
                self._imports = []
                self._fresh = [Database(one.index, one.clustered) for one in self._node.databases]
                self.database = self._node.databases[0]
                if self._node.config.repl_diskless_load == "flush-before-load":
                    self._replication.lose_data()
            case replica.Complete():
                if self._arrival is None:
                    self._take_over()
                else:
                    self._arrival.load(self._arrived)
            case replica.Continue(replid):
                log.log(NOTICE, "Successful partial resynchronization with master.")
                self._replication.failover.answered()
                self._replication.renamed(replid or self._replication.id)
                self._replication.open_backlog()
                self._follow_stream()
            case replica.Failed(reason, refused):
                if refused:
                    self._replication.failover.rejected()
                if not self._stopped:
                    self._end(reason)

    def _accepts(self, replid: str, offset: int) -> bool:
        """Whether to replace our data by the primary's. A part of our own history that it has dropped is no question."""
        replication = self._replication
        return not self._has_history or replid == replication.id or replication.accepts_history(offset)

    def _load(self, records: list[Record]) -> None:
        """Put keys of the payload into the fresh databases."""
        fresh = self._fresh
        for record in records:
            if type(record) is Key:
                if record.db >= len(fresh):
                    self._end(f"the payload has a database {record.db}, we have {len(fresh)}")
                    return
                fresh[record.db].store(record.key, record.value, record.expire_ms)
            elif type(record) is SlotImport:
                self._imports.append(record)
            elif type(record) is Aux and record.name == b"repl-stream-db" and record.value.isdigit():
                number = int(record.value)
                self.database = self._node.databases[number if number < len(fresh) else 0]

    def _take_over(self) -> None:
        """The payload is complete: from here on this is our data."""
        assert self._sync is not None
        node, replication = self._node, self._replication
        replication.adopt(self._sync.replid, self._sync.offset)
        for database, fresh in zip(node.databases, self._fresh, strict=True):
            database.swap(fresh)
            node.io.free_later([*fresh.slots, fresh.expires])
        node.note_field_deadlines()
        node.dirty += sum(map(len, node.databases))
        self._fresh = []
        self._sync = None
        self._has_history = True
        self._nudges = _NUDGES
        log.log(NOTICE, "MASTER <-> REPLICA sync: Finished with success")
        self._follow_stream()
        self._note_imports(self._imports)

    def _arrived(self, error: str, database: int) -> None:
        """What waited in the file is our data now (or, with an error, there is none). The connection may be gone."""
        node, sync = self._node, self._sync
        imports = self._arrival.imports if self._arrival is not None else []
        self._arrival = self._sync = None
        if error or sync is None:
            self._has_history = False
            self._end(f"the payload can not be loaded: {error}")
            return
        self._replication.adopt(sync.replid, sync.offset)
        self._has_history = True
        self.database = node.databases[database if database < len(node.databases) else 0]
        log.log(NOTICE, "MASTER <-> REPLICA sync: Finished with success")
        if self._session is not None:
            self._nudges = _NUDGES
            self._last_io_ms = node.io.steady_ms()
            self._follow_stream()
            self._note_imports(imports)

    def _note_imports(self, imports: list[SlotImport]) -> None:
        """Valkey tells in the payload what it is importing, as it told the replicas it had in the stream."""
        if self.client is not None and self._node.cluster is not None:
            for one in imports:
                self._node.migrations.establish(self.client, one.name, None, one.ranges)

    def _follow_stream(self) -> None:
        node = self._node
        client = node.new_client()
        client.authenticated = True
        client.mark(Unusual.UNAUTHENTICATED, False)
        client.mark(Unusual.FROM_PRIMARY, True)
        client.is_primary = True
        client.database = self.database
        client.address = f"{self.host}:{self.port}"
        client.ip = self.host
        assert self._send is not None and self._close is not None
        client.send = self._send
        client.close = self._close
        self.client = client
        self.state = "connected"
        self._down_since_ms = None
        self.retry_ms = _RETRY_FIRST_MS
        self._replication.refresh()
        self._replication.followed()
        self.acknowledge()

    # The stream ---------------------------------------------------------------------------------------------------

    def _apply_commands(self) -> bool:
        """Apply commands of the stream, up to a slice of them. True when there is more to apply."""
        client = self.client
        if client is None:
            return False
        parser = self._parser
        replication = self._replication
        try:
            for _ in range(COMMANDS_PER_SLICE):
                if (found := parser.next()) is None:
                    return False
                args, raw = found
                if args:
                    self._run(client, args)
                if self.client is not client:
                    return False
                self._unit.append(raw)
                if args:
                    self._unit_commands.append(args)
                if client.transaction is None:
                    replication.forward(raw if len(self._unit) == 1 else b"".join(self._unit), self._unit_commands)
                    self._unit.clear()
                    self._unit_commands.clear()
        except ProtocolError as error:
            self._parser = StreamParser()
            self._unread = []
            self._end(error.text)
            return False
        finally:
            replication.flush()
        return True

    def _run(self, client: Client, args: list[bytes]) -> None:
        """Run one command as our primary's, which gets no reply: it would take one for a request.

        An error means that our data and the primary's may differ.
        """
        node = self._node
        client.last_seen_ms = node.now_ms
        client.commands += 1
        try:
            node.executor.execute(client, args)
        except CommandError as error:
            node.stats.error(error.code)
            node.stats.unexpected_error_replies += 1
            log.critical(
                "This replica is sending an error to its master: '%s' after processing the command '%s'",
                error.text,
                args[0].decode("utf-8", "replace"),
            )
            return
        except Exception:  # a fault of ours must not cost the link: the offset has to stay in step with the stream
            log.exception("Internal error while applying %r of the replication stream", args[0][:64])
            node.context.abandon()

    def acknowledge(self) -> None:
        """Tell the primary how far we are."""
        if self.client is not None and self._send is not None:
            self._send(resp.request([b"REPLCONF", b"ACK", b"%d" % self._replication.offset]))

    def nudge(self) -> None:
        """Ten times a second: acknowledge again while nothing has come since a full sync.

        A primary that sends the `$EOF:` form begins the stream at our first acknowledgement, but Redis does not heed
        one that comes before it has noticed the end of its child, and the next regular one is a second away.
        """
        if self._nudges and self.connected:
            self._nudges -= 1
            self.acknowledge()

    # Time, telling ------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Once a second: acknowledge, and end a link that is silent for too long."""
        self.acknowledge()
        silent_ms = now_ms - self._last_io_ms
        if self._session is not None and silent_ms > self._node.config.repl_timeout * 1000:
            step = self._session.step
            what = "MASTER timeout: no data nor PING received..." if step is Step.STREAM else f"Timeout ({step.value})"
            self._end(what)

    def info(self, now_ms: int) -> dict[str, str | int]:
        """The fields of INFO replication that only a replica has, in Redis 7.2's order."""
        config = self._node.config
        syncing = self.state == "sync"
        offset = self._replication.offset
        fields: dict[str, str | int] = {
            "master_host": self.host,
            "master_port": self.port,
            "master_link_status": "up" if self.connected else "down",
            "master_last_io_seconds_ago": max(0, now_ms - self._last_io_ms) // 1000 if self.connected else -1,
            "master_sync_in_progress": int(syncing),
            "slave_read_repl_offset": offset,
            "slave_repl_offset": offset,
        }
        if syncing:
            left = self._sync_size - self._sync_read if self._sync_size else -1
            percent = 100 * self._sync_read / self._sync_size if self._sync_size else 0
            fields |= {
                "master_sync_total_bytes": self._sync_size,
                "master_sync_read_bytes": self._sync_read,
                "master_sync_left_bytes": left,
                "master_sync_perc": f"{percent:.2f}",
                "master_sync_last_io_seconds_ago": max(0, now_ms - self._last_io_ms) // 1000,
            }
        if not self.connected:
            since_ms = self._down_since_ms
            fields["master_link_down_since_seconds"] = -1 if since_ms is None else max(0, now_ms - since_ms) // 1000
        fields |= {
            "slave_priority": config.replica_priority,
            "slave_read_only": int(config.replica_read_only),
            "replica_announced": int(config.replica_announced),
        }
        return fields

    def role(self) -> list[resp.Reply]:
        """The reply to ROLE."""
        offset = self._replication.offset if self.client is not None else -1
        return [b"slave", self.host.encode(), self.port, self.state.encode(), offset]


def _nowhere(data: bytes) -> None:
    return None
