"""What a network means that makes an image: from its values to grey values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from napari_unet.core.images.normalisation import GreyScale
from napari_unet.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class ImageOutputs(Settings):
    """The grey values of the channels that a network makes, learnt as mean 0, sd 1."""

    mean: tuple[float, ...] = Field(
        (),
        description="Of each channel in all targets that were learnt from; empty if "
        "the channels are those of the image itself, with its own statistics.",
    )
    sd: tuple[float, ...] = Field((), description="Standard deviation, likewise.")

    @model_validator(mode="after")
    def _of_each_channel(self) -> Self:
        if len(self.mean) != len(self.sd) or not all(s > 0 for s in self.sd):
            raise ValueError(
                "each channel has a mean and a positive standard deviation, found "
                f"{self.mean} and {self.sd}."
            )
        return self

    def restore(
        self, values: NDArray[np.float32], scale: GreyScale
    ) -> NDArray[np.float32]:
        """Return the grey values of what a network gives, (channels, [z,] y, x).

        `scale` is that of the image it was shown.
        """
        mean, sd = (self.mean, self.sd) if self.mean else (scale.mean, scale.sd)
        shape = (-1, *(1,) * (values.ndim - 1))
        restored: NDArray[np.float32] = values * np.reshape(
            np.asarray(sd, np.float32), shape
        ) + np.reshape(np.asarray(mean, np.float32), shape)
        return restored


def unclipped(mean: Sequence[float], sd: Sequence[float]) -> GreyScale:
    """Return the scale of targets: no value is cut off, or brightness would be lost."""
    ends = (float("inf"),) * len(mean)
    low = tuple(-end for end in ends)
    return GreyScale(low, ends, tuple(mean), tuple(sd))
