"""What two models find in the same part of a slice, to be seen side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.instances import most_probable, segment_instances
from napari_unet.core.events import MasksCompared
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import frame_of, measure
from napari_unet.core.images.thumbnail import as_picture
from napari_unet.core.metrics.objects import match
from napari_unet.engine.inference.overlap_tile import predict

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import CompareMasksJob
    from napari_unet.engine.worker.model_cache import Context


def run(job: CompareMasksJob, context: Context) -> Iterator[Event | None]:
    """Find the masks of both; None comes after each tile, `MasksCompared` last.

    A model that makes no masks, or does not fit the image, is a ValueError.
    """
    image = job.image.open()
    masks, of_cells = [], []
    for path in job.models:
        mask, has_cells = yield from _mask(job, image, path, context)
        masks.append(mask)
        of_cells.append(has_cells)
    one, other = masks
    none = np.zeros(0, np.int32)
    alone = none, none
    if all(of_cells):
        matching = match(one, other)
        alone = (
            np.setdiff1d(one, [0, *matching.prediction]),
            np.setdiff1d(other, [0, *matching.truth]),
        )
    pixels = Field(image, job.t, job.z).read(job.box)
    yield MasksCompared(as_picture(pixels), (one, other), alone, all(of_cells))


def _mask(
    job: CompareMasksJob, image: Image, path: str, context: Context
) -> Generator[None, None, tuple[NDArray[np.integer], bool]]:
    """Return the cells of a model, or the classes if it finds none, and which."""
    network, card = context.cache.network(path, job.settings)
    if card.training.task != "segment":
        raise ValueError(f"{card.name} makes images, no masks.")
    ndim = network.geometry.ndim
    field = Field(image, job.t, job.z if ndim == 2 else None)
    part = Image(
        field.read(),
        "c" + "zyx"[-ndim:],
        image.pixel_size(ndim),
        image.name,
        yx_um=image.yx_um,
    )
    # grey values are those of the frame, as in a prediction
    rule = network.normalisation
    known, (t, z) = context.cache.scales(job.image, rule), frame_of(field, rule)
    if (t, z) not in known:
        known[t, z] = measure(image, t, rule, z)
    scales = {(0, None if z is None else 0): known[t, z]}
    region = job.box if ndim == 2 else (slice(0, part.size("z")), *job.box)
    found = np.zeros((card.architecture.classes, *part.field_shape(ndim)), np.float32)
    for _ in predict(
        network,
        part,
        out=found,
        settings=job.settings,
        region=region,
        scales=scales,
    ):
        yield None
    found = found[(slice(None), *region)]
    mask: NDArray[np.integer] = most_probable(found)
    if card.cell_classes:
        mask = segment_instances(
            found,
            network.for_image(card.segmentation, network.factors(part, job.settings)),
            cell_classes=card.cell_classes,
            spacing=image.field_spacing(ndim),
        )
    return (mask if ndim == 2 else mask[job.z]), bool(card.cell_classes)
