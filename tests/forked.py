"""The program as processes that are forked from one that has imported it: a start then costs a tenth.

Two such parents take turns, so that sets are not walked in the same order in all nodes of a test, as with processes of their
own. What the commands do when a shell starts them is tested with the commands: `tests/clients/test_node_process.py`, and
`Up(interpreter=True)`. I/O.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_POLL_S = 0.002


class _Parent:
    """A process that forks when it is told to. It ends, and its children with it, when its input ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.forked"]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._turn = threading.Lock()
        atexit.register(self._end)

    def ask(self, **request: Any) -> Any:
        with self._turn:
            assert self._process.stdin is not None and self._process.stdout is not None
            print(json.dumps(request), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())

    def _end(self) -> None:
        self._process.communicate()


class Forked:
    """A process that runs or has ended: what tests need of `subprocess.Popen`."""

    def __init__(
        self, parent: _Parent, command: Sequence[str], output: Path, directory: Path, environment: Mapping[str, str]
    ) -> None:
        self._parent = parent
        request = {"command": list(command), "output": str(output), "directory": str(directory)}
        self.pid: int = parent.ask(**request, environment=dict(environment))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, -N for signal N; None while it runs."""
        if self.returncode is None:
            self.returncode = self._parent.ask(ended=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when it has ended. `subprocess.TimeoutExpired` after that many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


_parents: list[_Parent] = []
_turns = itertools.cycle(range(2))
_starting = threading.Lock()


def fork(command: Sequence[str], output: Path, directory: Path = _ROOT, **environment: str) -> Forked:
    """Start `hashslot` with this command line, `["node", "--port", "7000"]`, as the leader of a process group.

    output: the file that takes what it prints. directory: where it starts. environment: variables that it has besides those
    of the tests.
    """
    with _starting:
        if not _parents:
            _parents.extend((_Parent(), _Parent()))
        parent = _parents[next(_turns)]
    return Forked(parent, command, output, directory, environment)


# In the parent --------------------------------------------------------------------------------------------------------


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then lets go of us
    import node.cli
    import node.process  # what the command imports late

    running: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif answer := os.fork():
            running.add(answer)
            with contextlib.suppress(OSError):  # the child has done so, or ended
                os.setpgid(answer, answer)
        else:
            _become(request, node.cli.main)
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any], main: Any) -> None:
    """Be the command from here on. Does not return."""
    status = 1
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for source, stream in ((nowhere, 0), (output, 1), (output, 2)):
            os.dup2(source, stream)
        os.close(nowhere)
        os.close(output)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        sys.argv = ["hashslot", *request["command"]]
        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
