"""A job on another computer, as a generator of the events of one here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari_unet.core.event_codec import decode
from napari_unet.core.events import CheckpointWritten, ModelSaved
from napari_unet.core.remote_messages import Ask, End
from napari_unet.io.ssh import RemoteConnection, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.remote_messages import File, Order, RemoteRun

# Seconds that a look for what came may take: others wait in the same thread.
_TICK = 0.02
# Seconds between two looks at what the job is to be told.
_LOOK = 0.2
# Seconds to the next try after a connection was cut; then it is given up.
_TRIES = (1.0, 5.0, 15.0, 30.0, 60.0)
# Seconds that a connection holds after which a cut is the first again.
_STEADY = 60.0
# Of the size of a bundle: itself, checkpoints and what else is written there.
_ROOM = 2


class RemoteError(Exception):
    """The job failed on the other computer; `error` names the class of its error."""

    def __init__(self, end: End) -> None:
        super().__init__(end.sentence)
        self.error = end.error


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job on another computer, and where its files come.

    `output` is the model of a training, and a folder for zips of results, `results_of`,
    of a prediction.
    """

    run: RemoteRun
    output: Path
    preview: Path | None = None  # file for the weights so far; None: no training
    device: str = "auto"

    def results_of(self, image: int) -> Path:
        """Where the results of an image come."""
        return self.output / f"results-{image}.zip"

    def place(self, file: File) -> Path:
        """Return where a file is put; a ValueError says that it was not asked for."""
        if (self.preview is None) != (file.file == "results"):
            raise ValueError(f"a file {file.file} was not asked for")
        if self.preview is None:
            return self.results_of(file.image)
        return self.output if file.file == "model" else self.preview


def remote_events(
    job: RemoteJob,
    bundle: Path | None,
    wanted: Callable[[], Order],
    say: Callable[[str], None] = lambda _: None,
    begun: Callable[[], None] = lambda: None,
) -> Generator[Event | None, None, None]:
    """Train or predict on the remote computer; the events are those of the job there.

    None comes where another job can take its turn. If the generator is closed, the job
    goes on there, unless it is `wanted` to be cancelled; with its name it is found
    again.

    Parameters
    ----------
    bundle : Path, optional
        To begin with; None for a job that is there.
    wanted : callable
        What the job is to do now, asked in a thread of its own.
    say : callable
        Takes a sentence on how it goes.
    begun : callable
        Called once the job is there: from then on it goes on without us.

    Raises
    ------
    ConnectionError, OSError, ValueError
        The remote computer cannot be reached, or is another version; also when it
        cannot be told to cancel.
    RemoteError
        The job failed there.
    """
    yield from _Watch(job, bundle, wanted, say, begun).events()


@dataclass(slots=True, eq=False)
class _Watch:
    """One call of `remote_events`."""

    _job: RemoteJob
    _bundle: Path | None
    _wanted: Callable[[], Order]
    _say: Callable[[str], None]
    _begun: Callable[[], None]
    _is_there: bool = False
    _seen: int = 0
    _left: bool = False
    _tries: Iterator[float] = field(default_factory=lambda: iter(_TRIES))

    def events(self) -> Generator[Event | None, None, None]:
        """Follow the job through all its connections."""
        while True:
            try:
                yield from self._connection()
                return
            except (ConnectionError, RemoteError) as error:
                problem = self._after(error)
            try:
                yield from _waited(self._tries, problem)
            except GeneratorExit:
                self._leave(None)
                raise

    def _connection(self) -> Generator[Event | None, None, None]:
        """Follow the job as long as a connection holds."""
        job, since = self._job, monotonic()
        connection = RemoteConnection(job.run.where, job.place)
        try:
            yield from connection.greet()
            hello = connection.hello
            self._say(
                f"{hello.host}: napari-unet {hello.version}, {hello.device}, "
                f"{hello.free / 1e9:.0f} GB of disk free."
            )
            bundle = None if self._is_there else self._bundle
            yield from _begun(connection, job, bundle, self._seen)
            if not self._is_there:
                self._is_there = True
                self._begun()
            for event in _followed(connection, job, self._wanted):
                if event is not None:
                    self._seen += 1
                    self._tries = iter(_TRIES)
                yield event
        except GeneratorExit:
            self._leave(connection)
            raise
        finally:
            connection.close()
            if monotonic() - since > _STEADY:
                self._tries = iter(_TRIES)

    def _after(self, error: ConnectionError | RemoteError) -> ConnectionError:
        """Say that it goes on after an error, or raise it."""
        if self._left:
            raise error
        if isinstance(error, RemoteError):
            # the connection was cut before all of the bundle was there
            if error.error != "NoJobError" or self._bundle is None or self._seen:
                raise error
            self._is_there = False
            self._say(f"{error} It is sent again.")
            return ConnectionError(str(error))
        if not self._is_there:
            raise error
        self._say(f"{error} The job goes on there; it is looked for again.")
        return error

    def _leave(self, connection: RemoteConnection | None) -> None:
        """Cancel the job, if that is wanted of one that is there."""
        self._left = True
        if self._is_there and self._wanted() == "cancel":
            _cancel(connection, self._job)


