from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import measure
from napari_unet.io.images import check_finite, find, left_out, read_image, read_labels

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
COLOUR = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def png(path: Path, data: np.ndarray) -> Path:
    path.write_bytes(imagecodecs.png_encode(data))
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def test_a_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "a10.tif", "a2.TIF", "b.png", ".hidden.tif", "notes.txt", "a1.jpeg")
    (tmp_path / "deeper").mkdir()
    touch(tmp_path / "deeper", "c.tif")
    zarr.create_array(tmp_path / "a3.zarr", shape=(4, 5), dtype="u1")
    names = ["a1.jpeg", "a2.TIF", "a3.zarr", "a10.tif", "b.png"]
    assert [p.name for p in find([tmp_path])] == names


def test_what_a_folder_has_besides_images_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a.txt", "a_seg.npy", ".b.svs", "Thumbs.db", "m.json")
    (tmp_path / "e.svs").mkdir()
    assert left_out([tmp_path, tmp_path / "a.tif"]) == ""
    touch(tmp_path, "b.svs", "c.svs", "d.webp", "e")
    told = "of no format that is read and left out: 2 .svs, 1 .webp"
    assert left_out([str(tmp_path / "[a-d].*")]) == f"3 files are {told}."
    found = left_out([f"{tmp_path}#*"])
    assert found.startswith("4 files are of no format that is read and left out: 2 ")
    assert "1 without ending" in found


def test_globs_files_and_folders_mix_and_each_image_comes_once(tmp_path: Path) -> None:
    touch(tmp_path, "a10.tif", "a9.tif", "b.png", "a.txt")
    found = find([tmp_path / "b.png", str(tmp_path / "a*"), tmp_path])
    assert [p.name for p in found] == ["b.png", "a9.tif", "a10.tif"]
    (tmp_path / "deep").mkdir()
    touch(tmp_path / "deep", "c.tif")
    assert find([f"{tmp_path}/**/c.*"]) == [tmp_path / "deep" / "c.tif"]


def test_a_file_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].tif")
    assert find([str(tmp_path / "a[1].tif")]) == [tmp_path / "a[1].tif"]


def test_a_zarr_folder_without_the_suffix_is_one_image(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "cells", shape=(4, 5), dtype="u1")
    assert find([tmp_path / "cells"]) == [tmp_path / "cells"]
    assert find([tmp_path]) == [tmp_path / "cells"]


def test_a_file_is_no_ome_zarr(tmp_path: Path) -> None:
    touch(tmp_path, "a.zarr")
    with pytest.raises(ValueError, match=r"a\.zarr: is a file, and an OME-Zarr is a"):
        read_image(tmp_path / "a.zarr")


def test_what_names_no_image_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(FileNotFoundError, match=r"b\.tif: there is no such file"):
        find([tmp_path / "b.tif"])
    with pytest.raises(FileNotFoundError, match="no image is in the folder"):
        find([tmp_path])
    with pytest.raises(FileNotFoundError, match=r"\*\.png: no image matches"):
        find([str(tmp_path / "*.png")])
    with pytest.raises(ValueError, match=r"a\.txt: images are read from .*'\.txt'"):
        find([tmp_path / "a.txt"])
    with pytest.raises(FileNotFoundError, match="list of paths is empty"):
        find([])


@pytest.mark.parametrize(
    ("data", "axes"),
    [
        (GREY, "yx"),
        (GREY.astype(np.uint16) * 3000, "yx"),
        (COLOUR, "yxc"),
        (COLOUR.astype(np.uint16) * 1000, "yxc"),
    ],
)
def test_png_keeps_its_bits_and_colours(
    tmp_path: Path, data: np.ndarray, axes: str
) -> None:
    image = read_image(png(tmp_path / "cell.PNG", data))
    assert (image.axes, image.name, image.spacing_um) == (axes, "cell", None)
    np.testing.assert_array_equal(image.data, data)
    assert image.data.dtype == data.dtype


