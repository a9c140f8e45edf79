"""Steps sent to the workers of a Dask cluster, a few at a time.

Only as many steps are in flight as keep all workers busy: the scheduler is as quick
for 10⁶ steps as for ten, a cancelled run ends soon, and a dead worker loses little.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
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
    from collections.abc import Callable, Collection, Iterator, Sequence

    from distributed import Client, Future

    from napari_unet.core.events import Event
    from napari_unet.core.network.geometry import Geometry
    from napari_unet.engine.cluster.jobs import ImageJob
    from napari_unet.engine.inference.steps import Does, Step
    from napari_unet.io.resumable_output import ResumableOutput

# Steps in flight for each thread of a worker: one runs, the next waits there.
_AHEAD = 2
# Seconds after which a step is tried again that failed for another reason than bad
# input: a disk that is away comes back.
_PAUSES_S = (1.0, 10.0)
# A step is begun a second time after so many times the usual, and not before; and after
# so long where nothing is usual yet, in seconds.
_HUNG, _HUNG_S, _KNOWN, _UNKNOWN_S = 5.0, 60.0, 5, 600.0
# So long is waited for what is cancelled to end, and between looks, in seconds.
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
        others = others_than(self._client, late.keys)
        if not others:
            return None
        return self._client.submit(
            run_step,
            late.step,
            late.tile,
            job=self.job,
            key=_key(late.step),
            workers=others,
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
    """A step that was sent, perhaps to several workers."""

    step: Step
    tile: tuple[int, ...] | None = None
    failed: int = 0
    ended_workers: bool = False
    began: float = 0.0
    keys: set[str] = field(default_factory=set)


class _Sending:
    """One run through a list of steps: those in flight, and those to be sent."""

    def __init__(self, executor: Dask, steps: Sequence[Step]) -> None:
        self._executor = executor
        self._ready = _ReadySteps(steps)
        self._again: list[tuple[float, int, _SentStep]] = []  # from when on
        self._sent: dict[str, _SentStep] = {}
        self._futures: dict[str, Future] = {}
        self._count = 0  # so that of equals the first is first
        self._ended: SimpleQueue[Future] = SimpleQueue()
        self._usual = UsualTimes()

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
                    took = self._executor.now() - done.began
                    self._usual.add(done.step.stage, took)
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
        # some may have ended together with what is stopped for
        while (left := self._pending()) and self._executor.now() < until:
            self._next_ended()
        self._executor.cancel(left)

    def _pending(self) -> list[Future]:
        return [future for future in self._futures.values() if not future.done()]

    def _top_up(self) -> None:
        """Send as many steps as there is room for, in batches."""
        width = self._executor.width
        room = width - len(self._sent)
        if self._sent and room < max(width // 4, 1):
            return
        batch: list[_SentStep] = []
        while len(batch) < room:
            if self._again and self._again[0][0] <= self._executor.now():
                batch.append(heappop(self._again)[-1])
            elif self._ready:
                batch.append(_SentStep(self._ready.next()))
            else:
                break
        if batch:
            for each, future in zip(batch, self._executor.send(batch), strict=True):
                each.began = self._executor.now()
                self._follow(each, future)
        self._executor.most = max(self._executor.most, len(self._sent))

    def _follow(self, each: _SentStep, future: Future) -> None:
        each.keys.add(future.key)
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
        for key in each.keys:
            self._sent.pop(key, None)
            other = self._futures.pop(key, None)
            if other is not None and key != future.key:
                self._executor.cancel([other])
        each.keys.clear()
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
            self._try_again(each)
            return
        error: Any = future.exception()
        self._take(future)
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
        heappush(self._again, (self._executor.now() + pause, self._count, each))

    def _retry_smaller(self, each: _SentStep, error: Exception) -> None:
        """Try a step that ended workers again, with half the tile.

        One that has none is tried once more: it may have waited behind one that did.
        """
        smaller = self._executor.halved(each.tile) if each.step.by_network else None
        if smaller is None and each.ended_workers:
            what = f"{each.step.stage} of block {each.step.box}"
            raise MemoryError(
                f"{what} ended {_deaths(error)}, probably for want of memory: give "
                "each worker more, or have fewer on a machine."
            ) from error
        each.tile, each.ended_workers = smaller or each.tile, True
        self._try_again(each)

    def _duplicate_slow(self) -> None:
        """Send steps that take much longer than usual to another worker too.

        All write the same bytes; which ends first is taken.
        """
        now = self._executor.now()
        for each in dict.fromkeys(self._sent.values()):
            if self._usual.hangs(each.step.stage, now - each.began, len(each.keys)):
                future = self._executor.send_elsewhere(each)
                if future is not None:
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


class UsualTimes:
    """How long work takes, by its kind; tells what hangs."""

    def __init__(self) -> None:
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=50))

    def add(self, kind: str, seconds: float) -> None:
        """Note how long it took from its sending to its end."""
        self._took[kind].append(seconds)

    def hangs(self, kind: str, seconds: float, sent: int) -> bool:
        """Whether to send it to one more worker, after so long and so many of them.

        Each has twice the time of the one before, or what merely takes long would go to
        all workers.
        """
        took = self._took[kind]
        known = len(took) >= _KNOWN
        most = max(_HUNG * median(took), _HUNG_S) if known else _UNKNOWN_S
        return seconds > float(most * 2 ** (sent - 1))


def others_than(client: Client, keys: Collection[str]) -> list[str]:
    """Return the workers that were sent none of some work, given by its keys."""
    having = {
        worker
        for worker, sent in client.processing().items()
        if not set(keys).isdisjoint(map(str, sent))
    }
    return sorted(set(client.nthreads()) - having)


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
