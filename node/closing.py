"""The end of a node in order: SHUTDOWN, and the signals that mean the same.

As in Redis: replicas get up to `shutdown-timeout` seconds to catch up while writes wait, then the data is saved if there
are save points (or if asked to), and only then the process ends. From the moment of that save on no write is accepted,
so nothing that was acknowledged is missing in the file.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.client import Unusual
from node.errors import CommandError
from node.gate import Deferred
from node.numbers import LLONG_MAX
from node.resp import SILENCE, Reply

if TYPE_CHECKING:
    from collections.abc import Collection

    from node.state import Node

log = logging.getLogger("hashslot")

NOT_SHUT_DOWN = "ERR Errors trying to SHUTDOWN. Check logs."


class Closing:
    """Whether and how a node is about to end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.ended = False
        """The process is about to end: nothing changes any more."""
        self._waiting: list[Deferred] = []
        self._words: frozenset[str] = frozenset()
        self._offset = 0
        self._deadline_ms = 0

    @property
    def waits(self) -> bool:
        """Whether the node is to end as soon as its replicas have caught up."""
        return self._deadline_ms > 0

    def ask(self, words: Collection[str]) -> Reply:
        """End the node. words: of "save", "nosave", "now", "force". What to reply: nothing when all goes well.

        CommandError when the data can not be saved and it was not said that the node shall end all the same.
        """
        node = self._node
        if self.ended:
            return SILENCE
        if not self.waits:
            self._words = frozenset(words)
            node.replication.flush()
            self._offset = node.replication.offset
        if "now" in words or self._replicas_are_ready():
            return self._finish()
        if not self.waits:
            late = sum(reached < self._offset for reached in node.gate.acknowledged.values())
            log.warning("%d replicas are behind: waiting for them before shutting down.", late)
            wait_ms = node.config.shutdown_timeout * 1000
            self._deadline_ms = node.io.steady_ms() + wait_ms
            node.pause_clients(node.now_ms + wait_ms, only_writes=True)
            node.replication.request_acks()
        deferred = Deferred(pauses=True)
        self._waiting.append(deferred)
        return deferred

    def abort(self) -> None:
        """SHUTDOWN ABORT. CommandError when nothing is to be aborted."""
        if not self.waits:
            raise CommandError("ERR No shutdown in progress.")
        self._give_up()

    def tick(self, now_ms: int) -> None:
        """Ten times a second: end when replicas have caught up, or their time is over."""
        if self.waits and not self.ended and (now_ms >= self._deadline_ms or self._replicas_are_ready()):
            try:
                self._finish()
            except CommandError as error:
                log.warning("%s", error.text)

    def restart(self) -> None:
        """End and start again (DEBUG RESTART), with the data if there are save points."""
        self._words = frozenset(("force",))
        self._finish(restart=True)

    def _replicas_are_ready(self) -> bool:
        return all(reached >= self._offset for reached in self._node.gate.acknowledged.values())

    def _finish(self, restart: bool = False) -> Reply:
        """Save, where that is wanted, and end."""
        node, words = self._node, self._words
        saving = node.saving
        loading = bool(node.unusual & Unusual.LOADING)
        if saving.allowed and not loading and ("save" in words or (saving.wanted and "nosave" not in words)):
            log.warning("Saving the final RDB snapshot before exiting.")
            try:
                saving.save_now()
            except (OSError, TypeError) as error:
                log.warning("Error trying to save the DB, can't exit: %s", error)
                if "force" not in words:
                    self._give_up()
                    raise CommandError(NOT_SHUT_DOWN) from error
        else:
            saving.stop()
        self.ended = True
        node.pause_clients(LLONG_MAX, only_writes=True)
        node.io.shut_down(restart=restart)
        for deferred in self._waiting:
            deferred.resolve(SILENCE)
        return SILENCE

    def _give_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._deadline_ms:
            self._deadline_ms = 0
            self._node.unpause_clients()
        for deferred in waiting:
            deferred.resolve(CommandError(NOT_SHUT_DOWN))
