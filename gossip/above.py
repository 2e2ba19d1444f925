"""What the bus asks of the floor that gives it meaning: gossip carries claims about slots and understands none."""

from __future__ import annotations

from typing import Protocol

from gossip.members import Link, Member
from gossip.messages import Header, Message, Update


class Above(Protocol):
    """The floor above, as the gossip machine calls it while it takes a message apart."""

    def header(self) -> Header:
        """What every message of this node says of it."""

    def voters(self) -> int:
        """How many primaries own slots."""

    def heard_epochs(self, sender: Member, header: Header, now_ms: int) -> None:
        """Any message of a known node came: its epochs and replication offset."""

    def heard_state(self, sender: Member, header: Header, link: Link, now_ms: int) -> None:
        """A ping, pong or meet of a known node came: its role and its claims."""

    def claimed(self, sender: Member, header: Header, link: Link, now_ms: int) -> None:
        """Somebody says in a member's name what it claims. Change nothing, but answer over the link if that is wrong."""

    def alleged(self, sender: Member, update: Update, now_ms: int) -> None:
        """Somebody says in a member's name that another owns slots; that one is being asked. Change nothing."""

    def heard(self, sender: Member, message: Message, link: Link, now_ms: int) -> None:
        """A message that is none of gossip's came from a known node."""

    def address_changed(self, member: Member) -> None:
        """A member is to be found somewhere else now."""

    def removed(self, member: Member) -> None:
        """A member is about to leave the table."""
