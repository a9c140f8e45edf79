"""Arrays shared between processes: where they lie, and reading them back."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from napari_unet.core.annotation.annotations import ClassInfo, FinishedPart
from napari_unet.core.images.array_reference import (
    AnnotationReference,
    ArrayReference,
    ImageReference,
)

if TYPE_CHECKING:
    from pathlib import Path


def _raw(path: Path, values: np.ndarray) -> ArrayReference:
    stored = ArrayReference.create(path, values.shape, values.dtype.str)
    stored.open(writable=True)[...] = values
    return stored


def test_a_new_array_is_zero_and_keeps_what_is_written(tmp_path: Path) -> None:
    stored = ArrayReference.create(tmp_path / "a.raw", (2, 3), "int32")
    stored.open(writable=True)[1, 2] = 7
    np.testing.assert_array_equal(stored.open(), [[0, 0, 0], [0, 0, 7]])


def test_arrays_made_in_a_folder_are_apart_and_can_be_removed(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    one, other = (ArrayReference.create_in(folder, "p", (2,), "int8") for _ in "ab")
    one.open(writable=True)[:] = 1
    assert not other.open().any()
    one.remove()
    one.remove()
    assert [str(path) for path in folder.iterdir()] == [other.path]


def test_a_record_without_pixels_travels(tmp_path: Path) -> None:
    stored = _raw(tmp_path / "a.raw", np.arange(6, dtype=np.uint16).reshape(2, 3))
    again = pickle.loads(pickle.dumps(stored))
    assert again == stored
    np.testing.assert_array_equal(again.open(), [[0, 1, 2], [3, 4, 5]])


def test_reading_only_cannot_write(tmp_path: Path) -> None:
    stored = ArrayReference.create(tmp_path / "a.raw", (2,), "int32")
    with pytest.raises(ValueError, match="read-only"):
        stored.open()[0] = 1


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ArrayReference(str(tmp_path / "no.raw"), (2,), "int32").open()


def test_an_offset_skips_the_header_of_another_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([5, 6], np.int32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    stored = ArrayReference(
        str(tmp_path / "a.npy"), (2,), "int32", offset=mapped.offset
    )
    np.testing.assert_array_equal(stored.open(), [5, 6])


def test_a_zarr_array_is_opened_where_it_is(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4,), dtype="uint8")
    array[:] = [1, 2, 3, 4]
    stored = ArrayReference(str(tmp_path / "a.zarr"), (4,), "uint8", "zarr")
    np.testing.assert_array_equal(stored.open()[1:3], [2, 3])


def test_layers_become_channels_that_are_read_block_by_block(tmp_path: Path) -> None:
    first = _raw(tmp_path / "1.raw", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    second = _raw(tmp_path / "2.raw", np.full((2, 3, 4), 300, np.uint16))
    image = ImageReference((first, second), "zyx", (2.0, 1.0, 1.0), "two").open()
    assert (image.axes, image.channels, image.data.dtype) == ("czyx", 2, np.uint16)
    field = list(image.fields(2))[1]
    block = field.read((slice(1, 2), slice(2, 4)))
    np.testing.assert_array_equal(block, [[[18, 19]], [[300, 300]]])


def test_one_layer_keeps_its_axes(tmp_path: Path) -> None:
    rgb = _raw(tmp_path / "rgb.raw", np.zeros((5, 6, 3), np.uint8))
    image = ImageReference((rgb,), "yxc", None, "rgb").open()
    assert image.channels == 3
    assert next(image.fields(2)).shape == (5, 6)


def test_transparency_is_no_channel_of_an_image(tmp_path: Path) -> None:
    colours = np.arange(4 * 5 * 4, dtype=np.uint8).reshape(4, 5, 4)
    stored = ArrayReference.create(tmp_path / "rgba.raw", (4, 5, 4), "uint8")
    stored.open(writable=True)[...] = colours
    image = ImageReference((stored,), "yxc", None, "rgba", samples=3).open()
    assert (image.data.shape, image.data.dtype) == ((4, 5, 3), np.uint8)
    for key in (..., 1, (1, ...), (..., 2), (slice(1, 3), 2, slice(1, None))):
        np.testing.assert_array_equal(image.data[key], colours[..., :3][key])


def _annotation(tmp_path: Path, *finished: FinishedPart) -> AnnotationReference:
    labels = np.zeros((2, 4, 5), np.int32)
    labels[1, 1:3, 1:3] = 2
    stored = _raw(tmp_path / "labels.raw", labels)
    return AnnotationReference(stored, "zyx", (ClassInfo(),), {2: 1}, finished)


def test_an_annotation_is_read_plane_by_plane(tmp_path: Path) -> None:
    annotation = _annotation(tmp_path)
    assert not annotation.field(0, 0).labels.any()
    plane = annotation.field(0, 1)
    assert (plane.labels == 2).sum() == 4
    assert plane.finished is None


def test_a_box_of_a_plane_is_read_alone(tmp_path: Path) -> None:
    part = _annotation(tmp_path).field(0, 1, (slice(0, 2), slice(2, 5)))
    np.testing.assert_array_equal(part.labels, [[0, 0, 0], [2, 0, 0]])


def test_finished_parts_count_in_their_plane_only(tmp_path: Path) -> None:
    annotation = _annotation(tmp_path, FinishedPart(t=0, z=1, box=((0, 2), (0, 5))))
    assert annotation.field(0, 0).finished is None
    plane = annotation.field(0, 1)
    assert plane.finished is not None
    np.testing.assert_array_equal(plane.finished[:, 0], [True, True, False, False])
    part = annotation.field(0, 1, (slice(1, 3), slice(0, 1)))
    assert part.finished is not None
    np.testing.assert_array_equal(part.finished[:, 0], [True, False])


def test_finished_slices_are_finished_in_the_volume(tmp_path: Path) -> None:
    annotation = _annotation(tmp_path, FinishedPart(t=0, z=1, box=((0, 2), (0, 5))))
    volume = annotation.field(0, None)
    assert volume.labels.shape == (2, 4, 5)
    assert volume.finished is not None
    assert volume.finished[1, :2].all()
    assert volume.finished.sum() == 10
