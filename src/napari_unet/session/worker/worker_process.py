"""One worker process as napari sees it: started, talked to, and watched until it ends.

Four threads serve a process. One writes, so that the GUI never waits for a full pipe;
one reads what the process sends; one keeps the last lines that it printed; one waits
for its end, and brings that about if it does not start. Until the process has shown
that it has the key, each connection is examined in a thread of its own: one that sends
nothing, or the wrong thing, holds up no other.
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
from multiprocessing.connection import (
    Client,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from napari_unet.core.messages import Failed, Message, Shutdown, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from napari_unet.core.jobs import WorkerKind

_LINES = 40
# Threads of OpenMP that wait by spinning would take the cores from napari.
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
# Used share of the memory at which a killed process was probably killed for that.
_NEARLY_FULL = 0.8
# What shells add to the number of a signal, and the highest of these numbers. Larger
# statuses are those of Windows, such as 0xC0000005 where memory was misused.
_SIGNALLED, _LAST_SIGNAL = 128, 64
# Seconds that a process may take to connect, from a slow drive on a busy machine too.
_STARTING = 120.0
# Seconds between two looks at one that has not connected.
_LOOK = 0.05
# Seconds that a process may take to end, after it has closed its connection or was
# killed: one that waits for a drive may outlive that.
_PARTING = 10.0
_FAMILY = "AF_PIPE" if sys.platform == "win32" else "AF_UNIX"
# Where Linux counts the processes that it ended because memory ran out: of the whole
# machine, and of the container that this process runs in.
_OOM_COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))


@dataclass(frozen=True, slots=True)
class End:
    """How a worker process ended."""

    # its exit status; on Linux and macOS minus the signal that killed it, and 128 more
    # than one that it took as a request to end
    code: int
    connected: bool  # whether it ever got ready
    out_of_memory: bool  # whether it was most probably ended because memory ran out
    last_line: str  # the last that it printed
    # whether it was ended from here because it had not got ready in time
    late: bool = False

    @property
    def sentence(self) -> str:
        """What happened, as far as is known."""
        last = self.last_line.rstrip(".")
        said = f" It said: {last}." if last else ""
        signal = -self.code if self.code < 0 else self.code - _SIGNALLED
        if self.late:
            waited = f"had not started after {_STARTING:.0f} s"
            return f"The worker process {waited} and was ended.{said}"
        if self.out_of_memory:
            return "The worker ran out of memory and was ended by the system."
        if 0 < signal <= _LAST_SIGNAL:
            when = "" if self.connected else " while it started"
            return f"The worker process was ended from outside{when} (signal {signal})."
        how = "ended unexpectedly" if self.connected else "could not be started"
        # as the system itself and the pages on it write them
        status = f"0x{self.code:X}" if self.code > 0xFFFF else str(self.code)
        return f"The worker process {how} (status {status}).{said}"


class WorkerProcess:
    """A worker process and the connection to it.

    `dismissed` is whether it was asked to end.

    OSError if the system starts no process.

    `environment` is added to that of this process. In a thread, `received` is called
    with this and each message, and `ended`, once, with this and its `End`.
    """

    def __init__(
        self,
        kind: WorkerKind,
        environment: Mapping[str, str],
        received: Callable[[WorkerProcess, Message], None],
        ended: Callable[[WorkerProcess, End], None],
    ) -> None:
        self.kind = kind
        self.dismissed = False
        self._received = received
        self._ended = ended
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._printed: deque[str] = deque(maxlen=_LINES)
        self._connection: Connection | None = None
        self._connecting = Lock()
        # connected, or over
        self._ready = Event()
        self._ended_before = processes_ended_for_memory()
        self._used, self._failed_for_memory = 0.0, False
        self._key = secrets.token_bytes(32)
        # the key is asked for in `_admit`: the listener would wait for a reply
        self._listener = Listener(family=_FAMILY)
        self._address = self._listener.address
        try:
            self._process = _start(kind, environment, self._address, self._key)
        except OSError:
            self._listener.close()
            raise
        targets = (self._read, self._keep_lines, self._write, self._watch)
        self._threads = [Thread(target=target, daemon=True) for target in targets]
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
        # pickled here, as the sender may change its content later
        self._outbox.put(pickle.dumps(message))

    def shut_down(self) -> None:
        """Ask the process to save its state and to end."""
        self.dismissed = True
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
        self.wait(_PARTING)

    def join(self, seconds: float) -> None:
        """Wait until the end of the process has been reported."""
        for thread in self._threads:
            thread.join(seconds)

    def _watch(self) -> None:
        """Report the end, once all is here that the process sent and printed."""
        late = self._is_late()
        if late:
            self.kill()
        # one that waits for a drive may not even be killed
        code = -9 if late else self._process.wait()
        self._ready.set()
        self._knock()
        reader, printer, *_ = self._threads
        reader.join()
        printer.join(1.0)
        self._outbox.put(None)
        last = self._printed[-1] if self._printed else ""
        connected = self._connection is not None
        full = not late and self._ran_out_of_memory(code)
        self._ended(self, End(code, connected, full, last, late))

    def _is_late(self) -> bool:
        """Wait until the process is ready or over; whether it takes too long.

        Looks are counted, not seconds: a machine that slept meanwhile is no fault.
        """
        waited = 0.0
        while waited < _STARTING:
            if self._ready.wait(_LOOK) or not self.alive:
                return False
            waited += _LOOK
        with self._connecting:
            late = not self._ready.is_set()
            # connections from now on are refused
            self._ready.set()
        return late

    def _ran_out_of_memory(self, code: int) -> bool:
        counted = processes_ended_for_memory() > self._ended_before
        killed = code == -9 and (counted or self._used > _NEARLY_FULL)
        return code != 0 and (self._failed_for_memory or killed)

    def _read(self) -> None:
        while not self._ready.is_set():
            try:
                newcomer = self._listener.accept()
            except OSError:
                # the other side hung up, or too many files are open
                self._ready.wait(0.05)
                continue
            Thread(target=self._admit, args=(newcomer,), daemon=True).start()
        self._listener.close()
        if self._connection is not None:
            with suppress(OSError, EOFError):
                while True:
                    self._receive(self._connection.recv())
            # a process without a connection is of no use
            if not self.wait(_PARTING):
                self.kill()

    def _admit(self, newcomer: Connection) -> None:
        """Find out whether somebody is the process: it has the key, and speaks first.

        As `multiprocessing.connection` does it in `accept` and `Client`.
        """
        try:
            deliver_challenge(newcomer, self._key)
            answer_challenge(newcomer, self._key)
            greeting = newcomer.recv()
        except Exception:
            newcomer.close()
            return
        with self._connecting:
            if self._ready.is_set():
                newcomer.close()
                return
            self._connection = newcomer
            self._receive(greeting)
            self._ready.set()
        self._knock()

    def _knock(self) -> None:
        """Wake the thread that waits for a connection: there is one, or never will."""
        with suppress(OSError, EOFError):
            Client(self._address, _FAMILY).close()

    def _receive(self, message: Any) -> None:
        if isinstance(message, Status):
            self._used = message.used / max(message.total, 1)
        elif isinstance(message, Failed):
            self._failed_for_memory = message.out_of_memory
        self._received(self, message)

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


def processes_ended_for_memory() -> int:
    """Count the processes that the system has ended because memory ran out.

    Since the machine started; 0 on systems that do not count them. Only a difference
    between two calls says something.
    """
    total = 0
    for counter in _OOM_COUNTERS:
        with suppress(OSError, ValueError):
            for line in counter.read_text(encoding="ascii").splitlines():
                name, _, value = line.partition(" ")
                total += int(value) if name == "oom_kill" else 0
    return total
