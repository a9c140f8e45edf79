"""PNG, JPEG, GIF, BMP: bits, palettes, transparency, and files that lost their end."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import imagecodecs
import imageio.v3
import numpy as np
import PIL.Image
import pytest

from napari_unet.io.images import read_image, read_labels

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = (np.arange(20, dtype=np.uint8) % 4).reshape(4, 5)
GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
RNG = np.random.default_rng(0)


def palette(
    path: Path, *colours: tuple[int, int, int], bits: int = 8, **options: int
) -> Path:
    picture = PIL.Image.fromarray(NUMBERS % len(colours)).convert("P")
    picture.putdata((NUMBERS % len(colours)).ravel().tolist())
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path, bits=bits, **options)
    return path


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_palette_is_shown_in_its_colours_and_its_numbers_are_labels(
    tmp_path: Path, bits: int
) -> None:
    colours = (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 0, 0)
    path = palette(tmp_path / "a.png", *colours, bits=bits)
    image = read_image(path)
    assert image.axes == "yxc"
    np.testing.assert_array_equal(image.data, np.array(colours)[NUMBERS])
    assert "the colours are read" in image.notes[0]
    labels = read_labels(path)  # two of one colour are two
    np.testing.assert_array_equal(labels.data, NUMBERS)
    assert "the numbers of the colours are read" in labels.notes[0]
    np.testing.assert_array_equal(read_image(path, "yx").data, NUMBERS)


def test_black_is_the_background_of_a_palette(tmp_path: Path) -> None:
    path = palette(tmp_path / "a.png", (255, 0, 0), (0, 0, 255), (0, 0, 0))
    expected = np.array([2, 1, 0])[NUMBERS % 3]
    labels = read_labels(path)
    np.testing.assert_array_equal(labels.data, expected)
    assert "0 and 2 exchanged" in labels.notes[0]


@pytest.mark.parametrize("bits", [1, 8])
def test_a_grey_palette_is_grey(tmp_path: Path, bits: int) -> None:
    path = palette(tmp_path / "a.png", (255, 255, 255), (0, 0, 0), bits=bits)
    for reader in (read_image, read_labels):
        image = reader(path)
        assert image.axes == "yx"
        np.testing.assert_array_equal(image.data, 255 * (1 - NUMBERS % 2))


def test_transparency_of_a_palette_is_left_out_with_a_note(tmp_path: Path) -> None:
    colours = (0, 0, 0), (128, 0, 0)
    path = palette(tmp_path / "a.png", *colours, transparency=0)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, np.array(colours)[NUMBERS % 2])
    assert "transparency" in image.notes[0]


@pytest.mark.parametrize(("bits", "highest"), [(1, 1), (2, 3), (4, 15)])
def test_few_bits_fill_a_byte_in_images_and_are_numbers_in_labels(
    tmp_path: Path, bits: int, highest: int
) -> None:
    stored = (GREY % (highest + 1)).astype(np.uint8)
    path = grey_png(tmp_path / "a.png", stored, bits)
    np.testing.assert_array_equal(read_image(path).data, stored * (255 // highest))
    np.testing.assert_array_equal(read_labels(path).data, stored)


def grey_png(path: Path, values: np.ndarray, bits: int) -> Path:
    """Write few bits: Pillow does so for palettes, and a header says they are grey."""
    picture = PIL.Image.fromarray(values).convert("P")
    picture.putdata(values.ravel().tolist())
    picture.putpalette([n for n in range(2**bits) for _ in range(3)])
    picture.save(path, bits=bits)
    content = bytearray(path.read_bytes())
    content[25] = 0  # the colour type, after signature, length, name, sizes and bits
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    at = content.index(b"PLTE") - 4
    end = at + 12 + int.from_bytes(content[at : at + 4], "big")
    path.write_bytes(content[:at] + content[end:])
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("reader", [read_image, read_labels])
def test_three_equal_colours_are_grey(
    tmp_path: Path, suffix: str, reader: object
) -> None:
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(np.stack([GREY] * 3, -1)).save(path, quality=100)
    if suffix == "jpg":
        reader = read_image
    image = reader(path)  # type: ignore[operator]
    assert image.axes == "yx"
    np.testing.assert_allclose(image.data, GREY, atol=2 if suffix == "jpg" else 0)
    assert "three colours are equal" in image.notes[0]


@pytest.mark.parametrize("value", [0, 200])
def test_a_blank_picture_in_colour_stays_in_colour(tmp_path: Path, value: int) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)
    assert read_image(path).channels == 3
    np.testing.assert_array_equal(read_labels(path).data, np.full((4, 5), value))


def test_equal_colours_stay_where_the_axes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.stack([GREY] * 3, -1)).save(path)
    assert read_image(path, "yxc").data.shape == (4, 5, 3)
    # of labels the command line names all axes but that of channels
    np.testing.assert_array_equal(read_labels(path, "yx").data, GREY)


def test_transparency_is_left_out_with_a_note_and_kept_if_named(tmp_path: Path) -> None:
    data = RNG.integers(0, 255, (4, 5, 4), np.uint8)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(data))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.data, data[..., :3])
    assert "transparency (alpha) is left out" in image.notes[0]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "yxc").data, data)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_refused(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    picture = PIL.Image.fromarray(RNG.integers(0, 255, (90, 90, 3), np.uint8))
    # a comment, as a preview, may hold the mark of an end itself
    picture.save(path, progressive=progressive, comment=b"\xff\xd9")
    whole = path.read_bytes()
    assert read_image(path).data.shape == (90, 90, 3)
    path.write_bytes(whole + bytes(100))  # what follows the end is nothing to us
    assert read_image(path).data.shape == (90, 90, 3)
    for lost in (1, 2, 100, len(whole) // 2):
        for filled in (b"", bytes(lost)):
            path.write_bytes(whole[:-lost] + filled)
            with pytest.raises(ValueError, match=r"a\.jpg: .* cut off, its end is"):
                read_image(path)


def test_a_jpeg_of_cmyk_is_refused(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (5, 4), (10, 20, 30, 40)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: its colours are CMYK"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_png_that_is_cut_off_is_refused(
    tmp_path: Path, mode: str, share: float
) -> None:
    path = tmp_path / "a.png"
    noise = RNG.integers(0, 255, (90, 90, 3), np.uint8)
    PIL.Image.fromarray(noise).convert(mode).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image: "):
        read_image(path)


def test_of_an_animation_the_first_picture_is_read_with_a_note(tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(GREY + k) for k in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.data, GREY)
    assert "animated" in image.notes[0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("turned", [1, 6])
def test_a_picture_that_is_to_be_turned_is_read_as_it_is_stored(
    tmp_path: Path, suffix: str, turned: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = PIL.Image.Exif()
    exif[274] = turned
    PIL.Image.fromarray(GREY).save(path, exif=exif)
    image = read_image(path)
    # as napari reads it
    np.testing.assert_array_equal(image.data, imageio.v3.imread(path))
    assert any("turned or mirrored" in note for note in image.notes) == (turned == 6)


@pytest.mark.parametrize(("bits", "highest"), [(1, 1), (2, 3), (4, 15), (8, 19)])
def test_few_bits_are_numbers_in_labels_also_where_one_is_transparent(
    tmp_path: Path, bits: int, highest: int
) -> None:
    stored = (GREY % (highest + 1)).astype(np.uint8)
    path = grey_png(tmp_path / "a.png", stored, bits)
    content = path.read_bytes()
    at = content.index(b"IDAT") - 4
    see_through = b"tRNS" + (0).to_bytes(2, "big")
    chunk = struct.pack(">I", 2) + see_through
    chunk += struct.pack(">I", zlib.crc32(see_through))
    path.write_bytes(content[:at] + chunk + content[at:])
    labels = read_labels(path)
    assert labels.axes == "yx"
    np.testing.assert_array_equal(labels.data, stored)
    step = 255 // (2**bits - 1)
    np.testing.assert_array_equal(read_image(path).data, stored * step)


@pytest.mark.parametrize(
    "greys",
    [
        [0, *[255] * 255],  # all in white
        [0] * 256,
        [255, *[0] * 255],
        [k // 2 for k in range(256)],
    ],
)
def test_labels_of_one_grey_are_several(tmp_path: Path, greys: list[int]) -> None:
    picture = PIL.Image.fromarray(GREY).convert("P")
    picture.putdata(GREY.ravel().tolist())
    picture.putpalette([grey for grey in greys for _ in range(3)])
    picture.save(tmp_path / "a.png")
    labels = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(labels.data, GREY)
    assert "the numbers of the colours are read" in labels.notes[0]
    shown = read_image(tmp_path / "a.png").data
    np.testing.assert_array_equal(shown, np.array(greys)[GREY])


def test_the_black_that_is_used_is_the_background(tmp_path: Path) -> None:
    """Unused places of a palette are black, too."""
    colours = [(255, 255, 255), (255, 0, 0), (0, 0, 0), *[(0, 0, 0)] * 253]
    path = palette(tmp_path / "a.png", *colours[:3])
    picture = PIL.Image.open(path)
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path)
    expected = np.array([2, 1, 0])[NUMBERS % 3]
    np.testing.assert_array_equal(read_labels(path).data, expected)


@pytest.mark.parametrize("count", [2, 3])
def test_further_pictures_of_a_jpeg_are_told(tmp_path: Path, count: int) -> None:
    pictures = [PIL.Image.fromarray(np.full((16, 16), 60 * k, "u1")) for k in (1, 2, 3)]
    path = tmp_path / "a.jpg"
    pictures[0].save(path, "MPO", save_all=True, append_images=pictures[1:count])
    image = read_image(path)
    np.testing.assert_allclose(image.data, 60, atol=2)
    assert image.notes == (f"it holds {count} pictures: the first is read.",)
    pictures[0].save(path)
    assert read_image(path).notes == ()


@pytest.mark.parametrize("suffix", ["gif", "bmp"])
def test_gif_and_bmp_are_read_as_viewers_show_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(GREY).save(path)
    assert read_image(path).axes == "yx"
    np.testing.assert_array_equal(read_image(path).data, GREY)
    colours = (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 0, 0)
    # GIF joins colours that are equal
    palette(path, *colours[: 3 if suffix == "gif" else 4])
    wanted = NUMBERS % (3 if suffix == "gif" else 4)
    np.testing.assert_array_equal(read_labels(path).data, wanted)
    np.testing.assert_array_equal(read_image(path).data, np.array(colours)[wanted])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises((ValueError, OSError), match=f"a.{suffix}: cannot be read"):
        read_image(path)


def test_a_bmp_under_another_name_and_in_colours_is_read(tmp_path: Path) -> None:
    colours = RNG.integers(0, 255, (4, 5, 3), np.uint8)
    PIL.Image.fromarray(colours).save(tmp_path / "a.bmp")
    path = (tmp_path / "a.bmp").rename(tmp_path / "a.tif")
    image = read_image(path)
    assert image.axes == "yxc"
    np.testing.assert_array_equal(image.data, colours)


def test_pictures_of_an_animated_gif_are_time_points(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [PIL.Image.fromarray(np.roll(GREY, k)) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    image = read_image(path)
    assert (image.axes, image.data.shape) == ("tyx", (3, 4, 5))
    for k, frame in enumerate(np.asarray(image.data)):
        np.testing.assert_array_equal(frame, np.roll(GREY, k))
    assert "its 3 pictures are read as time points." in image.notes
    # without the end a further picture may be missing
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut off"):
        read_image(path)
