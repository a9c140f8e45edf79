"""Border weights around an edit: only those that it can have changed.

Loading this module loads a compiler, which takes a while; do so in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import Annotation, ClassInfo, FinishedPart
from napari_unet.core.geometry.boxes import grown, shape_of, within
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

# Distance from an edit up to which ridges change.
_RIDGE = 2


def affected(
    box: Box,
    shape: tuple[int, ...],
    settings: BorderWeights,
    spacing: Sequence[float] = (1.0, 1.0),
) -> Box:
    """Return the box of the weights that an edit of a box of a plane may have changed.

    `spacing` is the pixel size in y and x relative to the finer.
    """
    margins = [max(pixels, _RIDGE) for pixels in reach(settings, spacing)]
    return grown(box, margins, shape)


def weights_in(
    box: Box,
    labels: NDArray[np.integer],
    settings: BorderWeights,
    spacing: Sequence[float] = (1.0, 1.0),
    classes: tuple[ClassInfo, ...] = (ClassInfo(),),
    class_of: dict[int, int] | None = None,
    finished: Sequence[FinishedPart] = (),
) -> NDArray[np.float32]:
    """Compute the border weights of a box of a plane.

    Parameters
    ----------
    labels : ndarray of int, shape (y, x)
        The whole plane; only the surroundings of the box are read.
    spacing : sequence of float
        Pixel size in y and x relative to the finer.
    class_of : dict of int to int, optional
        Class number of each object, 1 unless given.
    finished : sequence of FinishedPart
        Parts of this plane in which unlabelled means background.

    Returns
    -------
    ndarray of float32, shape of `box`
        The same as in a map of the whole plane.
    """
    window = affected(box, labels.shape, settings, spacing)
    mask = None
    if finished:
        mask = np.zeros(shape_of(window), bool)
        for part in finished:
            rectangle = tuple(slice(*ends) for ends in part.box)
            mask[within(rectangle, window)] = True
    # The labels are mapped from a file that other threads write: they are read once.
    near = np.array(labels[window])
    annotation = Annotation(near, classes, class_of or {}, mask)
    targets = annotation.targets()
    return border_weights(
        targets.instances,
        settings,
        background=targets.classes == 0,
        class_of=annotation.class_of,
        spacing=spacing,
        box=within(box, window),
    )


def warm_up() -> None:
    """Load everything that the first edit needs."""
    labels = np.zeros((24, 24), np.int32)
    labels[4:10, 4:20], labels[14:20, 4:20], labels[10:14] = 2, 3, 1
    weights_in((slice(0, 24), slice(0, 24)), labels, BorderWeights())
