from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest
import skimage.io
import tifffile
from zarr.storage import LocalStore

from napari_unet.core.cells.label_colours import label_colours
from napari_unet.core.images.image import Image
from napari_unet.io import export
from napari_unet.io.export import (
    fits_imagej,
    label_blocks,
    write_labels,
    write_probabilities,
)
from napari_unet.io.images import read_image, read_labels

if TYPE_CHECKING:
    from pathlib import Path

    from zarr.core.buffer import Buffer

SIZES = {"z": 2.0, "y": 0.325, "x": 0.65}
LENGTHS = {"t": 2, "z": 3, "c": 4, "y": 5, "x": 6}


def sizes(axes: str) -> tuple[float, ...]:
    return tuple(SIZES[a] for a in "zyx" if a in axes)


def array(axes: str) -> np.ndarray:
    shape = [LENGTHS[a] for a in axes]
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def reordered(data: np.ndarray, axes: str, order: str) -> np.ndarray:
    return data.transpose([axes.index(a) for a in order])


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("axes", ["cyx", "zcyx", "tcyx", "tzcyx", "czyx", "yxc"])
@pytest.mark.parametrize("known", [True, False])
def test_probabilities_come_back_equal(
    tmp_path: Path, suffix: str, axes: str, known: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    data = array(axes)
    spacing = sizes(axes) if known else None
    write_probabilities(path, data, axes, spacing)
    image = read_image(path)
    order = "tczyx" if suffix == ".zarr" else "tzcyx"
    assert image.axes == "".join(a for a in order if a in axes)
    assert image.data.dtype == np.float32
    np.testing.assert_array_equal(
        np.asarray(image.data[...]), reordered(data, axes, image.axes)
    )
    assert image.spacing_um == (pytest.approx(spacing) if known else None)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx", "tzyx"])
@pytest.mark.parametrize(
    ("most", "dtype"), [(255, "u1"), (256, "u2"), (65535, "u2"), (65536, "u4")]
)
def test_labels_come_back_equal_in_the_smallest_type(
    tmp_path: Path, suffix: str, axes: str, most: int, dtype: str
) -> None:
    labels = np.zeros([LENGTHS[a] for a in axes], np.int64)
    labels[..., 1, 2] = most
    path = tmp_path / f"a{suffix}"
    write_labels(path, labels, axes, sizes(axes))
    image = read_labels(path)
    assert (image.axes, image.data.dtype) == (axes, np.dtype(dtype))
    assert image.spacing_um == pytest.approx(sizes(axes))
    np.testing.assert_array_equal(np.asarray(image.data[...]), labels)


def test_label_tiffs_are_compressed_hyperstacks_that_fiji_shows_in_full_range(
    tmp_path: Path,
) -> None:
    labels = np.zeros((3, 50, 60), np.uint16)
    labels[1, 2, 3] = 300
    write_labels(tmp_path / "a.tif", labels, "zyx", (2.0, 0.5, 0.5))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        meta = file.imagej_metadata
        assert meta is not None
        assert (meta["min"], meta["max"]) == (0, 300)
        # of minisblack pages only ImageJ takes it for colours
        assert file.pages.first.photometric.name == "MINISBLACK"
        table = np.reshape(file.pages.first.tags["ColorMap"].value, (3, 256)).T
        np.testing.assert_array_equal(table, label_colours(range(256)) * 257.0)
        assert (meta["slices"], meta["unit"], meta["spacing"]) == (3, "micron", 2.0)
        assert file.pages.first.compression.name == "ADOBE_DEFLATE"
        assert len(file.pages) == 3  # ImageJ needs each compressed plane as a page
        assert file.pages.first.tags["ResolutionUnit"].value == 1


@pytest.mark.parametrize(
    ("most", "shown"), [(1, 255), (255, 255), (256, 256), (501, 500), (65535, 500)]
)
def test_no_label_is_black_in_fiji(tmp_path: Path, most: int, shown: int) -> None:
    write_labels(tmp_path / "a.tif", np.full((4, 5), most), "yx")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.imagej_metadata is not None
        assert (file.imagej_metadata["min"], file.imagej_metadata["max"]) == (0, shown)
    # ImageJ's 16 bits: index in the colour table, in its versions
    assert min(int(256 / (shown + 1) + 0.5), int(255 / (shown + 1) + 0.5)) >= 1


@pytest.mark.parametrize("most", [200, 65535])
def test_other_readers_see_the_labels_and_not_their_colours(
    tmp_path: Path, most: int
) -> None:
    labels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    labels[3, 4] = most
    write_labels(tmp_path / "a.tif", labels, "yx")
    with PIL.Image.open(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), labels)
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "a.tif"), labels)