@pytest.mark.parametrize(("samples", "kept", "axes"), [(2, 1, "yx"), (4, 3, "yxc")])
def test_alpha_is_dropped_from_png(
    tmp_path: Path, samples: int, kept: int, axes: str
) -> None:
    data = np.arange(20 * samples, dtype=np.uint8).reshape(4, 5, samples)
    image = read_image(png(tmp_path / "a.png", data))
    assert image.axes == axes
    np.testing.assert_array_equal(image.data, data[..., :kept].squeeze())


def test_jpeg_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(COLOUR, level=100))
    image = read_image(tmp_path / "a.jpg")
    assert (image.axes, image.data.shape) == ("yxc", (4, 5, 3))
    assert np.abs(np.asarray(image.data, int) - COLOUR).mean() < 8


@pytest.mark.parametrize("content", [b"", b"hello", imagecodecs.png_encode(GREY)[:40]])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_damaged_files_give_one_sentence(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{name}: cannot be read as an image: .+"
    ) as e:
        read_image(tmp_path / name)
    assert "\n" not in str(e.value)
    assert str(e.value).endswith(".")


def test_paths_that_are_no_image_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.docx")
    with pytest.raises(FileNotFoundError, match=r"x\.tif: there is no such file"):
        read_image(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="is a folder and no OME-Zarr"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match=r"found '\.docx'"):
        read_image(tmp_path / "a.docx")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
def test_a_file_the_system_does_not_give_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match=r"a\.png: cannot be read, Input/output error\."):
        read_image(tmp_path / "a.png")


def test_given_axes_reach_the_image(tmp_path: Path) -> None:
    image = read_image(png(tmp_path / "a.png", COLOUR), axes="zyx")
    assert (image.axes, image.data.shape) == ("zyx", (4, 5, 3))


def test_a_binary_png_is_a_label_image(tmp_path: Path) -> None:
    mask = np.where(GREY > 9, 255, 0).astype(np.uint8)
    labels = read_labels(png(tmp_path / "a.png", mask))
    np.testing.assert_array_equal(labels.data, mask)


def test_an_rgb_mask_with_equal_channels_is_one(tmp_path: Path) -> None:
    labels = read_labels(png(tmp_path / "a.png", np.stack([GREY] * 3, -1)))
    assert labels.axes == "yx"
    np.testing.assert_array_equal(labels.data, GREY)
    with pytest.raises(ValueError, match="one channel, found 3 that differ"):
        read_labels(png(tmp_path / "b.png", COLOUR))


def save(path: Path, data: np.ndarray) -> Path:
    import tifffile

    tifffile.imwrite(path, data, photometric="minisblack")
    return path


