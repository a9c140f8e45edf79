"""Steps of a large image, sent to the workers of a Dask cluster."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import KilledWorker

from napari_unet.core.events import Waits
from napari_unet.core.network.tile_size import halve_output
from napari_unet.engine.cluster.in_flight import InFlight, Piece
from napari_unet.engine.cluster.worker import run_step
from napari_unet.io.resumable_output import RunEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future

    from napari_unet.core.events import Event
    from napari_unet.core.network.geometry import Geometry
    from napari_unet.engine.cluster.jobs import ImageJob
    from napari_unet.engine.inference.steps import Does, Step
    from napari_unet.io.resumable_output import ResumableOutput

# Seconds after which a step is tried again that failed for another reason than bad
# input: a disk that is away comes back.
_PAUSES_S = (1.0, 10.0)


@dataclass(eq=False)
class Dask:
    """Carries out the steps of one image; see `steps.Executor`.

    `work` is the output whose steps they are, entered; by the `geometry` of the network
    tiles are halved; `device` describes the workers, and `clock` returns seconds. `job`
    is sent with each step, and set before the first one; `most` is the highest number
    of steps that were in flight at once.
    """

    client: Client
    work: ResumableOutput
    geometry: Geometry
    device: str = ""
    clock: Callable[[], float] = monotonic
    job: ImageJob | None = None
    most: int = 0

    def run(
        self, steps: Sequence[Step], does: Does
    ) -> Iterator[tuple[Step | None, Event | None]]:
        """As `Executor.run`; the workers do the steps, `does` is not called.

        Raises
        ------
        ValueError
            Of a step: bad input.
        MemoryError
            A step ended several workers.
        OSError
            A step failed again and again, or the cluster is lost.
        """
        sending = _Sending(self, steps)
        try:
            yield from sending.outcomes()
        finally:
            sending.flight.stop(self.work.end_run)


@dataclass(eq=False, slots=True)
class _SentStep(Piece):
    """A step that was sent, perhaps to several workers."""

    step: Step
    tile: tuple[int, ...] | None = None
    failed: int = 0
    ended_workers: bool = False


class _Sending:
    """One run through a list of steps: those in flight, and those to be sent."""

    def __init__(self, executor: Dask, steps: Sequence[Step]) -> None:
        self.flight = InFlight[_SentStep](executor.client, executor.clock)
        self._executor, self._now = executor, executor.clock
        self._ready = _ReadySteps(steps)
        self._again: list[tuple[float, int, _SentStep]] = []  # from when on
        self._count = 0  # so that of equals the first is first

    def outcomes(self) -> Iterator[tuple[Step | None, Event | None]]:
        """Send steps and yield their events until all are done."""
        flight = self.flight
        while self._ready or self._again or flight:
            self._top_up()
            ended = flight.ended()
            yield None, Waits()
            good = [future for future in ended if future.status == "finished"]
            results = self._executor.client.gather(good) if good else []
            for future, events in zip(good, results, strict=True):
                if (done := flight.take(future)) is not None:
                    for event in events:
                        yield done.step, event
                    self._ready.done(done.step)
                    flight.note_time(done.step.stage, done)
                    yield done.step, None
            for future in ended:
                if future.status != "finished":
                    self._failed(future)
            flight.duplicate_slow(lambda each: each.step.stage, self._send_elsewhere)

    def _top_up(self) -> None:
        """Send as many steps as there is room for, in batches."""
        width, sent = self.flight.width, len(self.flight)
        room = width - sent
        if sent and room < max(width // 4, 1):
            return
        batch: list[_SentStep] = []
        while len(batch) < room:
            if self._again and self._again[0][0] <= self._now():
                batch.append(heappop(self._again)[-1])
            elif self._ready:
                batch.append(_SentStep(self._ready.next()))
            else:
                break
        if batch:
            futures = self._executor.client.map(
                run_step,
                [each.step for each in batch],
                [each.tile for each in batch],
                job=self._executor.job,
                key=[_key(each.step) for each in batch],
                pure=False,
                retries=0,
            )
            for each, future in zip(batch, futures, strict=True):
                self.flight.follow(each, future)
        self._executor.most = max(self._executor.most, sent + len(batch))

    def _send_elsewhere(self, late: _SentStep, workers: list[str]) -> Future:
        return self._executor.client.submit(
            run_step,
            late.step,
            late.tile,
            job=self._executor.job,
            key=_key(late.step),
            workers=workers,
            pure=False,
        )

    def _failed(self, future: Future) -> None:
        """Retry a step, or raise its error."""
        each = self.flight.take(future)
        if each is None:
            return
        if future.status == "lost":
            # its worker died; if the step was done, that is on disk
            self._try_again(each)
            return
        error: Any = future.exception()
        if isinstance(error, KilledWorker | MemoryError):
            self._retry_smaller(each, error)
            return
        bad = isinstance(error, ValueError | ImportError | FileExistsError)
        if bad or each.failed == len(_PAUSES_S):
            # nobody else has this work: its worker does not see the folder
            raise OSError(str(error)) if isinstance(error, RunEndedError) else error
        self._try_again(each, _PAUSES_S[each.failed])
        each.failed += 1

    def _try_again(self, each: _SentStep, pause: float = 0.0) -> None:
        self._count += 1
        heappush(self._again, (self._now() + pause, self._count, each))

    def _retry_smaller(self, each: _SentStep, error: Exception) -> None:
        """Try a step that ended workers again, with half the tile.

        One that has none is tried once more: it may have waited behind one that did.
        """
        smaller, job = None, self._executor.job
        tile = each.tile or (None if job is None else job.tile)
        if each.step.by_network and tile is not None:
            smaller = halve_output(self._executor.geometry, tile)
        if smaller is None and each.ended_workers:
            count = getattr(error, "allowed_failures", None)
            ended = "its worker's memory" if count is None else f"{count + 1} workers"
            raise MemoryError(
                f"{each.step.stage} of block {each.step.box} ended {ended}, probably "
                "for want of memory: give each worker more, or have fewer on a machine."
            ) from error
        each.tile, each.ended_workers = smaller or each.tile, True
        self._try_again(each)


class _ReadySteps:
    """Queue of the steps that can run now: those of a later stage come first.

    So the cells of a part follow its probabilities while these are still in memory.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        ranks = {
            stage: n for n, stage in enumerate(dict.fromkeys(s.stage for s in steps))
        }
        todo = {step.name for step in steps}
        self._order = {
            step.name: (-ranks[step.stage], n) for n, step in enumerate(steps)
        }
        self._waits: dict[str, int] = {}
        self._after: dict[str, list[Step]] = defaultdict(list)
        self._heap: list[tuple[tuple[int, int], Step]] = []
        for step in steps:
            needs = [name for name in step.needs if name in todo]
            self._waits[step.name] = len(needs)
            for name in needs:
                self._after[name].append(step)
            if not needs:
                self._push(step)

    def __bool__(self) -> bool:
        return bool(self._heap)

    def next(self) -> Step:
        return heappop(self._heap)[1]

    def done(self, step: Step) -> None:
        for later in self._after.pop(step.name, ()):
            self._waits[later.name] -= 1
            if not self._waits[later.name]:
                self._push(later)

    def _push(self, step: Step) -> None:
        heappush(self._heap, (self._order[step.name], step))


def _key(step: Step) -> str:
    """Return a key; the scheduler's dashboard shows the part before the hash."""
    return f"napari-unet-{step.stage}-{uuid4()}"
