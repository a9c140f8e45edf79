"""What is done to a large image, as steps; who carries them out is an executor.

A step writes whole files and is noted then, so it may be done twice, by anybody and in
any order in which what it needs is done before: the result has the same bits. `Serial`
does one after the other; `engine.cluster` sends them to other processes.
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

    # Does a step, noting it in the end, perhaps behind; yields its tiles, if any.
    Does = Callable[["Step", WriteBehind], Iterable[Event]]

PROBABILITIES = "probabilities"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work of seconds to a minute."""

    stage: str  # what is done
    field: int  # number of the field, or of the group of fields, it is done to
    box: int = 0  # number of the box of it
    needs: tuple[str, ...] = ()  # names of steps that are done before
    pixels: int = 1
    shown: str = ""  # stage that people are told of when it is done; empty for none
    by_network: bool = False  # whether a network does it, which one step at a time uses

    @property
    def name(self) -> str:
        """As it is noted among what is done."""
        return f"{self.stage}-{self.field}-{self.box}"


class Executor(Protocol):
    """Carries steps out."""

    device: str
    """Where, for people; empty for here."""

    def run(
        self, steps: Sequence[Step], does: Does
    ) -> Iterator[tuple[Step | None, Event | None]]:
        """Yield each step with the events of its tiles, and with None once it is done.

        What they need besides each other is done. Without a step something else is
        told. If the iterator is closed, nothing goes on.
        """
        ...


class Serial:
    """Does the steps here, in their order, which is one in which they can be done."""

    device = ""

    def run(
        self, steps: Sequence[Step], does: Does
    ) -> Iterator[tuple[Step, Event | None]]:
        """As `Executor.run`; what a step writes may be written during the next."""
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
    """Do the steps that are not done yet, and tell how far they are.

    Yields
    ------
    Event
        `TileDone` with the share of all tiles; `BlockDone` for steps that are shown;
        and when all of a stage is done what `after` has for it.
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
    """How much of each stage is done."""

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
