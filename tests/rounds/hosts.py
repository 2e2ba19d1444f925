"""Hosts of one machine: a network namespace each, joined by a switch that can be taken apart. Needs root and iproute2.

with Hosts(7) as hosts:
    hosts.popen(0, ["program"])         # runs on host 0, whose address is hosts.ip(0)
    with hosts.entered(6): ...          # sockets that this thread makes here are host 6's
    hosts.split([0])                    # host 0 reaches nobody any more, but for who is split off with it
    hosts.join()
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Self

from tests.closing import Closing

_CLONE_NEWNET = 0x40000000
_TOGETHER, _APART = "together", "apart"
_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """What is missing for namespaces on this machine; "" when nothing is."""
    if shutil.which("ip") is None:
        return "iproute2 is missing: apt-get install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root"
    return ""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _enter(fd: int) -> None:
    """Move the calling thread, and it alone, to the namespace behind a file descriptor."""
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Hosts(Closing):
    """count: how many. Their addresses are 10.77.0.1 and so on, in namespaces that nobody else uses."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._prefix = f"hashslot-{os.getpid()}"
        self._switch = f"{self._prefix}-switch"
        self._made: list[str] = []

    def name(self, host: int) -> str:
        """The host's namespace."""
        return f"{self._prefix}-{host}"

    def ip(self, host: int) -> str:
        """The host's address."""
        return f"10.77.0.{host + 1}"

    def __enter__(self) -> Self:
        try:
            self._make(self._switch)
            for bridge in (_TOGETHER, _APART):
                _ip("-n", self._switch, "link", "add", bridge, "type", "bridge")
                _ip("-n", self._switch, "link", "set", bridge, "up")
            for host in range(self.count):
                self._make(self.name(host))
                port = f"port{host}"
                _ip("link", "add", port, "netns", self._switch, "type", "veth", "peer", "eth0", "netns", self.name(host))
                _ip("-n", self._switch, "link", "set", port, "master", _TOGETHER, "up")
                _ip("-n", self.name(host), "addr", "add", f"{self.ip(host)}/24", "dev", "eth0")
                _ip("-n", self.name(host), "link", "set", "eth0", "up")
        except BaseException:
            self.close()
            raise
        return self

    def _make(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._made.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")

    def close(self) -> None:
        """Remove them."""
        for namespace in self._made:
            with contextlib.suppress(OSError):
                _ip("netns", "del", namespace)

    def popen(self, host: int, command: Sequence[str], output: IO[bytes], cwd: str) -> subprocess.Popen[bytes]:
        """A program on a host. Its pid is the program's own: signals reach it."""
        words = ["ip", "netns", "exec", self.name(host), *command]
        return subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=cwd)

    @contextlib.contextmanager
    def entered(self, host: int) -> Iterator[None]:
        """Let the calling thread be on a host: what it connects goes from there. Threads that it starts are there too."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name(host)}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(back)
            os.close(back)
            os.close(there)

    # Faults -------------------------------------------------------------------------------------------------------

    def split(self, hosts: Iterable[int]) -> None:
        """Put these hosts on a switch of their own. Connections to the others stay open and carry nothing."""
        for host in hosts:
            _ip("-n", self._switch, "link", "set", f"port{host}", "master", _APART)

    def join(self) -> None:
        """Put all hosts on one switch again."""
        for host in range(self.count):
            _ip("-n", self._switch, "link", "set", f"port{host}", "master", _TOGETHER)

    def slow(self, host: int, *, delay_ms: int) -> str:
        """Let everything that a host sends come late. Returns how: netem, or a narrow line where the kernel has none."""
        where = ["-n", self.name(host), "qdisc", "replace", "dev", "eth0", "root"]
        if self._tc(*where, "netem", "delay", f"{delay_ms}ms", f"{delay_ms // 4}ms"):
            return "netem"
        if not self._tc(*where, "tbf", "rate", "2mbit", "burst", "4kb", "latency", f"{delay_ms}ms"):
            raise OSError("tc: neither netem nor tbf is there")
        return "tbf"

    def quick(self, host: int) -> None:
        """Undo `slow`."""
        self._tc("-n", self.name(host), "qdisc", "del", "dev", "eth0", "root")

    @staticmethod
    def _tc(*words: str) -> bool:
        return subprocess.run(["tc", *words], capture_output=True, check=False).returncode == 0


