"""Steps sent to the workers of a Dask cluster, a few at a time.

Only as many steps are in flight as keep all workers busy: the scheduler is as quick
for 10⁶ steps as for ten, a cancelled run ends soon, and a dead worker loses little.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import KilledWorker

from napari_unet.core.events import Waits
from napari_unet.core.network.tile_size import halve_output
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

# Steps in flight for each thread of a worker: one runs, the next waits there.
_AHEAD = 2
# Attempts at a step that fails for another reason than bad input, such as a lost file.
_TRIES = 3
# A step is sent to a second worker after so many times the median duration of its
# stage, after this many seconds at the least, once so many durations are known.
_HUNG, _HUNG_S, _KNOWN = 5.0, 60.0, 5
# Seconds to wait for cancelled steps, and between two polls.
_END_S, _POLL_S = 30.0, 0.2
_COUNTED_S = 1.0  # between counts of the workers


class Dask:
    """Carries out the steps of one image; see `steps.Executor`.

    Parameters
    ----------
    client : distributed.Client
    work : ResumableOutput
        The output whose steps they are, entered.
    geometry : Geometry
        Of the network; decides how tiles are halved.
    device : str
        Description of the workers, for people.
    clock : callable
        Seconds.

    Attributes
    ----------
    job : ImageJob
        Sent with each step; to be set before the first one.
    most : int
        Highest number of steps that were in flight at once.
    """

    def __init__(
        self,
        client: Client,
        work: ResumableOutput,
        geometry: Geometry,
        device: str = "",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.job: ImageJob | None = None
        self.device = device
        self.most = 0
        self._client = client
        self._work = work
        self._geometry = geometry
        self._clock = clock
        self._threads, self._counted = 1, float("-inf")

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
            sending.stop()

    @property
    def width(self) -> int:
        """How many steps may be in flight; the workers are counted once a second."""
        if self._clock() - self._counted >= _COUNTED_S:
            self._counted = self._clock()
            self._threads = max(sum(self._client.nthreads().values()), 1)
        return _AHEAD * self._threads

    def send(self, steps: Sequence[_SentStep]) -> list[Future]:
        """Send steps to the workers; return their futures."""
        keys = [_key(each.step) for each in steps]
        futures: list[Future] = self._client.map(
            run_step,
            [each.step for each in steps],
            [each.tile for each in steps],
            job=self.job,
            key=keys,
            pure=False,
            retries=0,
        )
        return futures

    def send_elsewhere(self, late: _SentStep) -> Future | None:
        """Send a step to another worker too; None if there is no other."""
        having = {
            worker
            for worker, keys in self._client.processing().items()
            if late.key in map(str, keys)
        }
        others = set(self._client.nthreads()) - having
        if not others:
            return None
        return self._client.submit(
            run_step,
            late.step,
            late.tile,
            job=self.job,
            key=_key(late.step),
            workers=list(others),
            pure=False,
        )

    def gather(self, futures: Sequence[Future]) -> list[tuple[Event, ...]]:
        """Fetch the events of finished steps."""
        found: list[tuple[Event, ...]] = self._client.gather(futures)
        return found

    def cancel(self, futures: Sequence[Future]) -> None:
        """Cancel futures that have not begun."""
        if futures:
            self._client.cancel(futures)

    def halved(self, tile: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """Return half the tile; None if it cannot be smaller."""
        tile = tile or (self.job.tile if self.job else None)
        return None if tile is None else halve_output(self._geometry, tile)

    def end_run(self) -> None:
        """Make all workers stop writing."""
        self._work.end_run()

    def now(self) -> float:
        """Return the time, in seconds."""
        return self._clock()


@dataclass(eq=False, slots=True)
class _SentStep:
    """A step in flight, perhaps on two workers."""

    step: Step
    tile: tuple[int, ...] | None = None
    failed: int = 0
    began: float = 0.0
    key: str = ""
    twin: str = ""


class _Sending:
    """One run through a list of steps: those in flight, and those to be sent."""

    def __init__(self, executor: Dask, steps: Sequence[Step]) -> None:
        self._executor = executor
        self._ready = _ReadySteps(steps)
        self._again: deque[_SentStep] = deque()
        self._sent: dict[str, _SentStep] = {}
        self._futures: dict[str, Future] = {}
        self._ended: SimpleQueue[Future] = SimpleQueue()
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=50))

    def outcomes(self) -> Iterator[tuple[Step | None, Event | None]]:
        """Send steps and yield their events until all are done."""
        while self._ready or self._again or self._sent:
            self._top_up()
            ended = self._next_ended()
            yield None, Waits()
            good = [future for future in ended if future.status == "finished"]
            results = self._executor.gather(good) if good else []
            for future, events in zip(good, results, strict=True):
                if (done := self._take(future)) is not None:
                    for event in events:
                        yield done.step, event
                    self._ready.done(done.step)
                    self._took[done.step.stage].append(
                        self._executor.now() - done.began
                    )
                    yield done.step, None
            for future in ended:
                if future.status != "finished":
                    self._failed(future)
            self._duplicate_slow()

    def stop(self) -> None:
        """Cancel the steps in flight, and wait a while for those that have begun."""
        if not self._sent:
            return
        self._executor.end_run()
        until = self._executor.now() + _END_S
        while self._futures and self._executor.now() < until:
            for future in self._next_ended():
                self._futures.pop(future.key, None)
        self._executor.cancel(list(self._futures.values()))

    def _top_up(self) -> None:
        """Send as many steps as there is room for, in batches."""
        width = self._executor.width
        room = width - len(self._sent)
        if self._sent and room < max(width // 4, 1):
            return
        batch: list[_SentStep] = []
        while len(batch) < room and (self._again or self._ready):
            batch.append(
                self._again.popleft() if self._again else _SentStep(self._ready.next())
            )
        if batch:
            for each, future in zip(batch, self._executor.send(batch), strict=True):
                each.began, each.key, each.twin = self._executor.now(), future.key, ""
                self._follow(each, future)
        self._executor.most = max(self._executor.most, len(self._sent))

    def _follow(self, each: _SentStep, future: Future) -> None:
        self._sent[future.key], self._futures[future.key] = each, future
        future.add_done_callback(self._ended.put)

    def _next_ended(self) -> list[Future]:
        """Wait a moment for steps to end; return all that have ended."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=_POLL_S))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            pass
        return [future for future in ended if future.key in self._futures]

    def _take(self, future: Future) -> _SentStep | None:
        """Return the step that ended, once, and cancel its duplicate."""
        each = self._sent.get(future.key)
        if each is None:
            return None
        for key in filter(None, (each.key, each.twin)):
            self._sent.pop(key, None)
            other = self._futures.pop(key, None)
            if other is not None and key != future.key:
                self._executor.cancel([other])
        return each

    def _failed(self, future: Future) -> None:
        """Retry a step, or raise its error."""
        each = self._sent.get(future.key)
        if each is None:
            return
        check_scheduler(future)
        if future.status == "lost":
            # its worker died; if the step was done, that is on disk
            self._take(future)
            self._again.append(each)
            return
        error: Any = future.exception()
        self._take(future)
        if isinstance(error, KilledWorker | MemoryError):
            self._retry_smaller(each, error)
            return
        bad = isinstance(error, ValueError | ImportError | FileExistsError)
        each.failed += 1
        if bad or isinstance(error, RunEndedError) or each.failed >= _TRIES:
            raise error
        self._again.append(each)

    def _retry_smaller(self, each: _SentStep, error: Exception) -> None:
        """Retry a step that ended workers, with half the tile."""
        smaller = self._executor.halved(each.tile) if each.step.by_network else None
        if smaller is None:
            what = f"{each.step.stage} of block {each.step.box}"
            raise MemoryError(
                f"{what} ended {_deaths(error)}, probably for want of memory: give "
                "each worker more, or have fewer on a machine."
            ) from error
        each.tile = smaller
        self._again.append(each)

    def _duplicate_slow(self) -> None:
        """Send steps that take much longer than usual to another worker too.

        Both write the same bytes; the first result is taken.
        """
        now = self._executor.now()
        for key, each in list(self._sent.items()):
            took = self._took[each.step.stage]
            if key != each.key or each.twin or len(took) < _KNOWN:
                continue
            if now - each.began > max(_HUNG * median(took), _HUNG_S):
                future = self._executor.send_elsewhere(each)
                if future is not None:
                    each.twin = future.key
                    self._follow(each, future)


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


def check_scheduler(future: Future) -> None:
    """OSError if a future is cancelled: that happens only if the scheduler is lost.

    Futures of a worker that died have the status "lost" instead and are sent again.
    """
    if future.status == "cancelled":
        raise OSError(
            "the cluster's scheduler was lost; the same command goes on with what "
            "is left."
        )


def _key(step: Step) -> str:
    """Return a key; the scheduler's dashboard shows the part before the hash."""
    return f"napari-unet-{step.stage}-{uuid4()}"


def _deaths(error: Exception) -> str:
    count = getattr(error, "allowed_failures", None)
    return "its worker's memory" if count is None else f"{count + 1} workers"
