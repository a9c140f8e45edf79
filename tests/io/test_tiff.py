from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_unet.io import tiff
from napari_unet.io.images import read_image, read_labels

if TYPE_CHECKING:
    from napari_unet.core.images.image import Image

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
        ({"unit": "inch", "spacing": 2.0}, None),  # 2 dpi
        ({"unit": "mm", "spacing": 2.0}, (2000.0, 500.0, 500.0)),  # a stereo microscope
        ({"unit": "micron", "spacing": 0}, None),
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


@pytest.mark.parametrize("depth", [None, "0", "-2", "NaN", "", "2,5"])
def test_of_a_stack_without_depth_the_size_of_y_and_x_is_kept(
    tmp_path: Path, depth: str | None
) -> None:
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2}
    image = read(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX"} | sizes)
    if depth is not None:
        known = {"PhysicalSizeZ": 7.5}
        read(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX"} | sizes | known)
        content = (tmp_path / "a.ome.tif").read_bytes()
        # of the same length, so that no offset in the file changes
        changed = content.replace(b'Z="7.5"', f'Z="{depth}"'.ljust(7).encode())
        (tmp_path / "a.ome.tif").write_bytes(changed)
        image = read_image(tmp_path / "a.ome.tif")
    assert image.spacing_um is None
    assert image.yx_um == image.pixel_size(2) == (0.2, 0.1)
    assert image.notes == ("its pixel size along z is unknown.",)


@pytest.mark.parametrize(
    "description",
    [
        b'<?xml version="1.0"?><OME><Image></OME>',
        b'<?xml version="1.0"?><OME xmlns="x"><Image Name="\xff"></OME>',
        b'<?xml version="1.0"?><OME><Image><Pixels SizeX="five"/></Image></OME>',
        b"ImageJ=1.52\nimages=many\nspacing=abc\nunit=um\n",
        b"ImageJ=1.52\nimages=3\nslices=3\nspacing=abc\nunit=um\n",
        b"ImageJ=1.52\nimages=3\nslices=3\nspacing=1\nunit=\\u00\n",
        b'{"shape": [3, 4',
    ],
)
def test_metadata_that_cannot_be_understood_are_no_reason_to_refuse(
    tmp_path: Path, description: bytes
) -> None:
    path = tmp_path / "a.ome.tif"
    image = read(path, STACK, description=description, metadata=None)
    np.testing.assert_array_equal(image.data, STACK)
    assert (image.axes, image.spacing_um) == ("zyx", None)


@pytest.mark.parametrize(
    ("resolution", "unit", "spacing"),
    [
        ((20000, 10000), "CENTIMETER", (1.0, 0.5)),
        ((50800, 25400), "INCH", (1.0, 0.5)),
        ((72, 72), "INCH", None),
        ((96, 96), "INCH", None),
        *[((dpi, dpi), "INCH", None) for dpi in (110, 144, 240, 254, 300, 400, 600)],
        ((1200, 1200), "INCH", None),
        ((94.49, 94.49), "CENTIMETER", None),  # 240 dpi
        ((2540, 2540), "INCH", (10.0, 10.0)),
        ((28.3465, 28.3465), "CENTIMETER", None),  # 72 dpi
        ((118.11, 118.11), "CENTIMETER", None),  # 300 dpi
        ((20000, 20000), "NONE", None),
        ((2000, 4000), "MILLIMETER", (0.25, 0.5)),
        ((2, 2), "MICROMETER", (0.5, 0.5)),
        ((11.811, 11.811), "MILLIMETER", None),  # 300 dpi
    ],
)
def test_a_resolution_counts_where_it_is_finer_than_that_of_print(
    tmp_path: Path,
    resolution: tuple[float, float],
    unit: str,
    spacing: tuple[float, float] | None,
) -> None:
    image = read(
        tmp_path / "a.tif", STACK[0], resolution=resolution, resolutionunit=unit
    )
    assert image.spacing_um == (None if spacing is None else pytest.approx(spacing))


COLOUR = np.arange(80, dtype=np.uint8).reshape(4, 5, 4)


@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha", "unspecified"])
def test_colours_become_channels_without_alpha(tmp_path: Path, alpha: str) -> None:
    path = tmp_path / "a.tif"
    image = read(path, COLOUR, photometric="rgb", extrasamples=[alpha])
    assert image.axes == "yxc"
    np.testing.assert_array_equal(image.data, COLOUR[..., :3])
    assert "transparency (alpha) is left out; name the axes" in image.notes[0]
    np.testing.assert_array_equal(read_image(path, "yxc").data, COLOUR)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("axes", ["zyx", "cyx", "tyx"])
def test_planes_that_the_header_calls_colours_may_be_anything(
    tmp_path: Path, count: int, dtype: str, axes: str
) -> None:
    planes = np.moveaxis(COLOUR[..., :count], -1, 0).astype(dtype)
    path = tmp_path / "a.tif"
    image = read(path, planes, photometric="rgb", planarconfig="separate")
    assert image.axes == "cyx"
    np.testing.assert_array_equal(image.data, planes)
    assert "colours, channels or slices" in image.notes[0]
    assert "--axes cyx" in image.notes[0]
    assert "--axes zyx" in image.notes[0]
    named = read_image(path, axes)
    assert (named.axes, named.notes) == (axes, ())
    np.testing.assert_array_equal(named.data, planes)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_a_fourth_sample_of_more_than_a_byte_is_a_channel(
    tmp_path: Path, dtype: str
) -> None:
    data = COLOUR.astype(dtype)
    path = tmp_path / "a.tif"
    image = read(path, data, photometric="rgb", extrasamples=["unassalpha"])
    assert image.axes == "yxc"
    np.testing.assert_array_equal(image.data, data)
    assert "calls 4 planes colours" in image.notes[0]


def test_labels_of_a_stack_that_the_header_calls_colours(tmp_path: Path) -> None:
    labels = np.arange(4 * 6 * 7, dtype=np.uint16).reshape(4, 6, 7)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, labels, photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match=r"found 4 that differ .* as in --axes zyx\.$"):
        read_labels(path)
    np.testing.assert_array_equal(read_labels(path, "zyx").data, labels)


def test_four_channels_of_fluorescence_are_no_alpha(tmp_path: Path) -> None:
    options: dict[str, Any] = {"planarconfig": "contig", "metadata": {"axes": "YXC"}}
    path = tmp_path / "a.tif"
    image = read(path, COLOUR, extrasamples=["unspecified"] * 3, **options)
    np.testing.assert_array_equal(image.data, COLOUR)


@pytest.mark.parametrize(
    ("dtype", "reader"),
    [("?", read_image), ("u1", read_image), ("u2", read_image), ("?", read_labels)],
)
def test_white_as_zero_is_read_as_it_is_shown(
    tmp_path: Path, dtype: str, reader: Any
) -> None:
    stored = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", software=False)
    highest = {"?": 1, "u1": 255, "u2": 65535}[dtype]
    assert np.asarray(reader(path).data).tolist() == [
        [highest, highest - 1, highest - 1],
        [highest - 1, highest, highest - 1],
    ]
    assert "white as 0: read inverted" in reader(path).notes[0]


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_of_labels_with_white_as_zero_the_stored_numbers_are_read(
    tmp_path: Path, dtype: str
) -> None:
    """ImageJ stores cells as 255 and shows them in black."""
    mask = np.array([[0, 255, 255], [0, 0, 255]], dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, mask, photometric="miniswhite")
    labels = read_labels(path)
    np.testing.assert_array_equal(labels.data, mask)
    (note,) = labels.notes
    assert "white as 0: of labels, the numbers" in note


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"ome": True}])
def test_a_mask_of_booleans_is_read_as_it_was_written(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """By default tifffile says that 1 is black, and nobody means it."""
    mask = np.array([[0, 1, 1], [1, 0, 1]], bool)
    tifffile.imwrite(tmp_path / "a.tif", mask, **options)
    for reader in (read_image, read_labels):
        image = reader(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.data, mask)
        assert "1 is read" in image.notes[0]


def palette(path: Path, table: np.ndarray, **options: Any) -> Path:
    """Write numbers from 0 to 19 with a table of (256, 3) bytes."""
    colormap = table.T.astype(np.uint16) * 257
    tifffile.imwrite(
        path, COLOUR[:, :, 0] // 4, photometric="palette", colormap=colormap, **options
    )
    return path


def test_a_palette_is_read_as_it_is_shown_and_its_numbers_are_labels(
    tmp_path: Path,
) -> None:
    numbers = np.arange(20).reshape(4, 5)
    table = np.random.default_rng(0).integers(0, 255, (256, 3)).astype(np.uint8)
    path = palette(tmp_path / "a.tif", table, metadata=None)
    np.testing.assert_array_equal(read_image(path).data, table[numbers])
    np.testing.assert_array_equal(read_labels(path).data, numbers)
    np.testing.assert_array_equal(read_image(path, "yx").data, numbers)
    grey = np.repeat(np.arange(255, -1, -1, dtype=np.uint8)[:, None], 3, axis=1)
    for reader in (read_image, read_labels):
        image = reader(palette(tmp_path / "b.tif", grey, metadata=None))
        np.testing.assert_array_equal(image.data, 255 - numbers)


@pytest.mark.parametrize("imagej", [True, False])
def test_pseudo_colours_leave_what_was_measured(tmp_path: Path, imagej: bool) -> None:
    table = np.zeros((256, 3), np.uint8)
    table[:, 1] = np.arange(256)  # green
    options: dict[str, Any] = {"metadata": None}
    if imagej:
        table = np.random.default_rng(0).integers(0, 255, (256, 3)).astype(np.uint8)
        options["description"] = "ImageJ=1.52i\n"
    image = read_image(palette(tmp_path / "a.tif", table, **options))
    np.testing.assert_array_equal(image.data, np.arange(20).reshape(4, 5))
    assert "pseudo-colours" in image.notes[0]


@pytest.mark.parametrize("colours", ["separated", "cielab", "ycbcr"])
def test_colours_that_are_not_converted_are_refused(
    tmp_path: Path, colours: str
) -> None:
    data = COLOUR if colours == "separated" else COLOUR[..., :3]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric=colours)
    with pytest.raises(ValueError, match=r"a\.tif: its colours are .* grey or RGB"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, "yxc").data, data)