def test_an_empty_mask_has_a_display_range_too(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.tif", np.zeros((4, 5), bool), "yx")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.imagej_metadata is not None
        assert (file.imagej_metadata["min"], file.imagej_metadata["max"]) == (
            0,
            255,
        )


def test_each_class_is_shown_from_zero_to_one(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "a.tif", array("cyx"), "cyx")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        meta = file.imagej_metadata
        assert meta is not None
        assert meta["channels"] == 4
        assert meta["Ranges"] == (0.0, 1.0) * 4


def test_what_imagej_cannot_hold_is_an_ome_tiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fits_imagej(np.dtype("f4"), 2**32 - 2**25)
    assert not fits_imagej(np.dtype("f4"), 2**32 - 2**25 + 1)
    assert not fits_imagej(np.dtype("u4"), 100)
    data = array("zcyx")
    monkeypatch.setattr(export, "_IMAGEJ_BYTES", data.nbytes - 1)
    write_probabilities(tmp_path / "a.tif", data, "zcyx", (2.0, 0.5, 0.5))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert (file.is_ome, file.is_bigtiff, file.is_imagej) == (True, True, False)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, data)
    assert image.spacing_um == (2.0, 0.5, 0.5)


def test_foreign_arrays_are_refused_in_a_sentence(tmp_path: Path) -> None:
    plane = np.zeros((4, 5), int)
    with pytest.raises(ValueError, match=r"a\.png: images are written to .*'\.png'"):
        write_labels(tmp_path / "a.png", plane, "yx")
    with pytest.raises(ValueError, match="labels must be integers, found float64"):
        write_labels(tmp_path / "a.tif", plane + 0.5, "yx")
    with pytest.raises(ValueError, match="from 0 to 4294967295, found -1 to -1"):
        write_labels(tmp_path / "a.tif", plane - 1, "yx")
    with pytest.raises(ValueError, match="found 4294967296 to 4294967296"):
        write_labels(tmp_path / "a.tif", plane + 2**32, "yx")
    with pytest.raises(ValueError, match="labels have no channels, found axes 'cyx'"):
        write_labels(tmp_path / "a.tif", plane[None], "cyx")
    with pytest.raises(ValueError, match="need the axis c"):
        write_probabilities(tmp_path / "a.tif", plane, "yx")
    with pytest.raises(ValueError, match="the image is empty"):
        write_labels(tmp_path / "a.tif", plane[:0], "yx")
    with pytest.raises(ValueError, match="axes 'zyx' name 3 axes"):
        write_labels(tmp_path / "a.tif", plane, "zyx")
    with pytest.raises(ValueError, match="pixel size needs 2 positive values"):
        write_labels(tmp_path / "a.tif", plane, "yx", (0.0, 1.0))
    assert list(tmp_path.iterdir()) == []


