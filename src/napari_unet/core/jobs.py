"""What napari asks its worker to do: frozen records, picklable, without pixels.

Jobs of the network worker need torch; those of the CPU worker do not. What comes back
are the events of `core.events`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_unet.core.settings import Prediction, Segmentation

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.array_reference import (
        AnnotationReference,
        ArrayReference,
        ImageReference,
    )
    from napari_unet.core.settings import BorderWeights
    from napari_unet.core.training.training_settings import Training

_PREDICTION = Prediction()
_SEGMENTATION = Segmentation()

Place = tuple[int, int | None]
"""Time point and slice of a plane; the slice is None for a volume."""

WorkerKind = Literal["network", "cpu"]

LIVE = "live"
"""In place of a model's path: the weights of the run in training."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Base of all jobs."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainJob(Job):
    """Train a network on annotated places.

    Attributes
    ----------
    annotations : tuple of AnnotationReference
        One for each image.
    places : tuple of tuple of (t, z)
        Of each image, the planes or volumes that have annotation.
    output : str
        Model file to write at the end.
    start : str or None
        Model file to start from.
    resume : bool
        Go on from the checkpoint.
    """

    images: tuple[ImageReference, ...]
    annotations: tuple[AnnotationReference, ...]
    places: tuple[tuple[Place, ...], ...]
    settings: Training
    output: str
    checkpoint: str
    start: str | None = None
    resume: bool = False
    device: str = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Annotation that changed while a network trains.

    Attributes
    ----------
    image : int
        Number of the image in the `TrainJob`.
    t, z : int, int or None
        Plane or volume; it may be one that had no annotation before.
    box : tuple of slice or None
        Changed pixels of the field; None for all.
    annotation : AnnotationReference
        As it is now.
    """

    image: int
    t: int
    z: int | None
    box: Box | None
    annotation: AnnotationReference


@dataclass(frozen=True, slots=True, eq=False)
class PredictJob(Job):
    """Predict probabilities and the most probable class of each pixel.

    Attributes
    ----------
    model : str
        Path of a model file, or `LIVE`.
    probabilities : ArrayReference
        float32, axes c, [t,] [z,] y, x: those of the image with c first.
    classes : ArrayReference or None
        uint8, same axes without c: 0 background, 1 and up class numbers.
    places : tuple of (t, z) or None
        In this order; all if None.
    focus : tuple of float or None
        Tiles nearest to this point of the plane come first.
    preview : bool
        Takes only a small share of the time while a network trains.
    entropy : ArrayReference or None
        float32, same axes as `classes`: uncertainty, 0 to 1.
    """

    model: str
    image: ImageReference
    probabilities: ArrayReference
    classes: ArrayReference | None = None
    places: tuple[Place, ...] | None = None
    region: Box | None = None
    focus: tuple[float, ...] | None = None
    settings: Prediction = _PREDICTION
    preview: bool = False
    entropy: ArrayReference | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LoadModelJob(Job):
    """Read a model file and keep its network ready: predicting then starts at once."""

    model: str
    settings: Prediction = _PREDICTION


@dataclass(frozen=True, slots=True, eq=False)
class FreeMemoryJob(Job):
    """Forget the models that no job uses, and give cached memory back."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentJob(Job):
    """Find the cells in probabilities (CPU worker).

    Attributes
    ----------
    probabilities : ArrayReference
        float32, axes c, [t,] [z,] y, x.
    axes : str
        Of the probabilities.
    cells : ArrayReference
        int32, same axes without c; ids from 1 in each time frame.
    ndim : {2, 3}
        Of the network.
    classes : tuple of ClassInfo
        Foreground classes of the model.
    places : tuple of (t, z)
        Planes or volumes to do, in this order.
    link : bool
        At the end, link the cells of all slices through z, as the settings say.
    """

    probabilities: ArrayReference
    axes: str
    spacing_um: tuple[float, ...] | None
    cells: ArrayReference
    ndim: Literal[2, 3]
    settings: Segmentation
    classes: tuple[ClassInfo, ...]
    places: tuple[Place, ...]
    link: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class WeightsJob(Job):
    """Compute the border weights of a whole plane for the overlay (CPU worker).

    Attributes
    ----------
    spacing : tuple of float
        Pixel size in y and x relative to the finer.
    weights : ArrayReference
        float32, (y, x).
    """

    annotation: AnnotationReference
    t: int
    z: int
    spacing: tuple[float, ...]
    settings: BorderWeights
    weights: ArrayReference


@dataclass(frozen=True, slots=True, eq=False)
class CheckJob(Job):
    """Check the annotation of some images (CPU worker).

    Attributes
    ----------
    annotations : tuple of AnnotationReference or None
        None where an image has no annotation.
    places : tuple of tuple of (t, z)
        Planes of each image that have annotation.
    halo : tuple of int
        How far the network sees, in pixels, ([z,] y, x).
    """

    images: tuple[ImageReference, ...]
    annotations: tuple[AnnotationReference | None, ...]
    places: tuple[tuple[Place, ...], ...]
    halo: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ExportJob(Job):
    """Write results to files (CPU worker).

    Attributes
    ----------
    name : str
        First part of the files' names.
    image : ImageReference
        For grey values in the table.
    cells : ArrayReference or None
        int32, axes of the image without c; None for no masks and no table.
    probabilities : ArrayReference or None
        float32, c first; they tell the class of each cell in the table.
    masks, table, maps : bool
        Whether to write the label images, the table of measurements, and the
        probabilities.
    class_masks : ArrayReference or None
        uint8, as `cells`, the number of the class of each pixel; None for no label
        image of classes.
    """

    folder: str
    name: str
    image: ImageReference
    cells: ArrayReference | None
    probabilities: ArrayReference | None
    classes: tuple[ClassInfo, ...]
    masks: bool = True
    table: bool = True
    maps: bool = True
    class_masks: ArrayReference | None = None
    format: Literal["tif", "ome.tif", "zarr"] = "tif"


@dataclass(frozen=True, slots=True, eq=False)
class PredictFolderJob(Job):
    """Predict all images of a folder into files (network worker).

    Attributes
    ----------
    source, target : str
        Folders.
    """

    model: str
    source: str
    target: str
    settings: Prediction = _PREDICTION
    segmentation: Segmentation = _SEGMENTATION
