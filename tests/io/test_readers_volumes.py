"""Volumes of electron microscopes and of medicine: MRC, NRRD, NIfTI."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.io.images import read_image, read_labels
from napari_unet.io.pixels import ArrayView
from napari_unet.io.readers import file_image

if TYPE_CHECKING:
    from pathlib import Path

VOLUME = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


def with_mrcfile(
    path: Path, data: np.ndarray, angstrom: Any = 0, **header: Any
) -> Path:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(path, data) as file:
        if angstrom:
            file.voxel_size = angstrom
        for name, value in header.items():
            file.header[name] = value
    return path


def with_nrrd(path: Path, data: np.ndarray, **header: Any) -> Path:
    nrrd = pytest.importorskip("nrrd")
    nrrd.write(str(path), data, header, index_order="C")
    return path


def with_nibabel(path: Path, data: np.ndarray, **header: Any) -> Path:
    """Write an array whose first axis is the slowest, as all of ours."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(data.T, np.diag([0.2, 0.3, 0.5, 1]))
    image.header.set_xyzt_units(header.pop("unit", "micron"))
    for name, value in header.items():
        getattr(image.header, name)(*value)
    nibabel.save(image, path)
    return path


def with_simpleitk(path: Path, data: np.ndarray, *, channels: bool = False) -> Path:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(data, isVector=channels)
    image.SetSpacing((0.2, 0.3, 0.5)[: image.GetDimension()])
    sitk.WriteImage(image, str(path))
    return path


def test_mrc_has_its_lengths_in_angstrom(tmp_path: Path) -> None:
    path = with_mrcfile(tmp_path / "a.mrc", VOLUME, (40, 50, 100))
    image = read_image(path)
    assert (image.axes, image.name, image.notes) == ("zyx", "a", ())
    np.testing.assert_array_equal(image.data, VOLUME)
    assert image.spacing_um == pytest.approx((0.01, 0.005, 0.004))


def test_mrc_of_no_size_or_of_one_angstrom_has_no_pixel_size(tmp_path: Path) -> None:
    assert read_image(with_mrcfile(tmp_path / "a.mrc", VOLUME)).spacing_um is None
    image = read_image(with_mrcfile(tmp_path / "b.mrc", VOLUME, 1))
    assert image.spacing_um is None
    assert "1 Å" in image.notes[0]


def test_bytes_of_mrc_have_a_sign_unless_imod_says_that_they_have_none(
    tmp_path: Path,
) -> None:
    data = np.array([[0, 100, -56]], np.int8)
    np.testing.assert_array_equal(
        read_image(with_mrcfile(tmp_path / "a.mrc", data)).data, data
    )
    path = tmp_path / "b.mrc"
    with_mrcfile(path, data)
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    path.write_bytes(content)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, [[0, 100, 200]])
    assert image.data.dtype == np.uint8
    assert "without sign" in image.notes[0]


def test_a_stack_of_pictures_in_mrc_is_one_of_slices(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    for tells, z_um in ((False, 0.003), (True, None)):
        with mrcfile.new(tmp_path / "a.mrcs", VOLUME, overwrite=True) as file:
            file.voxel_size = (10, 20, 30)
            file.header.ispg = 0  # as of IMOD's volumes
            if tells:
                file.set_image_stack()
        image = read_image(tmp_path / "a.mrcs")
        assert image.axes == "zyx"
        assert image.yx_um == pytest.approx((0.002, 0.001))
        assert (image.spacing_um or (None,))[0] == (z_um and pytest.approx(z_um))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_nrrd_of_each_encoding_in_one_file_or_two(
    tmp_path: Path, name: str, encoding: str
) -> None:
    header = {
        "encoding": encoding,
        "space dimension": 3,
        "space directions": np.diag([0.2, 0.3, 0.5]),
        "space units": ["microns"] * 3,
    }
    image = read_image(with_nrrd(tmp_path / name, VOLUME, **header))
    np.testing.assert_array_equal(image.data, VOLUME)
    assert image.axes == "zyx"
    assert image.spacing_um == pytest.approx((0.5, 0.3, 0.2))


def test_kinds_of_nrrd_are_its_axes(tmp_path: Path) -> None:
    colours = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    kinds = ["RGB-color", "domain", "domain"]
    image = read_image(with_nrrd(tmp_path / "a.nrrd", colours, kinds=kinds))
    assert image.axes == "yxc"
    np.testing.assert_array_equal(image.data, colours)
    kinds = ["domain", "domain", "time"]
    assert read_image(with_nrrd(tmp_path / "b.nrrd", VOLUME, kinds=kinds)).axes == "tyx"
    kinds = ["vector", "domain", "domain"]
    assert read_image(with_nrrd(tmp_path / "c.nrrd", VOLUME, kinds=kinds)).axes == "yxc"


def test_nrrd_of_spacings_with_units_and_without(tmp_path: Path) -> None:
    data, spacings = VOLUME[0], [0.2, 0.3]
    image = read_image(
        with_nrrd(tmp_path / "a.nrrd", data, spacings=spacings, units=["mm", "mm"])
    )
    assert image.spacing_um == (300.0, 200.0)
    image = read_image(with_nrrd(tmp_path / "b.nrrd", data, spacings=spacings))
    assert image.spacing_um is None
    assert image.notes == ("its pixel size has no unit, so it is not known.",)


@pytest.mark.parametrize(
    ("units", "found"),
    [
        (("um", "um", "mm"), (500.0, 0.3, 0.2)),
        (("um", "nm", "um"), (0.5, 0.0003, 0.2)),
        (("mm", "furlong", "um"), None),
        (("um", "um"), (0.5, 0.3, 0.2)),
    ],
)
def test_each_axis_of_nrrd_has_its_own_unit(
    tmp_path: Path, units: tuple[str, ...], found: tuple[float, ...] | None
) -> None:
    header = {"space dimension": 3, "space directions": np.diag([0.2, 0.3, 0.5])}
    path = with_nrrd(tmp_path / "a.nrrd", VOLUME, encoding="raw", **header)
    head, _, rest = path.read_bytes().partition(b"space dimension: 3\n")
    said = " ".join(f'"{unit}"' for unit in units)
    line = f"space dimension: 3\nspace units: {said}\n".encode()
    path.write_bytes(head + line + rest)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, VOLUME)
    assert image.spacing_um == (found if found is None else pytest.approx(found))


