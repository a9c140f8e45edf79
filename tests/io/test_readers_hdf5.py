"""HDF5: of ilastik, of anyone, and of Imaris."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.io.images import find, read_image, read_labels

if TYPE_CHECKING:
    from pathlib import Path

h5py = pytest.importorskip("h5py")

VOLUME = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


def tags(axes: str) -> str:
    """Return vigra's JSON, as ilastik writes it."""
    each = [
        {"key": a, "typeFlags": 1, "resolution": 0, "description": ""} for a in axes
    ]
    return json.dumps({"axes": each})


def write(path: Path, axes: str = "", **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            made = file.create_dataset(name, data=data)
            if axes:
                made.attrs["axistags"] = tags(axes)
    return path


def test_axes_are_those_of_ilastik(tmp_path: Path) -> None:
    pyfive = pytest.importorskip("pyfive")
    data = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)
    path = write(tmp_path / "a.h5", "zyxc", exported_data=data)
    image = read_image(path)
    assert (image.axes, image.notes) == ("zyxc", ())
    with pyfive.File(str(path)) as file:  # which shares no code with h5py
        np.testing.assert_array_equal(file["exported_data"][...], image.read())
    np.testing.assert_array_equal(image.read((1, slice(1, 3), 2)), data[1, 1:3, 2])


def test_axes_without_a_name_are_guessed_and_said(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "a.h5", raw=VOLUME))
    assert image.axes == "zyx"
    assert image.notes == ("the file names no axes: they are taken as z, y, x.",)
    assert read_image(tmp_path / "a.h5", "tyx").axes == "tyx"
    plane = read_image(write(tmp_path / "b.hdf5", raw=VOLUME[0]))
    assert (plane.axes, plane.notes) == ("yx", ())


def test_labels_of_dimensions_and_element_sizes_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", raw=VOLUME)
    with h5py.File(path, "r+") as file:
        for number, axis in enumerate("tyx"):
            file["raw"].dims[number].label = axis
        file["raw"].attrs["element_size_um"] = [0.3, 0.2]
    image = read_image(path)
    assert (image.axes, image.spacing_um) == ("tyx", (0.3, 0.2))
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["element_size_um"] = [0.5, 0.3, 0.2]
        file["raw"].attrs["axistags"] = tags("zyx")
    assert read_image(path).spacing_um == (0.5, 0.3, 0.2)


def test_datasets_are_listed_and_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", raw=VOLUME, labels=VOLUME + 1, vector=VOLUME[0, 0])
    with pytest.raises(
        ValueError,
        match=r"a\.h5: it holds 2 images: #1 '/labels' \(3 × 4 × 5, uint16\), "
        r"#2 '/raw' .*; name one, as in a\.h5#2, or all with a\.h5#\*\.$",
    ):
        read_image(path)
    assert [f.name for f in find([f"{path}#*"])] == ["a.h5#1", "a.h5#2"]
    np.testing.assert_array_equal(read_labels(f"{path}#1").read(), VOLUME + 1)
    assert read_image(f"{path}#2").name == "a#2"


def test_no_link_out_of_the_file_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "other.h5", secret=VOLUME)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(ValueError, match="no dataset of numbers"):
        read_image(path)
    with h5py.File(path, "w") as file:
        (tmp_path / "secret").write_bytes(bytes(100))
        file.create_dataset("out", (5, 5), "u1", external=[("secret", 0, 100)])
    with pytest.raises(ValueError, match="the pixels of /out are in other files"):
        read_image(path)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((3, 4, 5), "u2")
        layout[...] = h5py.VirtualSource("other.h5", "secret", (3, 4, 5))
        file.create_virtual_dataset("out", layout)
    with pytest.raises(ValueError, match="the pixels of /out are in other files"):
        read_image(path)