def test_whole_floats_are_labels_and_signed_integers_too(tmp_path: Path) -> None:
    labels = read_labels(save(tmp_path / "a.tif", np.array([[0.0, 70000.0]])))
    assert labels.data.dtype == np.uint32
    assert labels.data[0].tolist() == [0, 70000]
    half = read_labels(save(tmp_path / "h.tif", np.array([[0, 300]], np.float16)))
    assert half.data[0].tolist() == [0, 300]
    far = read_labels(save(tmp_path / "f.tif", np.array([[0.0, 1e12]])))
    assert far.data[0].tolist() == [0, 10**12]
    with pytest.raises(ValueError, match=r"real numbers above 2\^53 are no exact"):
        read_labels(save(tmp_path / "g.tif", np.array([[0.0, 1e16]])))
    signed = read_labels(save(tmp_path / "b.tif", np.array([[0, 3]], np.int32)))
    assert signed.data[0].tolist() == [0, 3]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([[0, 1, -2]], np.int16), "-2"),
        (np.array([[0, 1.5, 2]]), "1.5"),
        (np.array([[0, -1.0, 2]]), "-1.0"),
        (np.array([[0, np.nan, 2]]), "nan"),
        (np.array([[0, np.inf, 2]]), "inf"),
    ],
)
def test_labels_are_integers_from_zero_on(
    tmp_path: Path, values: np.ndarray, found: str
) -> None:
    with pytest.raises(
        ValueError, match=rf"a\.tif: labels must be integers .* found {found}"
    ):
        read_labels(save(tmp_path / "a.tif", values))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_picture_is_what_it_holds_whatever_its_suffix(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(imagecodecs.png_encode(GREY))
    np.testing.assert_array_equal(read_labels(path).data, GREY)
    tifffile.imwrite(path, GREY)
    np.testing.assert_array_equal(read_labels(path).data, GREY)
    path.write_bytes(imagecodecs.jpeg_encode(COLOUR))
    assert read_image(path).axes == "yxc"
    for one in (path, tmp_path / f"a.{suffix}#1"):
        with pytest.raises(ValueError, match="JPEG compression alters labels"):
            read_labels(one)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_value_no_network_takes_is_told_with_its_place(value: float) -> None:
    data = np.zeros((2, 3, 2, 1100, 4))
    image = Image(data, "tzcyx", name="cells")
    check_finite(image)
    data[1, 2, 0, 1050, 3] = value  # in the second band of rows
    with pytest.raises(ValueError, match=r"found .* at t=1, z=2, c=0, y=1050, x=3"):
        check_finite(image)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_infinite_values_of_each_precision_are_refused(
    value: float, dtype: type
) -> None:
    data = np.full((4, 5), np.finfo(np.float16).max, dtype)
    check_finite(Image(data, "yx"))
    data[1, 2] = value
    with pytest.raises(ValueError, match=r"up to 1e\+36, found .* at c=0, y=1, x=2"):
        check_finite(Image(data, "yx"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure(Image(data, "yx"))


def test_the_last_row_and_column_are_checked_and_integers_need_no_check() -> None:
    data = np.zeros((1024, 3), np.float32)
    data[-1, -1] = np.nan
    with pytest.raises(ValueError, match="at c=0, y=1023, x=2"):
        check_finite(Image(data, "yx"))
    check_finite(Image(np.zeros((2, 2), np.uint8), "yx"))


def test_importing_the_module_loads_neither_zarr_nor_decoders() -> None:
    code = (
        "import sys, napari_unet.io.images, napari_unet.io.export\n"
        "heavy = {'zarr', 'imagecodecs', 'tifffile', 'skimage', 'torch', 'napari'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_a_file_of_no_bytes_is_told(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    with pytest.raises(ValueError, match=rf"{name}: .* it is empty, it has 0 bytes\."):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a\nb.tif", "a\x1b[31m.png", "a\tb.docx"])
def test_control_characters_of_names_are_escaped(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with pytest.raises((ValueError, OSError)) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).isprintable()
        assert repr(name)[1:-1] in str(caught.value)
        touch(tmp_path, name)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_that_leads_nowhere_is_an_image_that_is_missing(tmp_path: Path) -> None:
    png(tmp_path / "a.png", GREY)
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    for given in (tmp_path, tmp_path / "*.png"):
        assert [file.name for file in find([given])] == ["a.png", "b.png"]
    with pytest.raises(FileNotFoundError, match=r"b\.png: there is no such file"):
        read_image(tmp_path / "b.png")


def test_a_folder_named_like_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(ValueError, match=r"a\.tif: is a folder and no OME-Zarr image"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(FileNotFoundError, match=r"a\.tif: no image is in the folder"):
        find([tmp_path / "a.tif"])


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_what_one_may_not_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    png(tmp_path / "d" / "a.png", GREY).chmod(0)
    with pytest.raises(OSError, match=r"a\.png: cannot be read, Permission denied\."):
        read_image(tmp_path / "d" / "a.png")
    (tmp_path / "d").chmod(0)
    try:
        for path in (tmp_path / "d", tmp_path / "d" / "a.png"):
            with pytest.raises(OSError, match=r"cannot be read, Permission denied\."):
                find([path])
    finally:
        (tmp_path / "d").chmod(0o700)


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = png(tmp_path / "a.png", GREY)
    decode = imagecodecs.png_decode

    def meanwhile(content: bytes) -> np.ndarray:
        path.write_bytes(content + b"more")
        return decode(content)

    monkeypatch.setattr(imagecodecs, "png_decode", meanwhile)
    with pytest.raises(ValueError, match=r"a\.png: .* it changed while it was read"):
        read_image(path)