@pytest.mark.parametrize(
    "named", ["../secret.raw", "/etc/hostname", "LIST", "a%03d.raw 1 3 1", ""]
)
def test_nrrd_follows_no_path(tmp_path: Path, named: str) -> None:
    pytest.importorskip("nrrd")
    (tmp_path / "secret.raw").write_bytes(bytes(100))
    folder = tmp_path / "below"
    folder.mkdir()
    path = folder / "a.nhdr"
    path.write_text(
        "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 2 3\nencoding: raw\n"
        f"data file: {named}\n\n"
    )
    with pytest.raises(
        ValueError, match=r"a\.nhdr: cannot be read.*one file beside it"
    ):
        read_image(path)


@pytest.mark.parametrize("line", ["kinds: domain", "dimension: 4", "sizes: 4 5"])
def test_nrrd_of_other_axes_than_pixels_is_refused(tmp_path: Path, line: str) -> None:
    path = with_nrrd(tmp_path / "a.nrrd", VOLUME, encoding="raw", kinds=["domain"] * 3)
    content = path.read_bytes()
    start = content.index(line[:6].encode())
    end = content.index(b"\n", start)
    path.write_bytes(content[:start] + line.encode() + content[end:])
    with pytest.raises(ValueError, match=r"a\.nrrd: .*\.$"):
        read_image(path)


