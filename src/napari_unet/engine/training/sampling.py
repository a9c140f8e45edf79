"""Batches of deformed patches, drawn from the examples on the device that trains.

The random numbers of a step depend on the seed and the step alone, so a run that is
resumed draws what an uninterrupted one would have drawn. Only the pixels under a patch
are read from the image, whatever holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.geometry.tiles import read_window
from napari_unet.engine.device import single
from napari_unet.engine.training.augmentation import (
    change_greys,
    coordinates,
    draw_deformation,
    sample,
)
from napari_unet.engine.training.team import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import GreyScale
    from napari_unet.core.training.training_set import Example
    from napari_unet.core.training.training_settings import Augmentation
    from napari_unet.engine.training.augmentation import Deformation
    from napari_unet.engine.training.team import Alone

# Enough pixels to choose from in one example; more would only cost memory.
_CANDIDATES = 2**18


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """The input of a step; subclasses add the targets."""

    image: Tensor  # float32, (batch, channels, *input)


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Patches):
    """Patches to learn classes from."""

    classes: Tensor  # uint8, (batch, *output)
    border: Tensor  # float32, (batch, *output)


class Sampler:
    """Draws patches where there is something to learn.

    Parameters
    ----------
    output, halo : sequence of int
        Output size of the network for a patch, and what it loses on each side.
    foreground : float
        Share of patches placed on an object; the others on any annotated pixel.
    by_cell : bool
        Whether all objects are as likely, small ones too, as they count alike in what
        people count; else all their pixels are.

    `team` shares the batches out: of each only the own part is drawn.
    """

    _batch: Callable[..., Patches] = Batch

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        output: Sequence[int],
        halo: Sequence[int],
        foreground: float,
        by_cell: bool = False,
        augmentation: Augmentation,
        device: torch.device,
        seed: int,
        team: Alone = ALONE,
    ) -> None:
        self.team = team
        self.output = tuple(output)
        self._halo = tuple(halo)
        self._inside = tuple(slice(h, h + o) for h, o in zip(halo, output, strict=True))
        self._foreground = foreground
        self._objects_of = _Mask.of_parts if by_cell else _Mask.of
        self._augmentation = augmentation
        self._device = device
        self._seed = seed
        self._examples: Sequence[Example] = ()
        self._annotated: dict[int, _Mask] = {}
        self._objects: dict[int, _Mask] = {}
        self.use(examples)

    def use(self, examples: Sequence[Example]) -> None:
        """Draw from these examples; those known before are not searched again.

        If no pixel is annotated it is a ValueError, and it goes on with those before.
        """
        annotated, objects = {}, {}
        for number, e in enumerate(examples):
            # a generator for each, so that it does not matter which are searched again
            rng = np.random.default_rng([self._seed, 0, number])
            key, known = id(e), e.classes != IGNORED
            annotated[key] = self._annotated.get(key) or _Mask.of(known, rng)
            objects[key] = self._objects.get(key) or self._objects_of(
                known & (e.classes > 0), rng
            )
        anywhere = _Candidates([annotated[id(e)] for e in examples])
        if not anywhere.count:
            raise ValueError("nothing is annotated: paint some cells and background.")
        self._examples, self._annotated, self._objects = examples, annotated, objects
        self._anywhere = anywhere
        self._on_objects = _Candidates([objects[id(e)] for e in examples])

    def draw(self, step: int, size: int) -> Patches:
        """Draw `size` patches for a step; the same step draws the same batch."""
        rng = np.random.default_rng([self._seed, 1, step])
        own = self.team.part(size)
        examples, deformations, centres = zip(
            *[self._draw_patch(rng) for _ in range(size)][own], strict=True
        )
        window = [o + 2 * h for o, h in zip(self.output, self._halo, strict=True)]
        at = coordinates(deformations, window, centres, self._device)
        inner = at[(slice(None), slice(None), *self._inside)]
        images = [
            self._image(example, *frame)
            for example, frame in zip(examples, _frames(at), strict=True)
        ]
        labels = [
            self._labels(example, *frame)
            for example, frame in zip(examples, _frames(inner), strict=True)
        ]
        return self._batch(
            change_greys(
                torch.stack(images),
                self._augmentation,
                rng,
                self._spread(examples),
                (size, own),
            ),
            *(torch.stack(parts) for parts in zip(*labels, strict=True)),
        )

    def _spread(self, examples: Sequence[Example]) -> Tensor | None:
        """Return the sd of the images of patches; None if all are 1."""
        if not any(e.scale.spread for e in examples):
            return None
        # one rule holds for all examples
        found = single([e.scale.spread for e in examples], self._device)
        return found.view(*found.shape, *(1,) * len(self.output))

    def _draw_patch(
        self, rng: np.random.Generator
    ) -> tuple[Example, Deformation, list[float]]:
        """Draw where a patch comes from."""
        wanted = self._on_objects if rng.random() < self._foreground else self._anywhere
        if not wanted.count:
            wanted = self._anywhere
        number, pixel = wanted.draw(rng)
        example = self._examples[number]
        deformation = self._deformation(example, rng)
        centre = self._centre(pixel, example.field.shape, deformation.matrix, rng)
        return example, deformation, centre

    def _deformation(self, example: Example, rng: np.random.Generator) -> Deformation:
        return draw_deformation(self._augmentation, example.spacing, rng)

    def _centre(
        self,
        pixel: NDArray[np.intp],
        shape: Sequence[int],
        matrix: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> list[float]:
        """Place the turned patch around a pixel, inside the field where it fits."""
        half = (np.array(self.output) - 1) / 2
        middle = (np.array(shape) - 1) / 2
        shifted = pixel - matrix @ (rng.uniform(-1, 1, len(half)) * half)
        inside = np.clip(shifted, half, 2 * middle - half)
        return [float(v) for v in np.where(half > middle, middle, inside)]

    def _image(
        self, example: Example, start: list[int], size: list[int], at: Tensor
    ) -> Tensor:
        return self._pixels(example.field, example.scale, start, size, at)

    def _pixels(
        self,
        field: Field,
        scale: GreyScale,
        start: list[int],
        size: list[int],
        at: Tensor,
        *,
        nearest: bool = False,
    ) -> Tensor:
        window = scale.apply(read_window(field, start, size))
        return sample(torch.from_numpy(window).to(self._device), at, nearest=nearest)

    def _labels(
        self, example: Example, start: list[int], size: list[int], at: Tensor
    ) -> tuple[Tensor, Tensor]:
        classes = padded(example.classes, start, size, IGNORED).astype(np.float32)
        border = padded(example.border, start, size, 0)
        moved = sample(
            torch.from_numpy(classes[None]).to(self._device), at, nearest=True
        )
        weight = sample(torch.from_numpy(border[None]).to(self._device), at)
        return moved[0].to(torch.uint8), weight[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Mask:
    """Pixels of a field, or its parts: how many, and flat indices to choose from."""

    shape: tuple[int, ...]
    count: int
    chosen: NDArray[np.intp]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], rng: np.random.Generator) -> _Mask:
        found = np.flatnonzero(mask)
        count = len(found)
        if count > _CANDIDATES:
            found = rng.choice(found, _CANDIDATES, replace=False)
        return cls(mask.shape, count, found)

    @classmethod
    def of_parts(cls, mask: NDArray[np.bool_], rng: np.random.Generator) -> _Mask:
        """Choose as many pixels of each connected part, whatever its size."""
        found = np.flatnonzero(mask)
        if not len(found):
            return cls(mask.shape, 0, found)
        parts, count = label(mask)
        of = parts.ravel()[found]
        share = 1 / np.bincount(of)[of] / count
        chosen = rng.choice(found, min(len(found), _CANDIDATES), p=share)
        return cls(mask.shape, count, chosen)


class _Candidates:
    """Pixels, or parts, of several fields to choose from, all alike."""

    def __init__(self, masks: Sequence[_Mask]) -> None:
        self._masks = masks
        self._counts = np.array([m.count for m in masks], np.float64)
        self.count = int(self._counts.sum())

    def draw(self, rng: np.random.Generator) -> tuple[int, NDArray[np.intp]]:
        """Return the number of a field and a pixel ([z,] y, x) of it."""
        number = int(rng.choice(len(self._counts), p=self._counts / self.count))
        mask = self._masks[number]
        flat = rng.choice(mask.chosen)
        return number, np.array(np.unravel_index(flat, mask.shape))


def _frames(at: Tensor) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """Yield start and size of the box around each patch, and coordinates in it."""
    flat = at.flatten(2)
    low, high = flat.aminmax(dim=2)
    first = low.floor()
    local = (flat - first[:, :, None]).unflatten(2, at.shape[2:])
    starts, stops = first.int().tolist(), high.ceil().int().tolist()
    for start, stop, inside in zip(starts, stops, local, strict=True):
        yield start, [b - a + 1 for a, b in zip(start, stop, strict=True)], inside


def padded(
    array: NDArray[Any], start: Sequence[int], size: Sequence[int], fill: int
) -> NDArray[Any]:
    """Cut a box out of an array, with a constant beyond its edges."""
    out = np.full(size, fill, array.dtype)
    source, target = [], []
    for a, n, length in zip(start, size, array.shape, strict=True):
        low, high = max(a, 0), max(min(a + n, length), max(a, 0))
        source.append(slice(low, high))
        target.append(slice(low - a, high - a))
    out[tuple(target)] = array[tuple(source)]
    return out
