"""Objects of other programs as annotation, with their classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    UNKNOWN,
    Annotation,
    ClassInfo,
)
from napari_unet.core.cells.label_ids import distinct, numbered
from napari_unet.core.images.image import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.cells.objects import Objects


def classes_of(objects: Sequence[Objects]) -> tuple[ClassInfo, ...]:
    """Return the classes of all objects, each name once: of cells; one at least."""
    names = dict.fromkeys(kind.name for one in objects for kind in one.classes)
    return tuple(ClassInfo(name=name) for name in names) or (ClassInfo(),)


def annotations_from(
    objects: Objects, classes: tuple[ClassInfo, ...], ndim: int
) -> list[Annotation]:
    """Return each plane or volume annotated by objects: all else is background.

    `classes` have the names of those of the objects. An object without a class is not
    annotated where there are several, nor is what is not known. Ids are numbered anew,
    in their order.
    """
    fields = [field.read()[0] for field in objects.labels.fields(ndim)]
    each = [distinct(field).astype(np.uint64) for field in fields]
    ids = np.unique(np.concatenate(each))
    names = [c.name for c in classes]
    new = np.arange(ids[ids > 0].size + 1, dtype=np.int32) + BACKGROUND
    class_of: dict[int, int] = {}
    for label, old in enumerate(ids[ids > 0].tolist(), start=FIRST_OBJECT):
        kind = objects.class_named(old)
        if kind is not None:
            class_of[label] = names.index(kind.name) + 1
        elif len(classes) > 1:
            new[label - BACKGROUND] = UNKNOWN
    planes = [new[field] for field in numbered(fields)]
    if objects.unknown is not None:
        unknown = Image(objects.unknown, objects.labels.axes)
        for plane, field in zip(planes, unknown.fields(ndim), strict=True):
            plane[field.read()[0] & (plane == BACKGROUND)] = UNKNOWN
    return [Annotation(plane, classes, class_of) for plane in planes]
