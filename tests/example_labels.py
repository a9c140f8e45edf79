"""Label images to write and read, with all that makes them hard."""

from __future__ import annotations

import numpy as np

from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image


def random_labels(seed: int, axes: str, highest: int) -> np.ndarray:
    """Small objects everywhere: of one pixel, in pieces, with holes, at all borders."""
    rng = np.random.default_rng(seed)
    sizes = {"t": 3, "z": 4, "y": rng.integers(1, 8), "x": rng.integers(1, 9)}
    ids = np.array([0, 1, 2, 3, 256, highest])
    labels = rng.choice(ids, [sizes[a] for a in axes])
    if len(axes) > 2:
        labels[rng.integers(len(labels))] = 0  # an empty slice, and gaps in tracks
    labels.flat[-1] = highest
    return labels


def objects_of(labels: np.ndarray, axes: str, **rest: object) -> Objects:
    spacing = {"z": 2.0, "y": 0.5, "x": 0.25}
    known = tuple(spacing[a] for a in axes if a in spacing)
    return Objects(Image(labels, axes, known, "embryo"), **rest)  # type: ignore[arg-type]
