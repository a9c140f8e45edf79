from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet.io import tiff
from napari_unet.io.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.image import Image

STACK = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


def read(path: Path, data: np.ndarray, **options: Any) -> Image:
    tifffile.imwrite(path, data, **({"photometric": "minisblack"} | options))
    return read_image(path)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8", ">u2"])
def test_types_and_values_are_kept(tmp_path: Path, dtype: str) -> None:
    image = read(tmp_path / "a.tif", STACK.astype(dtype))
    np.testing.assert_array_equal(image.data, STACK)
    assert image.data.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", "zstd"])
def test_compressions_are_read(tmp_path: Path, compression: str) -> None:
    image = read(tmp_path / "a.tif", STACK, compression=compression)
    np.testing.assert_array_equal(image.data, STACK)


@pytest.mark.parametrize("metadata", [None, {}])
def test_a_bare_stack_is_z(tmp_path: Path, metadata: Any) -> None:
    assert read(tmp_path / "a.tif", STACK, metadata=metadata).axes == "zyx"


def test_imagej_axes_and_pixel_size_are_read(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    image = read(
        tmp_path / "a.tif",
        data,
        imagej=True,
        metadata={"axes": "TZCYX", "unit": "nm", "spacing": 500},
        resolution=(1 / 100, 1 / 250),  # (x, y), pixels in a nanometre
    )
    assert image.axes == "tzcyx"
    assert image.spacing_um == pytest.approx((0.5, 0.25, 0.1))
    np.testing.assert_array_equal(image.data, data)


@pytest.mark.parametrize(
    ("metadata", "spacing"),
    [
        ({"unit": "micron"}, (1.0, 0.5, 0.5)),  # ImageJ leaves a spacing of 1 out
        ({"unit": "\\u00B5m", "spacing": -2.0}, (2.0, 0.5, 0.5)),
        ({"unit": "micron", "zunit": "nm", "spacing": 300}, (0.3, 0.5, 0.5)),
        ({"unit": "pixel", "spacing": 2.0}, None),
        ({}, None),
    ],
)
def test_imagej_units_are_understood(
    tmp_path: Path, metadata: dict[str, Any], spacing: tuple[float, ...] | None
) -> None:
    image = read(
        tmp_path / "a.tif",
        STACK,
        imagej=True,
        metadata={"axes": "ZYX", **metadata},
        resolution=(2, 2),
    )
    assert image.spacing_um == (None if spacing is None else pytest.approx(spacing))


def test_ome_axes_and_pixel_size_are_read(tmp_path: Path) -> None:
    data = np.stack([STACK, STACK + 100])
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 700}
    units = {"PhysicalSizeZUnit": "nm"}
    image = read(
        tmp_path / "a.ome.tif",
        data,
        ome=True,
        metadata={"axes": "CZYX"} | sizes | units,
    )
    assert (image.axes, image.name) == ("czyx", "a")
    assert image.spacing_um == pytest.approx((0.7, 0.2, 0.1))
    np.testing.assert_array_equal(image.data, data)


def test_ome_without_the_depth_of_a_stack_tells_no_pixel_size(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
    assert read(tmp_path / "a.ome.tif", STACK, metadata=metadata).spacing_um is None


@pytest.mark.parametrize(
    ("resolution", "unit", "spacing"),
    [
        ((20000, 10000), "CENTIMETER", (1.0, 0.5)),
        ((50800, 25400), "INCH", (1.0, 0.5)),
        ((72, 72), "INCH", None),
        ((96, 96), "INCH", None),
        ((300, 300), "INCH", None),
        ((28.3465, 28.3465), "CENTIMETER", None),  # 72 dpi
        ((118.11, 118.11), "CENTIMETER", None),  # 300 dpi
        ((20000, 20000), "NONE", None),
    ],
)
def test_a_resolution_counts_unless_it_is_a_default(
    tmp_path: Path,
    resolution: tuple[float, float],
    unit: str,
    spacing: tuple[float, float] | None,
) -> None:
    image = read(
        tmp_path / "a.tif", STACK[0], resolution=resolution, resolutionunit=unit
    )
    assert image.spacing_um == (None if spacing is None else pytest.approx(spacing))


def test_colours_become_channels_without_alpha(tmp_path: Path) -> None:
    colour = np.arange(80, dtype=np.uint8).reshape(4, 5, 4)
    for options in (
        {"extrasamples": ["unassalpha"]},
        {"extrasamples": ["unspecified"]},
    ):
        image = read(tmp_path / "a.tif", colour, photometric="rgb", **options)
        assert image.axes == "yxc"
        np.testing.assert_array_equal(image.data, colour[..., :3])
    planar = np.moveaxis(colour[..., :3], -1, 0)
    image = read(tmp_path / "b.tif", planar, photometric="rgb", planarconfig="separate")
    assert (image.axes, image.data.shape) == ("cyx", (3, 4, 5))


def test_four_channels_of_fluorescence_are_no_alpha(tmp_path: Path) -> None:
    data = np.arange(80, dtype=np.uint8).reshape(4, 5, 4)
    options: dict[str, Any] = {"planarconfig": "contig", "metadata": {"axes": "YXC"}}
    image = read(tmp_path / "a.tif", data, extrasamples=["unspecified"] * 3, **options)
    np.testing.assert_array_equal(image.data, data)


def test_a_bilevel_mask_is_uint8(tmp_path: Path) -> None:
    image = read(tmp_path / "a.tif", STACK[0] > 9)
    assert image.data.dtype == np.uint8
    np.testing.assert_array_equal(image.data, STACK[0] > 9)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_large_uncompressed_images_stay_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, byteorder: str
) -> None:
    monkeypatch.setattr(tiff, "MAPPED_FROM_BYTES", STACK.nbytes)
    image = read(tmp_path / "a.tif", STACK, imagej=True, byteorder=byteorder)
    assert type(image.data) is not np.ndarray
    assert image.data.dtype.isnative
    np.testing.assert_array_equal(image.data[1, 2:4], STACK[1, 2:4])
    small = read(tmp_path / "b.tif", STACK[:2], imagej=True)
    assert type(small.data) is np.ndarray
    packed = read(tmp_path / "c.tif", STACK, compression="zlib")
    assert type(packed.data) is np.ndarray


@pytest.mark.parametrize("mapped", [1, 2**40])
def test_a_stack_that_is_cut_off_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: int
) -> None:
    monkeypatch.setattr(tiff, "MAPPED_FROM_BYTES", mapped)
    path = tmp_path / "a.tif"
    stack = np.zeros((6, 40, 50), np.uint16)
    with tifffile.TiffWriter(path) as writer:
        for plane in stack:
            writer.write(plane, metadata=None, contiguous=False)
    assert read_image(path).data.shape == (6, 40, 50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=r"a\.tif: cannot be read.* cut off after page 3"
    ):
        read_image(path)


@pytest.mark.parametrize("mapped", [1, 2**40])
@pytest.mark.parametrize(
    "options",
    [{"imagej": True}, {"imagej": True, "compression": "zlib"}, {"ome": True}, {}],
)
def test_a_described_stack_that_is_cut_off_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mapped: int,
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr(tiff, "MAPPED_FROM_BYTES", mapped)
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).random((6, 9, 9), dtype=np.float32)
    tifffile.imwrite(path, noise, photometric="minisblack", **options)
    path.write_bytes(path.read_bytes()[:1400])  # four planes and a bit
    with pytest.raises(ValueError, match=r"a\.tif: cannot be read as an image"):
        read_image(path)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pixels must be integers or real numbers"):
        read(tmp_path / "a.tif", np.zeros((4, 5), np.complex64))
