from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from napari_unet.core.cells.instances import segment_image
from napari_unet.core.images.image import Image
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.io import samples
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model, read_card
from napari_unet.io.pretrained import (
    PRETRAINED,
    model_path,
    picture_of,
    pretrained_model,
    pretrained_models,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def cells(image: Image, name: str) -> NDArray[np.int32]:
    model = load_model(pretrained_model(name))
    *_, last = predict(model, image, settings=Prediction(device="cpu"))
    found = Image(last.probabilities, last.axes)
    return segment_image(found, 2, model.card.segmentation)


@pytest.mark.parametrize("path", pretrained_models(), ids=PRETRAINED)
def test_each_is_small_and_says_what_it_is(path: Path) -> None:
    card = read_card(path)
    assert path.stat().st_size <= 5_000_000
    assert card.name == path.stem
    assert card.steps > 0
    assert card.images
    picture = picture_of(path)
    assert picture is not None
    assert imread(picture).shape[:2] == (64, 64)
    # nobody's folders
    assert not any("/" in record.name for record in card.images)


@pytest.mark.parametrize(
    ("name", "number", "least"),
    [
        ("nuclei", 5, 0.85),
        ("histology", 0, 0.5),
        ("smear", 0, 0.5),
        ("phase_contrast", 0, 0.5),
    ],
)
def test_each_finds_cells_without_any_training(
    name: str, number: int, least: float
) -> None:
    image, truth = getattr(samples, name)()[number]
    found = cells(image, name)
    assert average_precision([found], [np.asarray(truth.data)], [0.5])[0] > least


def test_copies_of_other_bit_depths_give_the_same_masks() -> None:
    image = read_image(samples.folder("nuclei") / "images" / "IXMtest_I18_s3.tif")
    deep = np.asarray(image.data)
    expected = cells(image, "nuclei")
    # as a camera of 16 bits stores 12, and as people save 8 for figures
    sixteen = Image(deep.astype(np.uint16) * 16, "yx")
    low, high = int(deep.min()), int(deep.max())
    eight = Image(np.round((deep - low) * (255 / (high - low))).astype(np.uint8), "yx")
    np.testing.assert_array_equal(cells(sixteen, "nuclei"), expected)
    assert average_precision([cells(eight, "nuclei")], [expected], [0.9])[0] > 0.9


@pytest.mark.parametrize("rim", [0, 80])
def test_a_crop_and_a_mosaic_with_an_empty_rim_give_the_cells_of_the_frame(
    rim: int,
) -> None:
    y, x = np.indices((500, 500))
    disc = ((y - 250) ** 2 + (x - 240) ** 2 <= 10**2).astype(np.float32)
    noise = np.random.default_rng(3).normal(200, 25, disc.shape)
    frame = (gaussian_filter(disc, 1.2) * 1500 + noise).astype(np.uint16)
    mosaic = np.full((900, 1300), rim, np.uint16)
    mosaic[100:600, 200:700] = frame
    views = {"frame": frame, "crop": frame[180:310, 180:300], "mosaic": mosaic}
    found = {name: cells(Image(view, "yx"), "nuclei") for name, view in views.items()}
    areas = {name: np.bincount(labels.ravel())[1:] for name, labels in found.items()}
    assert len(areas["frame"]) == 1
    assert areas["frame"] == pytest.approx(disc.sum(), rel=0.08)
    for area in areas.values():
        assert area == pytest.approx(areas["frame"], rel=0.05)


def test_a_few_hot_pixels_change_nothing_elsewhere() -> None:
    image = read_image(samples.folder("nuclei") / "images" / "IXMtest_I18_s3.tif")
    hot = np.array(image.data)
    places = np.random.default_rng(0).integers(0, hot.shape, (20, 2))
    hot[places[:, 0], places[:, 1]] = 65535
    expected, found = cells(image, "nuclei"), cells(Image(hot, "yx"), "nuclei")
    assert average_precision([found], [expected], [0.5])[0] > 0.95


def test_a_name_on_the_command_line_is_a_file_or_a_starter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_path("nuclei") == pretrained_model("nuclei")
    assert str(model_path("other")) == "other"
    (tmp_path / "nuclei").mkdir()  # of images, say
    assert model_path("nuclei") == pretrained_model("nuclei")
    (tmp_path / "nuclei").rmdir()
    (tmp_path / "nuclei").touch()
    assert str(model_path("nuclei")) == "nuclei"


def test_an_unknown_starter_is_refused() -> None:
    with pytest.raises(
        ValueError, match="pretrained models are nuclei, histology, smear, phase"
    ):
        pretrained_model("yeast")