def _followed(
    connection: RemoteConnection, job: RemoteJob, wanted: Callable[[], Order]
) -> Generator[Event | None, None, None]:
    """Yield what comes, and pass on what the job is to do."""
    over = Flag()
    Thread(target=_tell, args=(connection, wanted, over), daemon=True).start()
    try:
        yield from _events(connection, job)
    finally:
        over.set()


def _begun(
    connection: RemoteConnection, job: RemoteJob, bundle: Path | None, seen: int
) -> Generator[None, None, None]:
    """Send what there is to send."""
    size = None if bundle is None else bundle.stat().st_size
    if size is not None and _ROOM * size > connection.hello.free:
        raise ValueError(
            f"{parted(job.run.where)[0]} has {connection.hello.free / 1e9:.1f} GB of "
            f"disk free, this takes at least {_ROOM * size / 1e9:.1f} GB there."
        )
    ask = Ask(
        job=job.run.job, size=size, queue=job.run.queue, device=job.device, seen=seen
    )
    connection.send(ask)
    if bundle is not None:
        yield from connection.send_file(bundle)


def _events(
    connection: RemoteConnection, job: RemoteJob
) -> Generator[Event | None, None, None]:
    """Yield what comes, with the files that are here in place of those there."""
    while True:
        record = connection.next(_TICK)
        if record is None:
            yield None
            continue
        if "event" not in record:
            end = End.model_validate(record)
            if end.ended == "failed":
                raise RemoteError(end)
            if job.preview is None and end.ended == "done":
                connection.order("forget")
            return
        event = decode(record)
        if isinstance(event, ModelSaved):
            event = replace(event, path=str(job.output))
        elif isinstance(event, CheckpointWritten) and job.preview is not None:
            event = replace(event, path=job.preview)
        yield event


def _tell(
    connection: RemoteConnection, wanted: Callable[[], Order], over: Flag
) -> None:
    """Pass on what the job is to do, at first and when that changes."""
    before = None  # it may have been told something else before the connection was cut
    while not over.wait(_LOOK):
        now = wanted()
        if now != before:
            connection.order(now)
            before = now


def _cancel(connection: RemoteConnection | None, job: RemoteJob) -> None:
    """End the job, and wait a little for it to have done so.

    A ConnectionError says that it cannot be told.
    """
    if connection is None or not connection.has_answered:
        raise ConnectionError(
            f"{parted(job.run.where)[0]} cannot be reached now, so the job there was "
            "not cancelled."
        )
    connection.order("cancel")
    until = monotonic() + 5
    while monotonic() < until:
        try:
            record = connection.next(0.1)
        except (ConnectionError, ValueError):
            return
        if record is not None and "event" not in record:
            break
    if job.preview is None:
        connection.order("forget")


def _waited(tries: Any, error: ConnectionError) -> Any:
    """Wait until the next try; raise if there have been enough."""
    seconds = next(tries, None)
    if seconds is None:
        raise error
    until = monotonic() + seconds
    while monotonic() < until:
        Flag().wait(_TICK)
        yield None
