"""Patches with blind spots: the network predicts pixels that are hidden from it.

There is one spot in each cell of a grid over the output; a hidden pixel has the value
of another one near it. The share is higher than in the paper (0.2 %): patches are small
here, and with so few spots a network would learn ten times as slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_unet.engine.training.image_sampling import ImageBatch, ImageSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]

# Side of the cells of the grid, in pixels: a spot in each hides 2 % of them ...
_CELL = 7
# ... and where lines are hidden, fewer of these.
_CELL_OF_LINES = 13
# Largest distance to the pixel whose value replaces a hidden one, in pixels.
_REACH = 5
# Pixels hidden on both sides of a spot where noise is correlated along lines.
_LINE = 5


class BlindSpotSampler(ImageSampler):
    """Draws patches of images that are to become themselves.

    `line` is the axis, x or y, along which noise is alike, or none: a line around each
    spot is hidden there.
    """

    def __init__(
        self, *examples: Any, line: Literal["none", "x", "y"], **rest: Any
    ) -> None:
        self._line = line
        # else the noise of a turned patch would lie across the hidden line
        self._turns = line == "none"
        super().__init__(*examples, **rest)

    def draw(self, step: int, size: int) -> ImageBatch:
        """As `Sampler.draw`; the weight is 1 at the spots alone."""
        batch: ImageBatch = super().draw(step, size)  # type: ignore[assignment]
        rng = np.random.default_rng([self._seed, 4, step])
        spots = self._spots((size, *batch.weight.shape[1:]), rng)
        own = self.team.part(size)
        image = self._hidden(batch.image, spots, rng, own)
        spots = _of_patches(own, spots)
        weight = torch.zeros_like(batch.weight)
        weight[spots] = batch.weight[spots]
        return ImageBatch(image, batch.target, weight)

    def _spots(
        self, shape: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[Indices, ...]:
        """Draw a pixel of each cell of a grid over planes: (patch, [z,] y, x)."""
        cell = _CELL if self._line == "none" else _CELL_OF_LINES
        *planes, height, width = shape
        cells = (*planes, -(-height // cell), -(-width // cell))
        *lead, y, x = np.indices(cells).reshape(len(cells), -1)
        y, x = (n * cell + rng.integers(cell, size=len(n)) for n in (y, x))
        inside = (y < height) & (x < width)
        return *(n[inside] for n in lead), y[inside], x[inside]

    def _hidden(
        self,
        image: torch.Tensor,
        spots: tuple[Indices, ...],
        rng: np.random.Generator,
        own: slice | None = None,
    ) -> torch.Tensor:
        """Replace the pixels of an image at spots, and along lines through them.

        All channels at once: their noise may be correlated. The images are `own` of the
        batch that the spots are of, or all.
        """
        own = own or slice(0, len(image))
        patch, *place = spots
        place = [n + h for n, h in zip(place, self._halo, strict=True)]
        axis = {"none": 0, "y": -2, "x": -1}[self._line]
        shifts = np.arange(-_LINE, _LINE + 1) if axis else np.zeros(1, int)
        # one row for each pixel that is hidden, of a line those in the image alone
        patch, *place = (np.repeat(n, len(shifts)) for n in (patch, *place))
        if axis:
            place[axis] = place[axis] + np.tile(shifts, len(spots[0]))
            there = (place[axis] >= 0) & (place[axis] < image.shape[axis])
            patch, *place = (n[there] for n in (patch, *place))
        source = list(place)
        # small patches have no pixel so far from their middle
        reach = min(_REACH, (min(image.shape[-2:]) - 1) // 2)
        shifts_yx = self._shifts(len(patch), reach, rng)
        for number, shift in zip((-2, -1), shifts_yx, strict=True):
            n = image.shape[number]
            near = place[number] + shift
            # beyond the edge, the one on the other side of the spot
            source[number] = np.where(
                (near >= 0) & (near < n), near, place[number] - shift
            )
        shown = image.clone()
        to, of = _of_patches(own, (patch, *place)), _of_patches(own, (patch, *source))
        shown.movedim(1, -1)[to] = image.movedim(1, -1)[of]
        return shown

    def _shifts(
        self, count: int, reach: int, rng: np.random.Generator
    ) -> list[Indices]:
        """Draw the offsets in y and x of the pixels whose values replace the hidden."""
        side = 2 * reach + 1
        if self._line == "none":
            # any but the middle one
            drawn = rng.integers(side**2 - 1, size=count)
            drawn += drawn >= side**2 // 2
            return [drawn // side - reach, drawn % side - reach]
        along = rng.integers(-reach, reach + 1, size=count)
        across = rng.integers(1, reach + 1, size=count) * rng.choice([-1, 1], count)
        return [across, along] if self._line == "x" else [along, across]


def _of_patches(own: slice, at: tuple[Indices, ...]) -> tuple[Indices, ...]:
    """Return places (patch, [z,] y, x) in some patches of a batch, counted in these."""
    patch, *rest = at
    there = (patch >= own.start) & (patch < own.stop)
    return patch[there] - own.start, *(n[there] for n in rest)