# A limit on the size of a file makes the real write fail as a full disk does.
FULL = """
import resource, sys
import numpy as np
from napari_unet.io.export import write_labels, write_probabilities
noise = np.random.default_rng(0).random((2, 300, 300), dtype=np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))
try:
    if sys.argv[2] == "labels":
        write_labels(sys.argv[1], (noise * 60000).astype(np.uint16), "zyx")
    else:
        write_probabilities(sys.argv[1], noise, "cyx")
except OSError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on file sizes")
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
def test_a_disk_that_takes_no_more_leaves_nothing_half_written(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    path = tmp_path / f"a{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), kind],
        capture_output=True,
        text=True,
        check=False,
    )
    reason = f"{path}: cannot be written, the file is larger than the disk allows."
    assert done.stderr.splitlines() == [reason]
    assert list(tmp_path.iterdir()) == []


def test_what_zarr_writes_after_a_failure_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first chunk fails at once, the others are slow.
    put, keys, written = LocalStore.set, [], []

    async def slow(store: LocalStore, key: str, value: Buffer) -> None:
        if "/c/" in key:
            keys.append(key)
            if len(keys) == 1:
                raise OSError(errno.ENOSPC, "no space left")
            await asyncio.sleep(0.2)
        await put(store, key, value)
        written.append(key)

    monkeypatch.setattr(LocalStore, "set", slow)
    with pytest.raises(OSError, match="the disk is full"):
        write_probabilities(
            tmp_path / "a.zarr", np.ones((2, 1300, 1300), np.float32), "cyx"
        )
    assert set(keys[1:]) <= set(written), "some would still be written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_folder_that_cannot_be_written_gives_one_sentence(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="cannot be written, its folder"):
        write_labels(tmp_path / "file" / f"a{suffix}", np.zeros((4, 5), int), "yx")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr"])
def test_the_size_of_y_and_x_is_written_without_that_of_z(
    tmp_path: Path, name: str
) -> None:
    labels = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
    write_labels(tmp_path / name, labels, "zyx", (0.5, 0.25))
    image = read_image(tmp_path / name)
    assert image.spacing_um is None
    assert image.yx_um == pytest.approx((0.5, 0.25))


class Computed:
    """An array that exists only where it is read: the value of a pixel is its row.

    `largest` is the most that was asked for at once, in bytes.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.largest = 0

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        rows = np.arange(self.shape[-2])[:, np.newaxis].astype(self.dtype)
        part = np.broadcast_to(rows, self.shape)[key].copy()
        self.largest = max(self.largest, part.nbytes)
        return part


@pytest.mark.parametrize(
    ("name", "axes", "shape"),
    [
        # planes of a stack one by one, and the blocks of one large plane
        ("a.tif", "zyx", (200, 500, 600)),
        ("a.ome.tif", "yx", (7000, 8600)),
        ("a.zarr", "yx", (7000, 8600)),
    ],
)
def test_what_is_larger_than_memory_is_written_part_by_part(
    tmp_path: Path, name: str, axes: str, shape: tuple[int, ...]
) -> None:
    labels = Computed(shape, "<i4")
    whole = np.prod(shape) * 4
    write_labels(tmp_path / "small.tif", np.ones((2, 3), np.uint8), "yx")  # imports
    tracemalloc.start()
    try:
        write_labels(tmp_path / name, labels, axes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert labels.largest <= 1024 * 2048 * 4
    assert peak < whole / 2
    found = read_labels(tmp_path / name).data
    np.testing.assert_array_equal(found[..., 0], labels[..., 0])
    np.testing.assert_array_equal(found[..., -1], labels[..., -1])


def test_writing_block_by_block_can_be_given_up(tmp_path: Path) -> None:
    blocks = label_blocks(tmp_path / "a.zarr", np.ones((2, 600, 700), int), "zyx")
    assert next(blocks) is None
    for _ in range(3):  # two planes are looked at, one is written
        next(blocks)
    blocks.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "dtype", ["i8", "u8", "f2", "f8", "i4", "u4", "?", "i1", ">u2"]
)
@pytest.mark.parametrize("most", [1, 100, 2**31 - 1, 2**40])
def test_pixels_of_each_type_are_kept(tmp_path: Path, dtype: str, most: int) -> None:
    kind = np.dtype(dtype)
    if kind.kind in "iu" and most > np.iinfo(kind).max:
        pytest.skip("the type has no such number")
    if kind.kind == "b" or kind == np.float16:
        most = 1
    values = np.array([[0, most], [most // 2, 1]]).astype(kind)
    path = tmp_path / "a.ome.tif"
    export.write_pixels(path, Image(values, "yx", (0.5, 0.25)))
    image = read_image(path)
    np.testing.assert_array_equal(image.data, values)
    assert image.spacing_um == (0.5, 0.25)


def test_negative_pixels_of_64_bits_are_kept(tmp_path: Path) -> None:
    for values in ([-5, 3], [-5, 2**31], [-(2**40), 7]):
        export.write_pixels(tmp_path / "a.ome.tif", Image(np.array([values]), "yx"))
        data = read_image(tmp_path / "a.ome.tif").data
        np.testing.assert_array_equal(data, [values])
