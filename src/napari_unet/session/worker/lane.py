"""One worker process as napari sees it: started, talked to, and watched until it ends.

Three threads serve a process. One writes, so that the GUI never waits for a full pipe;
one reads what the process says; one keeps the last lines that it printed.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import secrets
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from napari_unet.core.messages import Failed, Message, Shutdown, Status
from napari_unet.session.worker.out_of_memory import processes_ended_for_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from napari_unet.core.jobs import Lane

_LINES = 40
# Threads of OpenMP that wait by spinning would take the cores from napari.
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
# Used share of the memory at which a killed process was probably killed for that.
_NEARLY_FULL = 0.8
_FAMILY = "AF_PIPE" if sys.platform == "win32" else "AF_UNIX"


@dataclass(frozen=True, slots=True)
class End:
    """How a worker process ended.

    Attributes
    ----------
    code : int
        Its exit status; on Linux and macOS minus the signal that killed it.
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


class LaneProcess:
    """A worker process and the connection to it.

    Parameters
    ----------
    lane : {"network", "cpu"}
    environment : mapping of str to str
        Added to that of this process.
    received : callable
        Called in a thread with each message.
    ended : callable
        Called in a thread, once, when the process is gone.
    """

    def __init__(
        self,
        lane: Lane,
        environment: Mapping[str, str],
        received: Callable[[LaneProcess, Message], None],
        ended: Callable[[LaneProcess, End], None],
    ) -> None:
        self.lane = lane
        self._received = received
        self._ended = ended
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._printed: deque[str] = deque(maxlen=_LINES)
        self._connection: Connection | None = None
        self._ready = Event()
        self._ended_before = processes_ended_for_memory()
        self._used, self._failed_for_memory = 0.0, False
        key = secrets.token_bytes(32)
        self._listener = Listener(family=_FAMILY, authkey=key)
        self._process = _start(lane, environment, self._listener.address, key)
        self._keeper = Thread(target=self._keep_lines, daemon=True)
        self._threads = [
            self._keeper,
            Thread(target=self._write, daemon=True),
            Thread(target=self._wake, args=(key,), daemon=True),
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
        with suppress(OSError, EOFError):
            self._connection = self._listener.accept()
        # the wake-up call of a process that ended before it was ready is no connection
        connected = self._connection is not None and self._ready_to_talk()
        if connected and self._connection is not None:
            self._ready.set()
            with suppress(OSError, EOFError):
                while True:
                    self._take(self._connection.recv())
        code = self._wait_for_end()
        self._outbox.put(None)
        self._ready.set()
        self._listener.close()
        self._keeper.join(1.0)
        killed_for_memory = code != 0 and (
            self._failed_for_memory or self._was_killed_for_memory(code)
        )
        last = self._printed[-1] if self._printed else ""
        self._ended(self, End(code, connected, killed_for_memory, last))

    def _ready_to_talk(self) -> bool:
        """Whether whoever connected is the process, which says something at once."""
        with suppress(OSError, EOFError):
            if self._connection is not None:
                self._take(self._connection.recv())
                return True
        return False

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

    def _wake(self, key: bytes) -> None:
        """End the wait for a connection if the process ends before it connects."""
        while not self._ready.wait(0.2):
            if not self.alive:
                with suppress(OSError, EOFError):
                    Client(self._listener.address, _FAMILY, key).close()
                return

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


def _start(
    lane: Lane, environment: Mapping[str, str], address: Any, key: bytes
) -> subprocess.Popen[bytes]:
    """Start the process; what is secret goes through its standard input.

    The option -P keeps the folder that napari was started in, and a `random.py` of the
    user in it, out of the process's imports.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "napari_unet.engine.worker", "--lane", lane],
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
