"""Images that fit into memory, each predicted by one worker of a cluster."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from distributed import KilledWorker

from napari_unet.core.events import FileBegun, FilePredicted, FileWaits, Waits
from napari_unet.engine.cluster.executor import (
    UsualTimes,
    check_scheduler,
    others_than,
)
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
# After so long Dask sends elsewhere what a worker has of which nothing is heard.
_SILENT_S = 300.0


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


@dataclass(eq=False, slots=True)
class _SentFile:
    """A file that was sent, perhaps to several workers."""

    number: int
    file: Path
    began: float
    futures: dict[str, Future] = field(default_factory=dict)


class _Files:
    """Files that are sent to workers, and their futures."""

    def __init__(
        self, client: Client, job: FilesJob, files: Sequence[tuple[int, Path]]
    ) -> None:
        self._client = client
        self._job = job
        self._left = deque(files)
        self._sent: dict[str, _SentFile] = {}
        self._back: SimpleQueue[Future] = SimpleQueue()
        self._ended_workers: set[int] = set()  # numbers of files
        # numbers of files that a worker which hangs may have locked
        self._again: set[int] = set()
        self._put_off = 0  # in succession, as other processes work on them
        self._usual = UsualTimes()

    def ended(self) -> Iterator[tuple[int, Path, Any]]:
        """Send files; yield each with its result or error.

        Now and then one comes with None, as a point to cancel at.
        """
        while self._left or self._sent:
            self._top_up()
            self._duplicate_slow()
            future = self._next()
            if future is None:
                each = next(iter(self._sent.values()))
                yield each.number, each.file, None
                continue
            check_scheduler(future)
            each = self._take(future)
            number, file, took = each.number, each.file, monotonic() - each.began
            if future.status == "lost":
                self._again.add(number)
                self._left.append((number, file))  # with its worker
                continue
            error = future.exception() if future.status == "error" else None
            if isinstance(error, KilledWorker) and number not in self._ended_workers:
                # another one on the same worker may have ended it
                self._ended_workers.add(number)
                self._again.add(number)
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
                if took > _SILENT_S:
                    self._again.add(number)  # what Dask itself sent a second time
                self._left.append((number, file))
                if self._put_off >= len(self._left) + len(self._sent):
                    self._put_off = 0
                    sleep(_POLL_S)  # only such are left
            else:
                self._usual.add("file", took)
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
                self._sent.pop(future.key).futures.pop(future.key)
        self._client.cancel([each.futures[key] for key, each in self._sent.items()])

    def _top_up(self) -> None:
        width = _AHEAD * max(sum(self._client.nthreads().values()), 1)
        room = width - len(set(map(id, self._sent.values())))
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
            self._follow(_SentFile(number, file, monotonic()), future)

    def _duplicate_slow(self) -> None:
        """Send files that take much longer than usual to another worker too.

        Both write the same, each result as a whole; which ends first is taken.
        """
        for each in {id(one): one for one in self._sent.values()}.values():
            sent = len(each.futures)
            if not self._usual.hangs("file", monotonic() - each.began, sent):
                continue
            if others := others_than(self._client, each.futures):
                future = self._client.submit(
                    run_file,
                    each.file,
                    True,
                    job=self._job,
                    workers=others,
                    pure=False,
                )
                self._follow(each, future)

    def _follow(self, each: _SentFile, future: Future) -> None:
        self._sent[future.key], each.futures[future.key] = each, future
        future.add_done_callback(self._back.put)

    def _take(self, future: Future) -> _SentFile:
        """Return the file that ended; its duplicates are cancelled."""
        each = self._sent[future.key]
        for key, other in each.futures.items():
            del self._sent[key]
            if key != future.key:
                self._client.cancel([other])
        return each

    def _next(self) -> Future | None:
        try:
            future = self._back.get(timeout=_POLL_S)
        except Empty:
            return None
        return future if future.key in self._sent else None
