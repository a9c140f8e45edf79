"""One worker process as napari sees it: started, talked to, and watched until it ends.

Three threads serve a process. One writes, so that the GUI never waits for a full pipe;
one reads what the process says; one keeps the last lines that it printed. Until the
process has shown that it has the key, each that connects is heard in a thread of its
own: who says nothing, or the wrong thing, holds up nobody.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import secrets
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import (
    Client,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from napari_unet.core.messages import Failed, Message, Shutdown, Status
from napari_unet.session.worker.out_of_memory import processes_ended_for_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from napari_unet.core.jobs import WorkerKind

_LINES = 40
# Threads of OpenMP that wait by spinning would take the cores from napari.
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
# Used share of the memory at which a killed process was probably killed for that.
_NEARLY_FULL = 0.8
# What shells add to the number of a signal.
_SIGNALLED = 128
_FAMILY = "AF_PIPE" if sys.platform == "win32" else "AF_UNIX"


@dataclass(frozen=True, slots=True)
class End:
    """How a worker process ended.

    Attributes
    ----------
    code : int
        Its exit status; on Linux and macOS minus the signal that killed it, and 128
        more than one that it took as a request to end.
    connected : bool
        Whether it ever got ready.
    out_of_memory : bool
        Whether it was most probably ended because memory ran out.
    last_line : str
        The last that it printed.
    """

    code: int
    connected: bool
    out_of_memory: bool
    last_line: str

    @property
    def signal(self) -> int:
        """The signal that ended it, 0 if it ended by itself."""
        return -self.code if self.code < 0 else max(self.code - _SIGNALLED, 0)


class WorkerProcess:
    """A worker process and the connection to it.

    Parameters
    ----------
    kind : {"network", "cpu"}
    environment : mapping of str to str
        Added to that of this process.
    received : callable
        Called in a thread with each message.
    ended : callable
        Called in a thread, once, when the process is gone.

    Raises
    ------
    OSError
        If the system starts no process.
    """

    def __init__(
        self,
        kind: WorkerKind,
        environment: Mapping[str, str],
        received: Callable[[WorkerProcess, Message], None],
        ended: Callable[[WorkerProcess, End], None],
    ) -> None:
        self.kind = kind
        self._received = received
        self._ended = ended
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._printed: deque[str] = deque(maxlen=_LINES)
        self._connection: Connection | None = None
        # connected, or over
        self._ready = Event()
        self._admitting = Lock()
        self._strangers: list[Connection] = []
        self._ended_before = processes_ended_for_memory()
        self._used, self._failed_for_memory = 0.0, False
        self._key = secrets.token_bytes(32)
        # the key is asked for in `_admit`: the listener would wait for an answer
        self._listener = Listener(family=_FAMILY)
        self._address = self._listener.address
        try:
            self._process = _start(kind, environment, self._address, self._key)
        except OSError:
            self._listener.close()
            raise
        self._keeper = Thread(target=self._keep_lines, daemon=True)
        self._threads = [
            self._keeper,
            Thread(target=self._write, daemon=True),
            Thread(target=self._wake, daemon=True),
            Thread(target=self._read, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, message: Message) -> None:
        """Send a message, at once or when the process is ready; never waits."""
        # written down here: who sent it may change what it holds
        self._outbox.put(pickle.dumps(message))

    def shut_down(self) -> None:
        """Ask the process to write what is to be kept, and to end."""
        self.send(Shutdown(job=0))

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the process; whether it ended in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(seconds, 0.0))
        return not self.alive

    def kill(self) -> None:
        """End the process at once."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()

    def join(self, seconds: float) -> None:
        """Wait until nothing more is said of a process that has ended."""
        for thread in self._threads:
            thread.join(seconds)

    def _read(self) -> None:
        self._listen()
        connected = self._connection is not None
        if self._connection is not None:
            with suppress(OSError, EOFError):
                while True:
                    self._take(self._connection.recv())
        code = self._wait_for_end()
        self._outbox.put(None)
        self._ready.set()
        self._keeper.join(1.0)
        killed_for_memory = code != 0 and (
            self._failed_for_memory or self._was_killed_for_memory(code)
        )
        last = self._printed[-1] if self._printed else ""
        self._ended(self, End(code, connected, killed_for_memory, last))

    def _listen(self) -> None:
        """Let in who has the key, until the process is there or is over."""
        while not self._ready.is_set():
            try:
                newcomer = self._listener.accept()
            except OSError:
                # who came went away again, or there are too many open files
                self._ready.wait(0.05)
                continue
            with self._admitting:
                self._strangers.append(newcomer)
            Thread(target=self._admit, args=(newcomer,), daemon=True).start()
            # the process that has ended, or has connected, is no longer waited for
            if not self.alive:
                self._ready.set()
        self._listener.close()
        with self._admitting:
            for stranger in self._strangers:
                _hang_up(stranger)

    def _admit(self, newcomer: Connection) -> None:
        """Find out whether somebody is the process: it has the key, and speaks first.

        As `multiprocessing.connection` does it in `accept` and `Client`.
        """
        try:
            deliver_challenge(newcomer, self._key)
            answer_challenge(newcomer, self._key)
            greeting = newcomer.recv()
        except Exception:
            with self._admitting:
                self._strangers.remove(newcomer)
            newcomer.close()
            return
        with self._admitting:
            self._strangers.remove(newcomer)
            first = self._connection is None
            if first:
                self._connection = newcomer
        if first:
            self._take(greeting)
            self._ready.set()
            self._knock()

    def _take(self, message: Any) -> None:
        if isinstance(message, Status):
            self._used = message.used / max(message.total, 1)
        elif isinstance(message, Failed):
            self._failed_for_memory = message.out_of_memory
        self._received(self, message)

    def _wait_for_end(self) -> int:
        """Return the exit status; a process that no longer talks has to go."""
        try:
            return self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def _was_killed_for_memory(self, code: int) -> bool:
        grown = processes_ended_for_memory() > self._ended_before
        return code == -9 and (grown or self._used > _NEARLY_FULL)

    def _wake(self) -> None:
        """End the wait for a connection if the process ends before it connects."""
        while not self._ready.wait(0.2):
            if not self.alive:
                self._ready.set()
                self._knock()
                return

    def _knock(self) -> None:
        """Have the thread that listens look around."""
        with suppress(OSError, EOFError):
            Client(self._address, _FAMILY).close()

    def _write(self) -> None:
        self._ready.wait()
        while (message := self._outbox.get()) is not None:
            if self._connection is not None:
                with suppress(OSError):
                    self._connection.send_bytes(message)
        if self._connection is not None:
            self._connection.close()

    def _keep_lines(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            if text := line.decode(errors="replace").strip():
                self._printed.append(text)
        self._process.stdout.close()


def _hang_up(stranger: Connection) -> None:
    """End the wait for what somebody never says; Windows ends it with this process."""
    if sys.platform != "win32":
        with (
            suppress(OSError),
            socket.fromfd(
                stranger.fileno(), socket.AF_UNIX, socket.SOCK_STREAM
            ) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)


def _start(
    kind: WorkerKind, environment: Mapping[str, str], address: Any, key: bytes
) -> subprocess.Popen[bytes]:
    """Start the process; what is secret goes through its standard input.

    The option -P keeps the folder that napari was started in, and a `random.py` of the
    user in it, out of the process's imports.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "napari_unet.engine.worker", "--kind", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **_PASSIVE, "PYTHONFAULTHANDLER": "1", **environment},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    greeting = {"address": address, "key": key.hex(), "parent": os.getpid()}
    if process.stdin is not None:
        with suppress(OSError), process.stdin:
            process.stdin.write(json.dumps(greeting).encode() + b"\n")
    return process
