"""The steps of work on a large image, and their executors.

A step writes whole files and is then recorded as done. So it may run twice, in any
process and in any order that respects its needs: the result has the same bits.
`Serial` runs one after the other; `engine.cluster` sends them to other processes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from napari_unet.core.events import BlockDone, TileDone
from napari_unet.io.write_behind import WriteBehind

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from napari_unet.core.events import Event
    from napari_unet.io.resumable_output import ResumableOutput

    # Runs a step and records it as done, perhaps in the background; yields its tiles.
    Does = Callable[["Step", WriteBehind], Iterable[Event]]

PROBABILITIES = "probabilities"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Step:
    """A unit of work that takes seconds to a minute."""

    stage: str  # what is done
    field: int  # number of the field, or group of fields
    box: int = 0  # number of the box in the field
    needs: tuple[str, ...] = ()  # names of steps that come before
    pixels: int = 1
    shown: str = ""  # name of the stage in progress messages; empty for none
    by_network: bool = False  # whether it runs the network: one such step at a time

    @property
    def name(self) -> str:
        """The name under which it is recorded as done."""
        return f"{self.stage}-{self.field}-{self.box}"


class Executor(Protocol):
    """Runs steps."""

    device: str
    """Where they run, for people; empty for this process."""

    def run(
        self, steps: Sequence[Step], does: Does
    ) -> Iterator[tuple[Step | None, Event | None]]:
        """Yield each step with the events of its tiles, and with None once it is done.

        All needs outside of `steps` are done. An event without a step is about none of
        them. Closing the iterator cancels the rest.
        """
        ...


class Serial:
    """Runs the steps in this process, in the order given."""

    device = ""

    def run(
        self, steps: Sequence[Step], does: Does
    ) -> Iterator[tuple[Step, Event | None]]:
        """As `Executor.run`; the files of a step may be written during the next one."""
        behind: set[str] = set()
        with WriteBehind() as writer:
            for step in steps:
                if not behind.isdisjoint(step.needs):
                    writer.wait()
                    behind.clear()
                for event in does(step, writer):
                    yield step, event
                if writer.is_busy:
                    behind.add(step.name)
                yield step, None


def carry_out(
    steps: Sequence[Step],
    work: ResumableOutput,
    executor: Executor,
    does: Does,
    after: Mapping[str, Callable[[], Event]] | None = None,
) -> Iterator[Event]:
    """Run the steps that are not done yet, and report the progress.

    Yields
    ------
    Event
        `TileDone` with the share of all tiles; `BlockDone` for steps that are shown;
        and the event of `after` for a stage once all of it is done.
    """
    finished = work.finished()
    tally = _Tally(steps, finished)
    ends = dict(after or {})
    todo = [step for step in steps if step.name not in finished]
    yield from tally.ended(ends)
    for step, event in executor.run(todo, does):
        if step is None or not isinstance(event, TileDone | None):
            yield from [event] if event is not None else []
        elif event is None:
            yield from tally.done(step)
            yield from tally.ended(ends)
        else:
            yield tally.placed(step, event)


class _Tally:
    """Counts how much of each stage is done."""

    def __init__(self, steps: Iterable[Step], finished: set[str]) -> None:
        self._total: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._left_of: Counter[tuple[str, int]] = Counter()
        for step in steps:
            self._total[step.stage] += step.pixels
            self._left[step.stage] += 1
            self._left_of[step.stage, step.field] += 1
            if step.name in finished:
                self._count(step)

    def done(self, step: Step) -> Iterator[Event]:
        self._count(step)
        if step.shown:
            share = self._done[step.stage] / self._total[step.stage]
            yield BlockDone(step.shown, share)

    def placed(self, step: Step, event: TileDone) -> TileDone:
        done = self._done[step.stage] + step.pixels * event.progress
        last = self._left_of[step.stage, step.field] == 1
        return replace(
            event,
            progress=done / self._total[step.stage],
            field_done=event.field_done and last,
        )

    def ended(self, ends: dict[str, Callable[[], Event]]) -> Iterator[Event]:
        for stage in [stage for stage in ends if not self._left[stage]]:
            yield ends.pop(stage)()

    def _count(self, step: Step) -> None:
        self._done[step.stage] += step.pixels
        self._left[step.stage] -= 1
        self._left_of[step.stage, step.field] -= 1


def with_progress(
    job: Generator[None, None, Result], stage: str, steps: int
) -> Generator[BlockDone, None, Result]:
    """Yield `BlockDone` for each step of a job and return its result.

    `steps` is their expected number; the share of more is 1.
    """
    done = 0
    try:
        while True:
            next(job)
            done += 1
            yield BlockDone(stage, min(done / steps, 1.0))
    except StopIteration as end:
        result: Result = end.value
        return result
