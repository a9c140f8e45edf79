"""Batches of images and their targets, without interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.engine.training.augmentation import Deformation
from napari_unet.engine.training.sampling import Patches, Sampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.training.training_set import Example


@dataclass(frozen=True, slots=True, eq=False)
class ImageBatch(Patches):
    """Patches to learn an image from."""

    target: Tensor  # float32, (batch, channels, *output)
    weight: Tensor  # float32, (batch, *output); 0 where there is no target


class ImageSampler(Sampler):
    """Draws patches with their targets, mirrored and turned by quarters in y and x.

    So each pixel of a patch is one of the image: nothing is interpolated.
    """

    _batch = ImageBatch
    # whether y and x may change places
    _turns = True

    def _deformation(self, example: Example, rng: np.random.Generator) -> Deformation:
        ndim = example.field.ndim
        matrix = np.eye(ndim)
        if self._augmentation.mirror:
            if rng.random() < 0.5 and self._turns:
                matrix[-2:, -2:] = [[0, 1], [1, 0]]
            matrix = matrix @ np.diag(rng.choice([-1.0, 1.0], size=ndim))
        return Deformation(matrix, np.zeros((ndim, *(3,) * ndim)))

    def _centre(
        self,
        pixel: NDArray[np.intp],
        shape: Sequence[int],
        matrix: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> list[float]:
        # between pixels along axes on which a patch has an even number of them
        half = (np.array(self.output) - 1) / 2 % 1
        centre = np.array(super()._centre(pixel, shape, matrix, rng))
        return [float(v) for v in np.floor(centre - half) + half]

    def _image(
        self, example: Example, start: list[int], size: list[int], at: Tensor
    ) -> Tensor:
        return self._pixels(example.field, example.scale, start, size, at, nearest=True)

    def _labels(
        self, example: Example, start: list[int], size: list[int], at: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return target and weight, which is 0 where the target is not finite."""
        target = example.wanted
        classes, _ = super()._labels(example, start, size, at)
        values = self._pixels(target.field, target.scale, start, size, at, nearest=True)
        return torch.nan_to_num(values, posinf=0, neginf=0), (
            classes != IGNORED
        ).float()
