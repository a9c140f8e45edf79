"""Which of the models that come with the package suits an image.

Each is tried on a part of the image. What is then known of its cells (how sure the
network is of them, how wide they are, whether they are brighter than what is around) is
compared with what the model was made for. Of those that suit, the surest is taken: a
network is unsure where it sees what it has not learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AUTO = "auto"
"""In place of a model's file: the starter that suits the image."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A model that comes with the package, and what it is for."""

    name: str
    purpose: str  # the images, in a few words
    widths: tuple[float, float]  # of its cells, in pixels
    # brightness of cells less that of what is around, in standard deviations;
    # infinite where there is no bound
    contrast: tuple[float, float]
    most: float  # share of an image that cells take at the most
    # how sure it is of cells like those it learnt; of others it is less
    sure: float = 0.86

    @property
    def words(self) -> str:
        """What it is for, for people."""
        lowest, highest = self.widths
        return f"{self.purpose}, {lowest:g} to {highest:g} pixels wide"

    @property
    def looks(self) -> str:
        """How bright its cells are, for people, after the word "cells"."""
        lowest, highest = self.contrast
        if isinf(lowest):
            amount, than = f"{-highest:g} or more", "darker than"
        else:
            more = "or more" if isinf(highest) else f"to {highest:g}"
            amount, than = f"{lowest:g} {more}", "brighter than"
        return f"{amount} standard deviations {than} the rest"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a starter found in a part of an image."""

    starter: Starter
    cells: int
    share: float = 0.0  # of the pixels, in cells
    sure: float = 0.0  # mean probability of the pixels in cells
    width: float = 0.0  # of a usual cell: diameter of a disc as large, in pixels
    contrast: float = 0.0  # as `Starter.contrast`

    @property
    def misfit(self) -> str:
        """Why the model is not for such cells, after its name; empty if it is."""
        made = self.starter
        if not self.cells:
            return "finds no cell"
        if self.share > made.most:
            return f"takes {self.share:.0%} of the image for cells"
        if not made.contrast[0] <= self.contrast <= made.contrast[1]:
            return f"is for cells {made.looks}, and finds {self.contrast:.2f}"
        narrow, wide = made.widths
        if not narrow <= self.width <= wide:
            return (
                f"is for cells {narrow:g} to {wide:g} pixels wide, and finds "
                f"{self.width:.0f}"
            )
        return ""

    @property
    def doubt(self) -> str:
        """Why its masks may be wrong, after its name; empty if all is as it should be.

        What does not fit, or that the network is not sure.
        """
        unsure = (
            ""
            if self.sure >= self.starter.sure
            else f"is only {self.sure:.0%} sure of its cells"
        )
        return self.misfit or unsure


@dataclass(frozen=True, slots=True)
class Choice:
    """The starter that is taken of those that were tried, and why."""

    trials: tuple[Trial, ...]  # the one that is taken first

    @property
    def name(self) -> str:
        """Of the starter that is taken."""
        return self.trials[0].starter.name

    @property
    def short_reason(self) -> str:
        """Why, in a few words."""
        return f"{self.trials[0].sure:.0%} sure of its cells here"

    @property
    def reason(self) -> str:
        """Why, in a sentence with the numbers that decided."""
        best, *others = self.trials
        parts = [f"{best.starter.name} is {self.short_reason}"]
        parts += [
            f"{other.starter.name} {other.misfit or f'is {other.sure:.0%} sure'}"
            for other in others
        ]
        return ", ".join(parts) + "."

    def doubt_of(self, name: str) -> str:
        """Why the masks of a starter may be wrong here, a sentence; empty if not."""
        doubt = next((t.doubt for t in self.trials if t.starter.name == name), "")
        return (
            f"{name} may not suit this image: it {doubt}. If masks are wrong, paint a "
            "few cells and train."
            if doubt
            else ""
        )


def choose(trials: Sequence[Trial]) -> Choice:
    """Take the surest of the starters that suit; of none the surest of all.

    ValueError if there is none.
    """
    if not trials:
        raise ValueError("no model of the package sees such an image: choose a model.")
    best_first = sorted(trials, key=lambda t: (bool(t.misfit), -t.sure))
    return Choice(tuple(best_first))


def measure(
    starter: Starter,
    foreground: NDArray[np.floating],
    cells: NDArray[np.integer],
    pixels: NDArray[np.floating],
) -> Trial:
    """Say what a starter found.

    Parameters
    ----------
    foreground : ndarray of float, shape (y, x)
        Probability of a cell, 0 to 1.
    cells : ndarray of int, shape (y, x)
        Ids of the cells, 0 outside.
    pixels : ndarray of float, shape (y, x)
        Grey values.
    """
    inside = cells > 0
    areas = np.bincount(cells.ravel())[1:]
    areas = areas[areas > 0]
    if not len(areas):
        return Trial(starter, 0)
    spread = float(pixels.std())
    contrast = 0.0
    if spread > 0 and not inside.all():
        contrast = float(pixels[inside].mean() - pixels[~inside].mean()) / spread
    return Trial(
        starter,
        len(areas),
        float(inside.mean()),
        float(foreground[inside].mean()),
        float(np.median(np.sqrt(4 * areas / np.pi))),
        contrast,
    )