@pytest.mark.parametrize(
    "name",
    [
        "DataSet/ResolutionLevel 0",
        "DataSet/ResolutionLevel 0/TimePoint 0",
        "DataSet/ResolutionLevel 0/TimePoint 0/Channel 1",
        "DataSet/ResolutionLevel 0/TimePoint 0/Channel 1/Data",
    ],
)
def test_no_link_out_of_a_file_of_imaris_is_followed(tmp_path: Path, name: str) -> None:
    path = imaris(tmp_path / "a.ims", np.zeros((1, 2, 3, 5, 6), np.uint8), (4, 8, 8))
    write(tmp_path / "other.h5", secret=np.zeros((4, 8, 8), np.uint8))
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(ValueError, match=f"{name} in it is a link, which is not fol"):
        read_image(path)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    """Blocks of a dataset that would fill a memory are read one by one."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        size = (10**6, 10**6)
        made = file.create_dataset("raw", size, "u1", chunks=(64, 64))
        made[500:502, 700:702] = 7
    image = read_image(path)
    block = image.read((slice(499, 503), slice(700, 702)))
    np.testing.assert_array_equal(block, [[0, 0], [7, 7], [7, 7], [0, 0]])


def imaris(path: Path, data: np.ndarray, padded: tuple[int, ...]) -> Path:
    """Write what Imaris would: axes tczyx, volumes filled up to whole blocks."""

    def text(value: object) -> np.ndarray:
        return np.frombuffer(str(value).encode(), "S1")

    extent = np.multiply(data.shape[2:], (0.5, 0.3, 0.2))[::-1] + 10
    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image").attrs
        info["Unit"] = text("um")
        for k, axis in enumerate("XYZ"):
            info[axis] = text(data.shape[-1 - k])
            info[f"ExtMin{k}"], info[f"ExtMax{k}"] = text(10), text(extent[k])
        for t, c in np.ndindex(data.shape[:2]):
            where = f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}"
            group = file.create_group(where)
            for k, axis in enumerate("XYZ"):
                group.attrs[f"ImageSize{axis}"] = text(data.shape[-1 - k])
            volume = np.full(padded, 99, data.dtype)
            volume[tuple(map(slice, data.shape[2:]))] = data[t, c]
            group.create_dataset("Data", data=volume, chunks=(2, 4, 4))
            # a coarser level is no image of its own
            small = file.create_group(where.replace("Level 0", "Level 1"))
            small.create_dataset("Data", data=volume[:, ::2, ::2])
    return path


def test_imaris_is_cropped_to_its_size(tmp_path: Path) -> None:
    pyfive = pytest.importorskip("pyfive")
    data = np.arange(2 * 3 * 3 * 5 * 6, dtype=np.uint16).reshape(2, 3, 3, 5, 6)
    path = imaris(tmp_path / "a.ims", data, (4, 8, 8))
    with pyfive.File(str(path)) as file:
        volume = file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 2/Data"]
        np.testing.assert_array_equal(volume[:3, :5, :6], data[1, 2])
    image = read_image(path)
    assert image.axes == "tczyx"
    assert image.spacing_um == pytest.approx((0.5, 0.3, 0.2))
    np.testing.assert_array_equal(image.read(), data)
    np.testing.assert_array_equal(
        image.read((1, slice(0, 2), 2, slice(1, 3))), data[1, :2, 2, 1:3]
    )
    volume = next(image.fields(3)).read()
    np.testing.assert_array_equal(volume, data[0])


def test_imaris_of_lost_or_differing_volumes_is_refused(tmp_path: Path) -> None:
    data = np.zeros((2, 2, 3, 5, 6), np.uint8)
    path = imaris(tmp_path / "a.ims", data, (4, 8, 8))
    with h5py.File(path, "r+") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"]
    with pytest.raises(ValueError, match="1 of its 4 volumes are not in it"):
        read_image(path)
    path = imaris(tmp_path / "b.ims", data, (3, 5, 6))
    with h5py.File(path, "r+") as file:
        group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
        group.attrs["ImageSizeX"] = np.frombuffer(b"7", "S1")
    with pytest.raises(ValueError, match="more than are stored"):
        read_image(path)
    write(tmp_path / "c.ims", raw=VOLUME)
    with pytest.raises(ValueError, match="it has no DataSet/ResolutionLevel 0"):
        read_image(tmp_path / "c.ims")


@pytest.mark.parametrize("name", ["a.h5", "a.ims"])
@pytest.mark.parametrize("how", ["cut", "foreign", "empty"])
def test_damaged_files_are_refused_in_a_sentence(
    tmp_path: Path, name: str, how: str
) -> None:
    path = write(tmp_path / name, raw=np.zeros((50, 50), np.uint8))
    content = path.read_bytes()
    changed = {"cut": content[:-900], "foreign": b"PK\3\4" + bytes(999), "empty": b""}
    path.write_bytes(changed[how])
    with pytest.raises((ValueError, OSError), match=r"cannot be read.*\.$"):
        read_image(path)
