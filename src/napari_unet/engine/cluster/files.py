"""Images that fit into memory, each predicted by one worker of a cluster."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from time import sleep
from typing import TYPE_CHECKING, Any

from distributed import KilledWorker

from napari_unet.core.events import FileBegun, FilePredicted, FileWaits, Waits
from napari_unet.engine.cluster.in_flight import InFlight, Piece
from napari_unet.engine.cluster.worker import run_file
from napari_unet.engine.file_problem import problem_of
from napari_unet.io.atomic import remove
from napari_unet.io.resumable_output import RunEndedError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from distributed import Client, Future

    from napari_unet.core.events import Event
    from napari_unet.engine.cluster.jobs import FilesJob

_PAUSE_S = 0.2  # where only files are left on which others work
# After so long Dask sends elsewhere what a worker has of which nothing is heard.
_SILENT_S = 300.0


@dataclass(slots=True)
class Outcome:
    """What became of files."""

    # to be predicted by steps
    large: list[tuple[int, Path]] = field(default_factory=list)
    done: int = 0
    failed: set[Path] = field(default_factory=set)


def predict_on_workers(
    client: Client, job: FilesJob, files: Sequence[tuple[int, Path]], total: int
) -> Generator[Event, None, Outcome]:
    """Predict files, given with their numbers, out of a total.

    The events of a file come together once it is done, as of
    `batch_prediction.predict_files`. Closing the generator cancels the rest.
    """
    sending = _Files(client, job, files)
    outcome = Outcome()
    try:
        for number, file, found in sending.ended():
            if found is None:
                yield Waits()
                continue
            if found == "large":
                outcome.large.append((number, file))
                continue
            if found == "busy":
                yield FileWaits(str(file))
                continue
            outcome.done += 1
            yield FileBegun(str(file), number, total)
            for event in _events(file, found):
                if isinstance(event, FilePredicted):
                    event = replace(event, progress=outcome.done / total)
                    if event.problem is not None:
                        outcome.failed.add(file)
                yield event
    finally:
        sending.flight.stop(lambda: remove(job.claim))
    return outcome


def _events(file: Path, found: tuple[Event, ...] | Exception) -> Sequence[Event]:
    """Return the events of a file, or one with its error."""
    if isinstance(found, tuple):
        return found
    if isinstance(found, KilledWorker):
        ended = f"it ended {found.allowed_failures + 1} workers"
        found = MemoryError(f"{ended}, probably for want of memory.")
    return [FilePredicted(str(file), 0, 0.0, problem_of(file, found))]


@dataclass(eq=False, slots=True)
class _SentFile(Piece):
    """A file that was sent, perhaps to several workers."""

    number: int
    file: Path


class _Files:
    """Files that are sent to workers, and their futures."""

    def __init__(
        self, client: Client, job: FilesJob, files: Sequence[tuple[int, Path]]
    ) -> None:
        self._client = client
        self._job = job
        self.flight = InFlight[_SentFile](client)
        self._left = deque(files)
        self._ended_workers: set[int] = set()  # numbers of files
        # numbers of files that a worker which hangs may have locked
        self._again: set[int] = set()
        self._put_off = 0  # in succession, as other processes work on them

    def ended(self) -> Iterator[tuple[int, Path, Any]]:
        """Send files; yield each with its result or error.

        Now and then one comes with None, as a point to cancel at.
        """
        while self._left or self.flight:
            self._top_up()
            # both write the same, each result as a whole
            self.flight.duplicate_slow(lambda _: "file", self._send_elsewhere)
            ended = self.flight.ended()
            if not ended:
                each = self.flight.pieces[0]
                yield each.number, each.file, None
            for future in ended:
                if (sent := self.flight.take(future)) is None:
                    continue
                found = self._result(sent, future)
                if found is not None:
                    yield sent.number, sent.file, found

    def _result(self, each: _SentFile, future: Future) -> Any:
        """Return the result or error of a file; None if it is to be sent again."""
        number, file = each.number, each.file
        error = future.exception() if future.status == "error" else None
        killed = isinstance(error, KilledWorker) and number not in self._ended_workers
        if killed or future.status == "lost":
            if killed:
                # another one on the same worker may have ended it
                self._ended_workers.add(number)
            self._again.add(number)
            self._left.append((number, file))
            return None
        if isinstance(error, RunEndedError):
            raise OSError(str(error))  # its worker does not see the folder
        if error is not None and not isinstance(
            error, ValueError | OSError | MemoryError | KilledWorker
        ):
            raise error
        found = future.result() if error is None else error
        if found != "busy":
            self._put_off = 0
            self.flight.note_time("file", each)
            return found
        if self.flight.clock() - each.began > _SILENT_S:
            self._again.add(number)  # what Dask itself sent a second time
        self._left.append((number, file))
        self._put_off += 1
        if self._put_off >= len(self._left) + len(self.flight):
            self._put_off = 0
            sleep(_PAUSE_S)  # only such are left
        return found

    def _top_up(self) -> None:
        room = self.flight.width - len(self.flight)
        batch = [self._left.popleft() for _ in range(min(room, len(self._left)))]
        if not batch:
            return
        futures = self._client.map(
            run_file,
            [file for _, file in batch],
            [number in self._again for number, _ in batch],
            job=self._job,
            pure=False,
            retries=0,
        )
        for (number, file), future in zip(batch, futures, strict=True):
            self.flight.follow(_SentFile(number, file), future)

    def _send_elsewhere(self, late: _SentFile, workers: list[str]) -> Future:
        return self._client.submit(
            run_file, late.file, True, job=self._job, workers=workers, pure=False
        )
