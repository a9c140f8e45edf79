"""The objective of a training by its task."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Image, channels_of
from napari_unet.core.training.image_pairs import paired_fields
from napari_unet.core.training.objectives import spread
from napari_unet.engine.objectives.denoising import DenoisingObjective
from napari_unet.engine.objectives.regression import RegressionObjective
from napari_unet.engine.objectives.segmentation import SegmentationObjective

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.objectives.objective import Objective, Pair

_OBJECTIVES: Mapping[str, type[Objective]] = {
    "segment": SegmentationObjective,
    "regress": RegressionObjective,
    "denoise": DenoisingObjective,
}


def objective_of(settings: Training) -> Objective:
    """Return what a training with these settings learns, for one run."""
    return _OBJECTIVES[settings.task](settings)


def all_pairs(
    settings: Training,
    images: Sequence[Image | ArrayLike],
    known: Sequence[Any],
    kind: Kind | None = None,
    regions: Collection[int] | None = (),
) -> Callable[[Literal[2, 3]], Iterable[Pair]]:
    """Return what gives the pairs for networks of 2 or 3 axes, each made once.

    They are the fields of images with what is known of them; arguments as for `train`.
    A ValueError says that they do not go together.
    """
    # one of each for slices and volumes
    opened = [i if isinstance(i, Image) else Image.from_array(i) for i in images]
    if any(i.channels == 3 for i in opened):
        # of images in colour some may show nothing but grey
        opened = [i.with_channels(3) for i in opened]

    @cache
    def pairs(ndim: Literal[2, 3]) -> Iterable[Pair]:
        if settings.task == "segment":
            found = annotated_fields(opened, known, ndim, kind)
            channels_of(field.image for field, _ in found)
            if regions == ():
                return found
            return [(field, those.with_regions(regions)) for field, those in found]
        if settings.task == "regress":
            channels_of(opened)
            return paired_fields(opened, known, ndim)
        if known:
            raise ValueError(
                "to denoise, nothing but the images is needed, found "
                f"{len(known)} more."
            )
        channels_of(opened)
        fields = [field for image in opened for field in image.fields(ndim)]
        return [(field, None) for field in spread(fields)]

    return pairs
