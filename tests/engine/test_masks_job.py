"""What two models find in the same part of a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_jobs import stored_image
from example_models import cropping_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.events import MasksCompared
from napari_unet.core.images.normalisation import measure
from napari_unet.core.jobs import CompareMasksJob
from napari_unet.core.model import Model
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.engine.worker import masks_job
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.model_file import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Of two channels the second is bright in cells, the first elsewhere: two squares, and
# one that only the second slice has.
CELLS = np.zeros((2, 40, 60), np.int32)
CELLS[:, 5:15, 5:15], CELLS[:, 5:15, 30:40] = 1, 2
CELLS[1, 25:35, 10:20] = 3
PIXELS = np.stack([CELLS == 0, CELLS > 0]).astype(np.float32)
BOX = (slice(2, 40), slice(3, 55))


def sees(channel: int, kind: str = "cells", ndim: int = 2) -> Model:
    """A model that finds a cell, or a region, where a channel is bright."""
    model = cropping_model(channels=2, ndim=ndim, depth=1)
    card = model.card.replace(
        classes=(ClassInfo(name="bright", kind=kind),),  # type: ignore[arg-type]
        segmentation=Segmentation(min_size=0, ridge=0, min_distance=0),
    )
    weights = dict(model.weights)
    if channel == 0:
        weights["score.weight"] = weights["score.weight"][::-1].copy()
    return Model(card, weights)


def compared(folder: Path, *models: Model, z: int) -> MasksCompared:
    paths = []
    for number, model in enumerate(models):
        paths.append(str(folder / f"{number}.safetensors"))
        save_model(model, folder / f"{number}.safetensors")
    job = CompareMasksJob(
        (paths[0], paths[1]),
        stored_image(folder, PIXELS, "czyx", "image"),
        0,
        z,
        BOX,
        Prediction(device="cpu"),
    )
    events = list(masks_job.run(job, Context(Task(1, job), ModelCache())))
    found = events[-1]
    assert isinstance(found, MasksCompared)
    return found


def ids(found: NDArray[Any]) -> list[int]:
    return found.tolist()


@pytest.mark.parametrize("z", [0, 1])
def test_both_find_the_cells_of_the_slice_and_the_part(tmp_path: Path, z: int) -> None:
    found = compared(tmp_path, sees(1), sees(1), z=z)
    expected = CELLS[z][BOX]
    for mask in found.masks:
        np.testing.assert_array_equal(mask, expected)
    assert found.of_cells
    assert [ids(a) for a in found.alone] == [[], []]
    # the mean of the channels is the same everywhere
    assert found.grey.shape == expected.shape


def test_cells_that_one_of_them_lacks_are_named(tmp_path: Path) -> None:
    found = compared(tmp_path, sees(1), sees(0), z=1)
    assert ids(found.alone[0]) == [1, 2, 3]
    assert ids(found.alone[1]) == ids(np.unique(found.masks[1][found.masks[1] > 0]))
    # what the cells lie in is one, or several; holes are filled
    assert (found.masks[1] > 0)[CELLS[1][BOX] == 0].all()


def test_sizes_of_cells_are_those_of_the_image_whatever_size_is_learnt(
    tmp_path: Path,
) -> None:
    model = sees(1)
    training = model.card.training.replace(scale=0.5)
    # of the squares of 100 pixels none is too small, in pixels of the image
    settings = model.card.segmentation.replace(min_size=60)
    card = model.card.replace(training=training, segmentation=settings)
    found = compared(tmp_path, Model(card, model.weights), sees(1), z=1)
    assert set(np.unique(found.masks[0])) == {0, 1, 2, 3}


def test_grey_values_are_those_of_the_whole_frame(tmp_path: Path) -> None:
    class Noted(ModelCache):
        def scales(self, image: Any, rule: Any) -> Any:
            self.measured = super().scales(image, rule)
            return self.measured

    save_model(sees(1), tmp_path / "0.safetensors")
    path = str(tmp_path / "0.safetensors")
    image = stored_image(tmp_path, PIXELS, "czyx", "image")
    job = CompareMasksJob((path, path), image, 0, 1, BOX, Prediction(device="cpu"))
    cache = Noted()
    list(masks_job.run(job, Context(Task(1, job), cache)))
    # one frame, of both slices
    assert list(cache.measured) == [(0, None)]
    assert cache.measured[0, None] == measure(image.open(), 0)


def test_a_volume_is_predicted_whole_and_seen_in_its_slice(tmp_path: Path) -> None:
    found = compared(tmp_path, sees(1, ndim=3), sees(1), z=1)
    np.testing.assert_array_equal(found.masks[0] > 0, CELLS[1][BOX] > 0)


def test_regions_are_seen_as_classes(tmp_path: Path) -> None:
    found = compared(tmp_path, sees(1, "regions"), sees(1), z=1)
    np.testing.assert_array_equal(found.masks[0], CELLS[1][BOX] > 0)
    assert not found.of_cells
    assert [ids(a) for a in found.alone] == [[], []]


def test_models_that_make_images_have_no_masks(tmp_path: Path) -> None:
    restores = cropping_model(channels=2, depth=1, image=True)
    with pytest.raises(ValueError, match="makes images, no masks"):
        compared(tmp_path, sees(1), restores, z=0)
