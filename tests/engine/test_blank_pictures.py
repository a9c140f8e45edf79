"""A blank picture in colour among others: it is grey if they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from example_models import random_model
from napari_unet.core.events import PredictionFinished
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.objectives.catalogue import all_pairs
from napari_unet.io.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.images.image import Image

RNG = np.random.default_rng(0)
GREY = np.repeat(RNG.integers(0, 255, (24, 30, 1), np.uint8), 3, axis=2)
COLOUR = RNG.integers(0, 255, (24, 30, 3), np.uint8)


def read(folder: Path, *pictures: np.ndarray) -> list[Image]:
    found = []
    for number, picture in enumerate(pictures):
        path = folder / f"{number}.tif"
        kind = "rgb" if picture.ndim == 3 else "minisblack"
        tifffile.imwrite(path, picture, photometric=kind)
        found.append(read_image(path))
    return found


@pytest.mark.parametrize("blank", [0, 77])
@pytest.mark.parametrize(
    ("others", "channels"),
    [
        ((GREY, GREY), 1),
        ((GREY[..., 0],), 1),
        ((COLOUR,), 3),
        ((COLOUR, GREY), 3),
        ((), 3),
    ],
)
def test_in_training_a_blank_picture_is_as_the_others(
    tmp_path: Path, blank: int, others: tuple[np.ndarray, ...], channels: int
) -> None:
    images = read(tmp_path, np.full_like(GREY, blank), *others)
    labels = [np.zeros(GREY.shape[:2], np.uint8) for _ in images]
    labels[-1][4:9, 5:12] = 1
    pairs = all_pairs(Training(ndim=2), images, labels, "instances")(2)
    assert {field.image.channels for field, _ in pairs} == {channels}
    assert all(len(field.read()) == channels for field, _ in pairs)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_sees_a_blank_picture_as_it_sees_others(
    tmp_path: Path, channels: int
) -> None:
    table = u_shape(ndim=2, channels=channels, classes=2, width=2, depth=1)
    network = prepare(random_model(table), "cpu", "fp32")
    for image in read(tmp_path, np.full_like(GREY, 9), GREY):
        last = [*predict(network, image)][-1]
        assert isinstance(last, PredictionFinished)
        assert last.probabilities.shape == (2, 24, 30)
