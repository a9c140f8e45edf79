"""A job on another computer, as a generator of the events of one here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari_unet.core.event_codec import decode
from napari_unet.core.events import CheckpointWritten, ModelSaved
from napari_unet.core.far_messages import Ask, End
from napari_unet.io.ssh import FarSide, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.far_messages import File, Order

# Seconds that a look for what came may take: others wait in the same thread.
_TICK = 0.02
# Seconds between two looks at what the job is to be told.
_LOOK = 0.2
# Seconds to the next try after a connection was cut; then it is given up.
_TRIES = (1.0, 5.0, 15.0, 30.0, 60.0)
# Of the size of a bundle: itself, checkpoints and what else is written there.
_ROOM = 2


class FarError(Exception):
    """The job failed at the far side; `error` is the class of the error there."""

    def __init__(self, end: End) -> None:
        super().__init__(end.sentence)
        self.error = end.error


@dataclass(frozen=True, slots=True)
class Far:
    """Where a job goes on, and what comes back from there.

    `where` is as of `FarSide`; `queue` that of the far end, if it has one; `job` a name
    that no other has; `output` is the model of a training, and a folder for zips of
    results, `results_of`, of a prediction.
    """

    where: str
    job: str
    output: Path
    preview: Path | None = None  # file for the weights so far; None: no training
    queue: str = ""
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


def far_events(
    far: Far,
    bundle: Path | None,
    wanted: Callable[[], Order],
    say: Callable[[str], None] = lambda _: None,
) -> Generator[Event | None, None, None]:
    """Train or predict at the far side; the events are those of the job there.

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

    Raises
    ------
    ConnectionError, OSError, ValueError
        The far side cannot be reached, or is another version.
    FarError
        The job failed there.
    """
    seen, tries = 0, iter(_TRIES)
    while True:
        try:
            side = FarSide(far.where, far.place)
        except ConnectionError:
            if not seen:
                raise
            yield from _waited(tries)
            continue
        try:
            say(_presented(side))
            yield from _begun(side, far, bundle if not seen else None, seen)
            told = Flag()
            Thread(target=_tell, args=(side, wanted, told), daemon=True).start()
            try:
                for event in _events(side, far):
                    seen += event is not None
                    if event is not None:
                        tries = iter(_TRIES)
                    yield event
                return
            except GeneratorExit:
                if wanted() == "cancel":
                    _cancel(side, far)
                raise
            finally:
                told.set()
        except ConnectionError as error:
            if not seen:
                raise
            say(f"{error} The job goes on there; it is looked for again.")
            side.close()
            yield from _waited(tries, error)
        finally:
            side.close()


def _presented(side: FarSide) -> str:
    hello = side.hello
    return (
        f"{hello.host}: napari-unet {hello.version}, {hello.device}, "
        f"{hello.free / 1e9:.0f} GB of disk free."
    )


def _begun(
    side: FarSide, far: Far, bundle: Path | None, seen: int
) -> Generator[None, None, None]:
    """Send what there is to send."""
    size = None if bundle is None else bundle.stat().st_size
    if size is not None and _ROOM * size > side.hello.free:
        raise ValueError(
            f"{parted(far.where)[0]} has {side.hello.free / 1e9:.1f} GB of disk free, "
            f"this takes at least {_ROOM * size / 1e9:.1f} GB there."
        )
    ask = Ask(job=far.job, size=size, queue=far.queue, device=far.device, seen=seen)
    side.send(ask)
    if bundle is not None:
        yield from side.send_file(bundle)


def _events(side: FarSide, far: Far) -> Generator[Event | None, None, None]:
    """Yield what comes, with the files that are here in place of those there."""
    while True:
        record = side.next(_TICK)
        if record is None:
            yield None
            continue
        if "event" not in record:
            end = End.model_validate(record)
            if end.ended == "failed":
                raise FarError(end)
            if far.preview is None and end.ended == "done":
                side.order("forget")
            return
        event = decode(record)
        if isinstance(event, ModelSaved):
            event = replace(event, path=str(far.output))
        elif isinstance(event, CheckpointWritten) and far.preview is not None:
            event = replace(event, path=far.preview)
        yield event


def _tell(side: FarSide, wanted: Callable[[], Order], over: Flag) -> None:
    """Pass on what the job is to do, when that changes."""
    before: Any = "resume"
    while not over.wait(_LOOK):
        now = wanted()
        if now != before:
            side.order(now)
            before = now


def _cancel(side: FarSide, far: Far) -> None:
    """End the job, and wait a little for it to have done so."""
    side.order("cancel")
    until = monotonic() + 5
    while monotonic() < until:
        try:
            record = side.next(0.1)
        except (ConnectionError, ValueError):
            return
        if record is not None and "event" not in record:
            break
    if far.preview is None:
        side.order("forget")


def _waited(tries: Any, error: ConnectionError | None = None) -> Any:
    """Wait until the next try; raise if there have been enough."""
    seconds = next(tries, None)
    if seconds is None:
        raise error or ConnectionError("the connection does not come back.")
    until = monotonic() + seconds
    while monotonic() < until:
        Flag().wait(_TICK)
        yield None
