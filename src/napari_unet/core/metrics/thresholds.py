"""The threshold at which a probability map scores best, as the challenges search it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_unet.core.metrics.pairs import Pair


@dataclass(frozen=True, slots=True)
class ThresholdedError:
    """The lowest error and the threshold that gave it (the lowest of several)."""

    error: float  # 0 is perfect
    threshold: float  # objects are where the probability is above it, not equal


def lowest_error(
    thresholds: Iterable[float], error: Callable[[float], float]
) -> ThresholdedError:
    """Try thresholds, the lowest first: on a tie it stays."""
    errors = [ThresholdedError(error(threshold), threshold) for threshold in thresholds]
    return min(errors, key=lambda found: found.error)


def candidates(
    pairs: Iterable[Pair], thresholds: tuple[float, ...]
) -> tuple[float, ...]:
    """Return the thresholds worth trying: 0 alone if every prediction is a mask."""
    binary = all(
        predicted.dtype == np.bool_ or np.isin(predicted, (0, 1)).all()
        for predicted, _ in pairs
    )
    # a mask is the same above every threshold below 1
    return (0.0,) if binary else thresholds
