"""Checks of single values that go beyond their type: file names, host names, addresses, title templates."""

from __future__ import annotations

import ipaddress
import string

from cluster.networks import parse_networks
from gossip.codec import is_ip

#: Words of a title template, and whether they stand for something in any process.
_TITLE_WORDS = {
    "title": False,
    "listen-addr": True,
    "server-mode": False,
    "port": True,
    "tls-port": True,
    "unixsocket": False,
    "config-file": False,
}
_HOST_LETTERS = frozenset(string.ascii_letters + string.digits + "-.")
_NOT_IN_NODE_NAMES = frozenset("!\"#$%&'()*+,;<=>?@[\\]^{|}~\x7f")
_MAX_HOST_NAME = 255
_MAX_IP = 45
_NO_RDMA = "No RDMA building support."


def dump_file(name: str) -> str | None:
    """``dbfilename``: no path."""
    return "dbfilename can't be a path, just a filename" if "/" in name else None


def append_file(name: str) -> str | None:
    """``appendfilename``: a name, no path."""
    if not name:
        return "appendfilename can't be empty"
    return "appendfilename can't be a path, just a filename" if "/" in name else None


def append_directory(name: str) -> str | None:
    """``appenddirname``: a name, no path."""
    if not name:
        return "appenddirname can't be empty"
    return "appenddirname can't be a path, just a dirname" if "/" in name else None


def announced_ip(text: str) -> str | None:
    """``cluster-announce-ip``: what the bus and nodes.conf can hold, which is an address or a short name."""
    if len(text) > _MAX_IP:
        return "cluster-announce-ip is too long"
    return None if is_ip(text) else "cluster-announce-ip contains invalid character"


def host_name(name: str) -> str | None:
    """``cluster-announce-hostname``: letters, digits, hyphens and dots, below 256 characters."""
    if len(name) > _MAX_HOST_NAME:
        return "Hostnames must be less than 256 characters"
    if not set(name) <= _HOST_LETTERS:
        return "Hostnames may only contain alphanumeric characters, hyphens or dots"
    return None


def node_name(name: str) -> str | None:
    """``cluster-announce-human-nodename``: no spaces, control characters or those that nodes.conf uses itself."""
    if any(letter <= " " or letter in _NOT_IN_NODE_NAMES for letter in name):
        return "Announced human node name contained invalid character"
    return None


def ipv4(text: str) -> str | None:
    """An IPv4 address or nothing."""
    try:
        ipaddress.IPv4Address(text or "0.0.0.0")
    except ValueError:
        return "Invalid IPv4 address"
    return None


def networks(text: str) -> str | None:
    """``cluster-internal-networks``: addresses and networks, some with ``!`` before them, or nothing."""
    try:
        parse_networks(text)
    except ValueError as error:
        return str(error)
    return None


def ipv6(text: str) -> str | None:
    """An IPv6 address or nothing."""
    try:
        ipaddress.IPv6Address(text or "::")
    except ValueError:
        return "Invalid IPv6 address"
    return None


def title_template(text: str) -> str | None:
    """``proc-title-template``: braces hold known words only, and the title is not empty."""
    reason = "template format is invalid or contains unknown variables"
    shown, rest = False, text
    while rest:
        before, opened, rest = rest.partition("{")
        shown = shown or bool(before.strip())
        if opened and rest.startswith("{"):
            shown, rest = True, rest[1:]
        elif opened:
            word, closed, rest = rest.partition("}")
            if not closed or word not in _TITLE_WORDS:
                return reason
            shown = shown or _TITLE_WORDS[word]
    return None if shown else reason


def no_defragmentation(wanted: bool) -> str | None:
    """``activedefrag``: Python's allocator cannot move values; refused in Redis's words."""
    if not wanted:
        return None
    return (
        "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like "
        "the one shipped by default with the Redis source distribution"
    )


def shutdown_words(value: str) -> str | None:
    """``shutdown-on-*``: save and nosave exclude each other."""
    words = value.split()
    if "save" in words and "nosave" in words:
        return "shutdown options SAVE and NOSAVE can't be used simultaneously"
    return None


def no_rdma(_text: str) -> str:
    """``rdma-bind``: there is no RDMA here, as in a Valkey built without it."""
    return _NO_RDMA


def no_rdma_port(port: int) -> str | None:
    """``rdma-port``: none but 0, for the same reason."""
    return _NO_RDMA if port else None


def c_locale(text: str) -> str | None:
    """``locale-collate``: only the C locale and the environment's; strings compare by bytes."""
    return None if text in ("", "C", "POSIX", "C.UTF-8", "C.utf8") else "Invalid locale name"