def test_nrrd_of_text_is_refused_by_its_encoding(tmp_path: Path) -> None:
    path = with_nrrd(tmp_path / "a.nrrd", VOLUME, encoding="ascii")
    with pytest.raises(ValueError, match=r"encoding is ascii; raw, gzip and bzip2"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_has_x_first_and_lengths_with_a_unit(tmp_path: Path, name: str) -> None:
    image = read_image(with_nibabel(tmp_path / name, VOLUME))
    assert (image.axes, image.name) == ("zyx", "a")
    np.testing.assert_array_equal(image.data, VOLUME)
    assert image.data.dtype == np.uint16
    assert image.spacing_um == pytest.approx((0.5, 0.3, 0.2))
    image = read_image(with_nibabel(tmp_path / f"mm_{name}", VOLUME, unit="mm"))
    assert image.spacing_um == pytest.approx((500, 300, 200))
    image = read_image(with_nibabel(tmp_path / f"b{name}", VOLUME, unit="unknown"))
    assert image.spacing_um is None
    assert "no unit" in image.notes[0]


def test_nifti_of_time_and_channels(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.int16).reshape(2, 3, 4, 5, 6)
    image = read_image(with_nibabel(tmp_path / "a.nii", data))
    assert image.axes == "ctzyx"
    np.testing.assert_array_equal(image.read(), data)


def test_scaled_values_of_nifti_are_real_numbers_read_where_asked_for(
    tmp_path: Path,
) -> None:
    path = with_nibabel(tmp_path / "a.nii", VOLUME, set_slope_inter=(0.5, 3))
    import nibabel

    wanted = np.asarray(nibabel.load(path).dataobj).T
    image = read_image(path)
    assert image.data.dtype == np.float32
    np.testing.assert_allclose(image.read(), wanted)
    np.testing.assert_allclose(image.read((1, slice(1, 3))), wanted[1, 1:3])


def test_large_volumes_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of foreign byte order, and after their libraries closed the file."""
    monkeypatch.setattr(file_image, "MAPPED_FROM_BYTES", 0)
    swapped = VOLUME.astype(">u2")
    for path in (
        with_mrcfile(tmp_path / "a.mrc", VOLUME),
        with_nrrd(tmp_path / "a.nrrd", VOLUME, encoding="raw"),
        with_nrrd(tmp_path / "b.nrrd", swapped, encoding="raw"),
        with_nibabel(tmp_path / "a.nii", VOLUME),
    ):
        image = read_image(path)
        data = image.data.data if isinstance(image.data, ArrayView) else image.data
        assert isinstance(data, np.memmap)
        np.testing.assert_array_equal(image.read(), VOLUME)
        np.testing.assert_array_equal(image.read((1, slice(2), 3)), VOLUME[1, :2, 3])


def test_labels_are_read_from_volumes(tmp_path: Path) -> None:
    labels = (VOLUME * 2000).astype(np.uint32)
    found = read_labels(with_nrrd(tmp_path / "a.nrrd", labels))
    np.testing.assert_array_equal(found.data, labels)
    np.testing.assert_array_equal(
        read_labels(with_nibabel(tmp_path / "a.nii", labels)).data, labels
    )


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii", "a.nii.gz", "a.mrc"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5)])
def test_what_simpleitk_writes_is_what_we_read(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    package = {"a.nrrd": "nrrd", "a.mrc": "mrcfile"}.get(name, "nibabel")
    pytest.importorskip(package)
    data = VOLUME[: shape[0]]
    image = read_image(with_simpleitk(tmp_path / name, data))
    np.testing.assert_array_equal(np.squeeze(data), image.read())


def test_what_simpleitk_reads_is_what_we_read(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for path in (
        with_nrrd(
            tmp_path / "a.nrrd", VOLUME, spacings=[0.2, 0.3, 0.5], units=["um"] * 3
        ),
        with_nibabel(tmp_path / "a.nii", VOLUME, unit="mm"),
        with_mrcfile(tmp_path / "a.mrc", VOLUME.astype(np.float32), (2, 3, 5)),
    ):
        judge = sitk.ReadImage(str(path))
        image = read_image(path)
        np.testing.assert_array_equal(image.read(), sitk.GetArrayFromImage(judge))
        ratio = np.divide(image.spacing_um, judge.GetSpacing()[::-1])
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii", "a.nii.gz", "a.mrc"])
@pytest.mark.parametrize("how", ["cut", "header", "foreign", "empty"])
def test_damaged_volumes_are_refused_in_a_sentence(
    tmp_path: Path, name: str, how: str
) -> None:
    write = {"a.nrrd": with_nrrd, "a.mrc": with_mrcfile}.get(name, with_nibabel)
    path = write(
        tmp_path / name,
        np.random.default_rng(0).integers(0, 9999, (9, 9, 9)).astype(np.uint16),
    )
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-300],
            "header": content[:60],
            "foreign": b"II*\0" + bytes(2000),
            "empty": b"",
        }[how]
    )
    with pytest.raises((ValueError, OSError), match=r"a\.[a-z.]+: cannot be read.*\.$"):
        read_image(path)


def test_claimed_sizes_are_not_allocated(tmp_path: Path) -> None:
    path = with_nibabel(tmp_path / "a.nii", VOLUME)
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=r"a\.nii: cannot be read.*\.$"):
        read_image(path)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises((ValueError, OSError), match=r"a\.nii\.gz: cannot be read.*\.$"):
        read_image(tmp_path / "a.nii.gz")
    path = tmp_path / "a.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 99999 99999 99999\n"
        b"encoding: gzip\n\n" + gzip.compress(bytes(10))
    )
    pytest.importorskip("nrrd")
    with pytest.raises(ValueError, match=r"a\.nrrd: cannot be read.*cut off.*\.$"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nrrd", "b.nrrd", "a.nii.gz"])
def test_what_changed_in_a_compressed_volume_is_found(
    tmp_path: Path, name: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 2**16, (3, 40, 50), np.uint16)
    path = tmp_path / name
    if name.endswith("nrrd"):
        encoding = "gzip" if name == "a.nrrd" else "bzip2"
        with_nrrd(path, noise, encoding=encoding)
    else:
        with_nibabel(path, noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4  # which deflate does not notice in noise
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match="cannot be read"):
        read_image(path)
