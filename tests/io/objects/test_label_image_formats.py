"""What holds of every format that is a label image: label, file, label is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_labels import objects_of, random_labels
from napari_unet.core.images.image import Image
from napari_unet.io.objects.catalogue import FORMATS, format_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.cells.objects import Objects

NAMES = ["ome-zarr", "ctc", "cellpose", "ilastik"]
AXES = ["yx", "zyx", "tyx", "tzyx"]


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params.get("name")
    if name == "ilastik":
        pytest.importorskip("h5py")
        pytest.importorskip("napari_unet.io.readers.hdf5")


def written(name: str, folder: Path, objects: Objects) -> Path:
    path = folder / f"embryo{FORMATS[name].suffixes[0]}"
    FORMATS[name].write(path, objects)
    assert list(folder.iterdir()) == [path]
    return path


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", NAMES)
def test_labels_come_back_as_they_were(name: str, axes: str, tmp_path: Path) -> None:
    if name == "cellpose" and "t" in axes:
        pytest.skip("has no time")
    highest = 60_000 if name == "ctc" else 2**32 - 1
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        labels = random_labels(seed, axes, highest)
        path = written(name, folder, objects_of(labels, axes))
        like = Image(np.zeros(labels.shape, np.uint8), axes, name="like")
        for given in (like, None):
            back = FORMATS[name].read(path, given).labels
            np.testing.assert_array_equal(
                np.squeeze(np.asarray(back.data[...])), np.squeeze(labels)
            )
            if given is not None:
                assert [back.size(a) for a in axes] == list(labels.shape)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_another_size_are_of_another_image(name: str, tmp_path: Path) -> None:
    path = written(name, tmp_path, objects_of(np.ones((4, 5), int), "yx"))
    other = Image(np.zeros((5, 4), np.uint8), "yx", name="other")
    with pytest.raises(ValueError, match=r"1 × 1 × 4 × 5 pixels .* other has .* 5 × 4"):
        FORMATS[name].read(path, other)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_id_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / f"embryo{FORMATS[name].suffixes[0]}"
    for wrong in (-1, 2**32):
        with pytest.raises(ValueError, match=f"found .*{wrong}"):
            FORMATS[name].write(path, objects_of(np.array([[0, wrong]]), "yx"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_formats_are_found_by_their_names(name: str, tmp_path: Path) -> None:
    for suffix in FORMATS[name].suffixes:
        assert format_of(tmp_path / f"a{suffix}") is FORMATS[name]
