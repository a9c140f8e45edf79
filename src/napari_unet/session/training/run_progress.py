"""The progress of a training run: steps, loss, scores on held-out pixels."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from napari_unet.core import events
from napari_unet.core.text import counted

if TYPE_CHECKING:
    from napari_unet.core.events import Event

# A curve has at most this many points, however long the run.
MOST_POINTS = 2000
# Share of the smoothed loss that stays with each step.
_MEMORY = 0.9
# Window for the pace in seconds, steps per minute below which it is reported as slow,
# and seconds without a step after which it is reported as waiting.
_MINUTE, _FEW, _STILL_S = 60.0, 20, 10.0


class LearningCurve:
    """Smoothed loss, thinned out evenly as it grows."""

    def __init__(self) -> None:
        # (step, seconds, loss), oldest first; seconds since the run began, or went on
        self.points: list[tuple[int, float, float]] = []
        self.scores: list[tuple[int, float, float]] = []  # (step, iou, loss)
        # smoothed, of the latest step; None before the first
        self.loss: float | None = None
        self._stride = 1
        self._count = 0
        self._weight = 0.0
        self._sum = 0.0

    def add(self, step: int, seconds: float, loss: float) -> None:
        """Add a step."""
        self._sum = _MEMORY * self._sum + (1 - _MEMORY) * loss
        self._weight = _MEMORY * self._weight + (1 - _MEMORY)
        # divided by what was summed up, so that the first steps are not drawn to 0
        self.loss = self._sum / self._weight
        if self._count % self._stride == 0:
            self.points.append((step, seconds, self.loss))
        self._count += 1
        if len(self.points) > MOST_POINTS:
            self.points = self.points[::2]
            self._stride *= 2

    def add_score(self, step: int, iou: float, loss: float) -> None:
        """Add a validation."""
        self.scores.append((step, iou, loss))
        del self.scores[:-MOST_POINTS]


@dataclass(slots=True)
class RunProgress:
    """The state of a run according to its events."""

    step: int = 0
    # whether any step was done, of one network or another
    learnt: bool = False
    share: float = 0.0  # of the budget that is used, 0 to 1
    seconds_left: float | None = None  # estimate; None where there is none yet
    # whether all steps are done, and the model is judged and saved
    judging: bool = False
    validation: str = ""  # what is held out, in words; empty before the first step
    curve: LearningCurve = field(default_factory=LearningCurve)
    comparison: events.ModelComparison | None = None
    saved: events.ModelSaved | None = None
    _began: float = field(default_factory=monotonic)
    # when the latest steps were done, those of the last minute
    _times: deque[float] = field(default_factory=deque)

    def add(self, event: Event) -> None:
        """Update by an event of the job."""
        if isinstance(event, events.StepDone):
            self.step, self.share, self.learnt = event.step, event.progress, True
            self.seconds_left = event.seconds_left
            self._note_time(monotonic())
            self.curve.add(event.step, monotonic() - self._began, event.loss)
        elif isinstance(event, events.ValidationDone):
            self.curve.add_score(event.step, event.score.quality, event.score.loss)
        elif isinstance(event, events.TrainingStarted):
            # the time of preparation does not count
            self._began = monotonic()
            self._times.clear()
            self.step, self.validation = event.step, event.validation
            if self.learnt:
                # another network begins
                self.curve = LearningCurve()
        elif isinstance(event, events.Judging):
            self.judging, self.share, self.seconds_left = True, 1.0, None
        elif isinstance(event, events.ModelComparison):
            self.comparison = event
        elif isinstance(event, events.ModelSaved):
            self.saved = event

    def left(self) -> float | None:
        """Return the estimated seconds to the end; None if unknown.

        They are unknown while no step comes.
        """
        if self.seconds_left is None or not self._times:
            return self.seconds_left
        passed = monotonic() - self._times[-1]
        return None if passed > _STILL_S else max(self.seconds_left - passed, 0.0)

    def slowness(self) -> str:
        """Return a warning that steps are slow or missing; empty if they are not."""
        now = monotonic()
        if not self._times:
            return ""
        if now - self._times[-1] > _STILL_S:
            return f"no step for {now - self._times[-1]:.0f} s"
        steps = sum(now - time <= _MINUTE for time in self._times)
        if now - self._began < _MINUTE or steps >= _FEW:
            return ""
        return f"only {counted(steps, 'step')} in a minute"

    def _note_time(self, now: float) -> None:
        self._times.append(now)
        while now - self._times[0] > _MINUTE:
            self._times.popleft()
