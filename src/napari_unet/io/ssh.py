"""napari-unet on another computer, reached by the user's ssh.

Its configuration, agent and jump hosts are used. No password passes through this
program: where ssh would ask for one, it fails instead.
"""

from __future__ import annotations

import queue
import re
import shlex
import subprocess
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from napari_unet import __version__
from napari_unet.core.event_codec import from_line, to_line
from napari_unet.core.remote_messages import Command, File, Hello
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from napari_unet.core.remote_messages import Order
    from napari_unet.core.settings import Settings

_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15")
# What shells there may print before it is our turn, in lines, and how long all may take
# until then, in seconds: it loads torch first.
_GREETING, _GREETING_S = 200, 120.0
_TICK = 0.02  # seconds between two checks whether it is our turn
# Bytes of a line and of a file, and copied at once.
_LONGEST, _LARGEST, _PORTION = 2**26, 2**36, 2**20
# What ssh and shells return.
_NO_CONNECTION, _NO_PROGRAM = 255, 127
_WHERE = re.compile(r"(?P<host>[^-\s:][^\s:]*)(?::(?P<program>\S.*))?")


class RemoteConnection:
    """A connection to another computer, established once `greet` has ended.

    Parameters
    ----------
    where : str
        As for ssh, such as me@host; with `:/path/to/napari-unet` behind it where the
        remote computer does not find the program by itself.
    place : callable
        Takes the announcement of a file, and returns its path here; a ValueError says
        that it was not requested.

    Raises
    ------
    ValueError
        It is not a host.
    ConnectionError
        There is no ssh, in a sentence.
    """

    def __init__(self, where: str, place: Callable[[File], Path]) -> None:
        self.where, self._place = where, place
        host, program = parted(where)
        command = ["ssh", *_OPTIONS, host, f"{_quoted(program)} serve"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            why = error.strerror or error
            raise ConnectionError(f"ssh cannot be started: {why}.") from error
        self._host, self._writing = host, Lock()
        self._said: deque[str] = deque(maxlen=20)
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._hello: Hello | None = None
        self._listener = Thread(target=self._keep_lines, daemon=True)
        self._reader = Thread(target=self._read, daemon=True)
        self._listener.start()
        self._reader.start()

    def greet(self) -> Iterator[None]:
        """Wait until the remote computer has presented itself, with None meanwhile.

        Raises
        ------
        ValueError
            Another version of the program is there.
        ConnectionError
            It cannot be reached, or does not answer, in a sentence.
        """
        until = monotonic() + _GREETING_S
        while (found := self._next(_TICK)) is None:
            if monotonic() > until:
                raise ConnectionError(
                    f"{self._host}: napari-unet does not answer there within "
                    f"{_GREETING_S:.0f} s; see whether ssh {self._host} works in a "
                    "terminal without asking for anything."
                )
            yield
        if found.version != __version__:
            raise ValueError(
                f"{self._host} has napari-unet {found.version}, here it is "
                f"{__version__}: install the same version on both."
            )
        self._hello = found

    @property
    def has_answered(self) -> bool:
        """Whether the remote computer has presented itself."""
        return self._hello is not None

    @property
    def hello(self) -> Hello:
        """How the remote computer presented itself; a RuntimeError before that."""
        if self._hello is None:
            raise RuntimeError(
                "the remote computer has not presented itself: greet it first."
            )
        return self._hello

    def send(self, record: Settings) -> None:
        """Send a message; a ConnectionError says that the connection has ended."""
        self._write(to_line(record.model_dump()))

    def send_file(self, path: Path) -> Iterator[None]:
        """Send the content of a file; yield None after each portion."""
        with path.open("rb") as file:
            while portion := file.read(_PORTION):
                self._write(portion)
                yield

    def order(self, order: Order | Literal["forget"]) -> None:
        """Send an order to the job; a lost connection is noticed elsewhere."""
        with suppress(ConnectionError):
            self.send(Command(order=order))

    def next(self, seconds: float) -> dict[str, Any] | None:
        """Return the next record, None if there is none in time.

        Files have been received by then. A ConnectionError says that the connection has
        ended, a ValueError that the answer is not one of napari-unet.
        """
        record: dict[str, Any] | None = self._next(seconds)
        return record

    def _next(self, seconds: float) -> Any:
        try:
            found = self._arrived.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(found, Exception):
            self._arrived.put(found)
            raise found
        return found

    def close(self) -> None:
        """Close the connection; what runs on the remote computer continues."""
        if self._hello is None:
            self._process.kill()  # nothing waits there
        with suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._listener.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    @property
    def _out(self) -> BinaryIO:
        return self._process.stdout  # type: ignore[return-value]

    def _write(self, content: bytes) -> None:
        stream = self._process.stdin
        try:
            with self._writing:
                if stream is None or stream.closed:
                    raise BrokenPipeError
                stream.write(content)
                stream.flush()
        except (OSError, ValueError) as error:
            raise self._ended() from error

    def _greeted(self) -> Hello:
        for _ in range(_GREETING):
            line = self._out.readline(_LONGEST)
            if not line:
                raise EOFError
            # the remote computer's shell prints a greeting, too
            with suppress(ValueError):
                return Hello.model_validate(from_line(line))
        raise ConnectionError(f"{self._host}: napari-unet does not answer there.")

    def _read(self) -> None:
        try:
            self._arrived.put(self._greeted())
            while line := self._out.readline(_LONGEST):
                record = from_line(line)
                if not isinstance(record, dict):
                    raise ValueError("it is no record")
                if "file" in record:
                    self._take(File.model_validate(record))
                else:
                    self._arrived.put(record)
            self._arrived.put(self._ended())
        except EOFError:
            self._arrived.put(self._ended())
        except ValueError as error:
            told = ValueError(f"{self._host}: what came is damaged ({error}).")
            self._arrived.put(told)
        except OSError as error:
            self._arrived.put(error)  # also if a disk here is full

    def _take(self, file: File) -> None:
        if file.size > _LARGEST:
            raise ValueError(f"a file of {file.size} bytes")
        path = self._place(file)
        with atomic(path) as temporary:
            receive_file(self._out, temporary, file.size)

    def _keep_lines(self) -> None:
        if self._process.stderr is not None:
            for line in self._process.stderr:
                if text := line.decode(errors="replace").strip():
                    self._said.append(text)

    def _ended(self) -> ConnectionError:
        """Say why the connection has ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._listener.join(1)
        said = self._said[-1].rstrip(".") if self._said else ""
        told = f" ({said})" if said else ""
        if self._process.returncode == _NO_PROGRAM:
            return ConnectionError(
                f"{self._host} does not find napari-unet{told}: install it there, or "
                f"say where it is, as in {self._host}:/path/to/napari-unet."
            )
        if self._process.returncode == _NO_CONNECTION:
            return ConnectionError(
                f"{self._host} cannot be reached by ssh{told}: see whether ssh "
                f"{self._host} works in a terminal without asking for a password."
            )
        return ConnectionError(f"the connection to {self._host} has ended{told}.")


def receive_file(source: BinaryIO, path: Path, size: int) -> None:
    """Write so many bytes of a stream into a file; EOFError if it ends before."""
    with path.open("wb") as file:
        while size:
            portion = source.read(min(size, _PORTION))
            if not portion:
                raise EOFError("the connection ended before a file was here")
            file.write(portion)
            size -= len(portion)


def _quoted(program: str) -> str:
    """Return a path for the remote computer's shell, which is to know what ~ is."""
    home = "~/" if program.startswith("~/") else ""
    return home + shlex.quote(program.removeprefix(home))


def parted(where: str) -> tuple[str, str]:
    """Split what people write into host and program; ValueError if it is not one."""
    found = _WHERE.fullmatch(where.strip())
    if found is None:
        raise ValueError(
            f"a host is written as for ssh, such as me@host, found {where!r}; with "
            ":/path/to/napari-unet behind it where that is not found there."
        )
    return found["host"], found["program"] or "napari-unet"
