"""How a run in training is doing: loss over steps, scores on held-out pixels."""

from __future__ import annotations

# A curve has at most this many points, however long the run.
MOST_POINTS = 2000
# Share of the smoothed loss that stays with each step.
_MEMORY = 0.9


class LearningCurve:
    """Smoothed loss, thinned out evenly as it grows.

    Attributes
    ----------
    points : list of (step, seconds, loss)
        Oldest first; seconds since it began, or went on.
    scores : list of (step, iou, loss)
        Of the held-out pixels.
    loss : float or None
        Smoothed, of the latest step; None before the first.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, float, float]] = []
        self.scores: list[tuple[int, float, float]] = []
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
        """Add a look at the held-out pixels."""
        self.scores.append((step, iou, loss))
        del self.scores[:-MOST_POINTS]
