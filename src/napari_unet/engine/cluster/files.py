"""Images that fit into memory, each predicted by one worker of a cluster."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from distributed import KilledWorker

from napari_unet.core.events import FileBegun, FilePredicted, FileWaits, Waits
from napari_unet.engine.cluster.executor import check_scheduler
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

_AHEAD = 2  # for each thread of a worker
_END_S, _POLL_S = 30.0, 0.2  # as in `executor`


@dataclass(slots=True)
class Outcome:
    """Counts of files, and those that are left."""

    large: list[tuple[int, Path]] = field(
        default_factory=list
    )  # to be predicted by steps
    done: int = 0
    failed: int = 0


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
                    outcome.failed += event.problem is not None
                yield event
    finally:
        sending.stop()
    return outcome


def _events(file: Path, found: tuple[Event, ...] | Exception) -> Sequence[Event]:
    """Return the events of a file, or one with its error."""
    if isinstance(found, tuple):
        return found
    if isinstance(found, KilledWorker):
        ended = f"it ended {found.allowed_failures + 1} workers"
        found = MemoryError(f"{ended}, probably for want of memory.")
    return [FilePredicted(str(file), 0, 0.0, problem_of(file, found))]


class _Files:
    """Files that are sent to workers, and their futures."""

    def __init__(
        self, client: Client, job: FilesJob, files: Sequence[tuple[int, Path]]
    ) -> None:
        self._client = client
        self._job = job
        self._left = deque(files)
        self._sent: dict[str, tuple[int, Path, Future]] = {}
        self._back: SimpleQueue[Future] = SimpleQueue()
        self._ended_workers: set[int] = set()  # numbers of files
        self._put_off = 0  # in succession, as other processes work on them

    def ended(self) -> Iterator[tuple[int, Path, Any]]:
        """Send files; yield each with its result or error.

        Now and then one comes with None, as a point to cancel at.
        """
        while self._left or self._sent:
            self._top_up()
            future = self._next()
            if future is None:
                number, file, _ = next(iter(self._sent.values()))
                yield number, file, None
                continue
            number, file, _ = self._sent.pop(future.key)
            check_scheduler(future)
            if future.status == "lost":
                self._left.append((number, file))  # with its worker
                continue
            error = future.exception() if future.status == "error" else None
            if isinstance(error, KilledWorker) and number not in self._ended_workers:
                # another one on the same worker may have ended it
                self._ended_workers.add(number)
                self._left.append((number, file))
                continue
            if isinstance(error, RunEndedError):
                raise OSError(str(error))  # its worker does not see the folder
            if error is not None and not isinstance(
                error, ValueError | OSError | MemoryError | KilledWorker
            ):
                raise error
            found = future.result() if error is None else error
            self._put_off = self._put_off + 1 if found == "busy" else 0
            if found == "busy":
                self._left.append((number, file))
                if self._put_off >= len(self._left) + len(self._sent):
                    self._put_off = 0
                    sleep(_POLL_S)  # only such are left
            yield number, file, found

    def stop(self) -> None:
        """Make workers stop, and wait a while until they have."""
        if not self._sent:
            return
        remove(self._job.claim)
        until = monotonic() + _END_S
        while self._sent and monotonic() < until:
            future = self._next()
            if future is not None:
                del self._sent[future.key]
        self._client.cancel([future for _, _, future in self._sent.values()])

    def _top_up(self) -> None:
        width = _AHEAD * max(sum(self._client.nthreads().values()), 1)
        batch = [
            self._left.popleft()
            for _ in range(min(width - len(self._sent), len(self._left)))
        ]
        if not batch:
            return
        futures = self._client.map(
            run_file, [file for _, file in batch], job=self._job, pure=False, retries=0
        )
        for (number, file), future in zip(batch, futures, strict=True):
            self._sent[future.key] = number, file, future
            future.add_done_callback(self._back.put)

    def _next(self) -> Future | None:
        try:
            future = self._back.get(timeout=_POLL_S)
        except Empty:
            return None
        return future if future.key in self._sent else None