def test_jpeg_compressed_colours_are_rgb(tmp_path: Path) -> None:
    data = np.full((16, 16, 3), (250, 20, 30), np.uint8)
    path = tmp_path / "a.tif"
    PIL.Image.fromarray(data).convert("YCbCr").save(path, compression="jpeg")
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.photometric.name == "YCBCR"
    np.testing.assert_allclose(read_image(path).data, data, atol=3)


@pytest.mark.parametrize("compression", ["jpeg", "zlib", "lzw"])
def test_a_compressed_page_that_is_cut_off_is_refused(
    tmp_path: Path, compression: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise, compression=compression)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"a\.tif: .* it is cut off in page 1\."):
        read_image(path)


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


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 30, 50), {"imagej": True}),
        ((2, 3, 30, 50), {"metadata": {"axes": "ZTYX"}}),
        ((3, 30, 50, 3), {"photometric": "rgb"}),
        ((70, 90), {"tile": (32, 32)}),
    ],
)
def test_very_large_compressed_images_are_decoded_where_they_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr(tiff, "DECODED_TO_BYTES", 1)
    pixels = np.random.default_rng(0).integers(0, 2**16, shape, np.uint16)
    image = read(tmp_path / "a.tif", pixels, compression="zlib", **options)
    assert type(image.data) is not np.ndarray
    np.testing.assert_array_equal(np.asarray(image.data), pixels)
    np.testing.assert_array_equal(image.data[..., 10:20, 0:2], pixels[..., 10:20, 0:2])
    np.testing.assert_array_equal(image.data[0], pixels[0])
    np.testing.assert_array_equal(image.data[-1, 2:4], pixels[-1, 2:4])


