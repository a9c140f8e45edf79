"""The border weights of a plane, for the overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.events import WeightsComputed
from napari_unet.core.training.loss_weights import border_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import WeightsJob

# Rows computed between two chances to cancel.
_BAND = 512


def run(job: WeightsJob) -> Iterator[Event | None]:
    """Compute the weights into the job's array, band by band.

    None after each band, `WeightsComputed` at the end. An array that does not have the
    plane's shape is a ValueError.
    """
    annotation = job.annotation.field(job.t, job.z)
    height, width = annotation.labels.shape
    if job.weights.shape != (height, width):
        raise ValueError(
            f"the weights need an array of shape {(height, width)}, "
            f"found {job.weights.shape}."
        )
    targets = annotation.targets()
    background = targets.classes == 0
    weights = job.weights.open(writable=True)
    highest = 0.0
    yield None
    for top in range(0, height, _BAND):
        rows = slice(top, min(top + _BAND, height))
        band = border_weights(
            targets.instances,
            job.settings,
            background=background,
            class_of=annotation.class_of,
            spacing=job.spacing,
            box=(rows, slice(0, width)),
        )
        weights[rows] = band
        highest = max(highest, float(np.max(band)))
        yield None
    yield WeightsComputed(job.t, job.z, highest)
