"""What is annotated of a project."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.images.image import Image
from napari_unet.core.suggestions.known import Annotated, KnownParts, find_annotated

if TYPE_CHECKING:
    from napari_unet.core.geometry.boxes import Box


def parts_of(labels: np.ndarray, *classes: str) -> KnownParts:
    """Planes (z, y, x) of which some are annotated."""
    kinds = tuple(
        ClassInfo(name=f"{kind} {k}", kind=kind)  # type: ignore[arg-type]
        for k, kind in enumerate(classes or ("cells",))
    )

    def read(t: int, z: int, box: Box) -> Annotation:
        return Annotation(labels[z][box], kinds, {9: 2} if len(kinds) > 1 else {})

    places = {(0, z) for z in range(len(labels)) if labels[z].any()}
    return KnownParts(places, read)


def annotated(images: list[Image], known: list[KnownParts | None]) -> Annotated:
    search = find_annotated(images, known)
    while True:
        try:
            next(search)
        except StopIteration as end:
            return end.value


def test_annotated_tiles_and_cells_are_found() -> None:
    labels = np.zeros((3, 256, 384), np.int32)
    labels[1, :64, 256:] = 1
    # a cell across two lines of tiles, in one piece
    labels[1, 118:138, 300:320] = 2
    labels[1, 10:20, 300:310] = 3
    labels[1, 200:210, 10:20] = 9  # of a class of regions
    images = [Image(np.zeros((3, 256, 384), np.uint8), "zyx")] * 2
    known = [None, parts_of(labels, "cells", "regions")]
    found = annotated(images, known)
    shares = {(p.image, p.z, p.box[0].start, p.box[1].start): s for p, s in found.tiles}
    assert shares == {
        (1, 1, 0, 256): pytest.approx((64 * 128 + 200) / 128**2),
        (1, 1, 128, 256): pytest.approx(200 / 128**2),
        (1, 1, 128, 0): pytest.approx(100 / 128**2),
    }
    expected = [2 * (n / pi) ** 0.5 for n in (100, 400)]
    assert sorted(found.diameters) == pytest.approx(expected)


def test_nothing_is_known_where_there_is_no_annotation() -> None:
    labels = np.zeros((2, 40, 40), np.int32)
    labels[1, :20] = 1
    known = parts_of(labels)
    box = slice(0, 40), slice(0, 40)
    assert known.share(0, 0, box) == 0
    assert known.share(0, 1, box) == 0.5
    image = Image(np.zeros((2, 40, 40), np.uint8), "zyx")
    assert annotated([image], [None]).tiles == ()