def test_only_the_pages_that_are_read_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "DECODED_TO_BYTES", 1)
    pixels = np.zeros((60, 300, 500), np.uint16)
    image = read(tmp_path / "a.tif", pixels, compression="zlib", imagej=True)
    image.read(0)  # imports
    tracemalloc.start()
    try:
        image.read((slice(20, 23), slice(0, 10), slice(0, 10)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < pixels.nbytes / 10
    # the file is open only meanwhile
    (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    with pytest.raises(OSError, match="a part of it cannot be read, No such file"):
        image.read(0)


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


@pytest.mark.parametrize("pages", [1, 2, 150])
def test_pages_that_lead_back_are_not_followed_for_ever(
    tmp_path: Path, pages: int
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(pages):
            writer.write(np.zeros((4, 5), np.uint8), metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[-1]
    end = last.offset + 2 + 12 * len(last.tags)
    content = bytearray(path.read_bytes())
    content[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"page {pages} of it leads back to one bef"):
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


@pytest.mark.parametrize(
    "options", [{"rowsperstrip": 16}, {"tile": (16, 16)}, {"compression": "zlib"}]
)
def test_empty_parts_of_a_page_are_told(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """As a writer leaves them that did not come to its end."""
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(1, 9, (64, 16), np.uint8)
    read(path, noise, **{"rowsperstrip": 16, **options})
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        counts = tags.get("StripByteCounts") or tags["TileByteCounts"]
        offset, number = counts.valueoffset, counts.count
        size = {3: 2, 4: 4}[int(counts.dtype)]
    with path.open("r+b") as file:
        file.seek(offset + (number - 2) * size)
        file.write(bytes(2 * size))
    image = read_image(path)
    np.testing.assert_array_equal(image.data[:32], noise[:32])
    assert not np.any(image.data[32:])
    assert image.notes[0].startswith("2 strips or tiles of it are empty")


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("silent", ["logger", "all"])
def test_a_stack_that_is_cut_off_is_refused_where_tifffile_is_silenced(
    tmp_path: Path, options: dict[str, Any], silent: str
) -> None:
    """As other programs silence it; what it logs tells of pages that are lost."""
    log = logging.getLogger("tifffile")
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).random((6, 9, 9), dtype=np.float32)
    options = {"photometric": "minisblack", "compression": "zlib", **options}
    tifffile.imwrite(path, noise, **options)
    path.write_bytes(path.read_bytes()[:1400])
    try:
        if silent == "all":
            logging.disable(logging.CRITICAL)
        else:
            log.setLevel(logging.CRITICAL)
        with pytest.raises(ValueError, match=r"a\.tif: cannot be read as an image"):
            read_image(path)
        assert log.manager.disable == (logging.CRITICAL if silent == "all" else 0)
        assert log.level == (0 if silent == "all" else logging.CRITICAL)
    finally:
        logging.disable(logging.NOTSET)
        log.setLevel(logging.NOTSET)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3), (2, 48, 64)])
def test_labels_that_are_compressed_as_a_jpeg_are_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    file = tmp_path / "a.tif"
    masks = np.zeros(shape, np.uint8)
    rgb = len(shape) == 3 and shape[-1] == 3
    tifffile.imwrite(
        file, masks, compression="jpeg", photometric="rgb" if rgb else "minisblack"
    )
    with pytest.raises(ValueError, match=r"a\.tif: JPEG compression alters labels"):
        read_labels(file)
    assert read_image(file).data.size == masks.size
    tifffile.imwrite(file, masks, compression="zlib", photometric="minisblack")
    assert not np.any(read_labels(file).data)


@pytest.mark.parametrize("reader", [read_image, read_labels])
def test_a_grey_ramp_leaves_all_16_bits(tmp_path: Path, reader: Any) -> None:
    values = (np.arange(600, dtype=np.uint16) * 109).reshape(20, 30)
    greys = np.arange(2**16, dtype=np.uint16)
    for table, wanted in ((greys, values), (greys[::-1], 65535 - values)):
        path = tmp_path / "a.tif"
        options = {"photometric": "palette", "colormap": np.stack([table] * 3)}
        tifffile.imwrite(path, values, metadata=None, **options)
        np.testing.assert_array_equal(reader(path).data, wanted)


def test_more_images_in_one_page_than_in_the_chain(tmp_path: Path) -> None:
    """Those in its SubIFDs are larger, so they are none of its levels."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(np.full((32, 32), 1, np.uint8), subifds=2, metadata=None)
        file.write(np.full((64, 64), 2, np.uint8), metadata=None)
        file.write(np.full((64, 64), 3, np.uint8), metadata=None)
    with pytest.raises(ValueError, match=r"it holds \d images"):
        read_image(path)
    assert read_image(Path(f"{path}#1")).data.shape == (32, 32)
    assert np.asarray(read_image(Path(f"{path}#2")).data)[0, 0, 0] == 2


@pytest.mark.parametrize("suffix", ["btf", "tf2", "tf8"])
def test_other_endings_of_bigtiff_are_read(tmp_path: Path, suffix: str) -> None:
    image = read(tmp_path / f"a.ome.{suffix}", STACK, bigtiff=True, ome=True)
    assert image.name == "a"
    np.testing.assert_array_equal(image.data, STACK)


def write_lsm(path: Path, stack: np.ndarray, kind: int = 0) -> None:
    """Write a stack as Zeiss LSM does, with a thumbnail behind each plane."""
    header = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    header["MagicNumber"], header["StructureSize"] = 67127628, header.itemsize
    header["DimensionZ"], header["DimensionY"], header["DimensionX"] = stack.shape
    header["DimensionChannels"] = header["DimensionTime"] = 1
    header["ThumbnailX"] = header["ThumbnailY"] = 2
    for axis, metres in zip("ZYX", (2e-6, 5e-7, 5e-7), strict=True):
        header[f"VoxelSize{axis}"] = metres
    header["ScanType"] = kind
    if kind == 1:  # a plane of z and x
        header["DimensionZ"], header["DimensionY"] = stack.shape[1], 1
    told = [(34412, 1, header.itemsize, header.tobytes(), True)]
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(stack):
            extra = told if number == 0 else []
            file.write(plane, contiguous=False, metadata=None, extratags=extra)
            thumbnail = np.full((2, 2), number, plane.dtype)
            file.write(thumbnail, contiguous=False, metadata=None, subfiletype=1)


def test_an_lsm_is_read_without_thumbnails_and_with_its_pixel_size(
    tmp_path: Path,
) -> None:
    write_lsm(tmp_path / "a.lsm", STACK)
    image = read_image(tmp_path / "a.lsm")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.data, STACK)
    np.testing.assert_allclose(image.spacing_um, (2, 0.5, 0.5))
    # a scan along z: what is x and y in it is another question
    write_lsm(tmp_path / "b.lsm", STACK[:1], kind=1)
    with pytest.raises(ValueError, match="does not tell what the axes"):
        read_image(tmp_path / "b.lsm")
