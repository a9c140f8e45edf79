from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from napari_unet.io.images import read_image, read_input, read_labels
from napari_unet.io.ome_zarr import create_zarr, flush_box, open_written, stamp

if TYPE_CHECKING:
    from pathlib import Path

DATA = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)


def test_an_image_is_filled_block_by_block_and_appears_when_done(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cells.ome.zarr"
    with create_zarr(path, DATA.shape, "czyx", DATA.dtype, (2.0, 0.5, 0.25)) as out:
        for z in range(3):
            out[:, z] = DATA[:, z]
        assert not path.exists()
    image = read_image(path)
    assert (image.name, image.axes) == ("cells", "czyx")
    assert image.spacing_um == (2.0, 0.5, 0.25)
    assert isinstance(image.data, zarr.Array)
    np.testing.assert_array_equal(image.data[...], DATA)
    assert list(tmp_path.iterdir()) == [path]


def test_the_metadata_are_those_of_ngff_0_5(tmp_path: Path) -> None:
    with create_zarr(tmp_path / "a.zarr", (2, 4, 5), "tyx", "f4", (0.5, 0.25)):
        pass
    group = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    array = json.loads((tmp_path / "a.zarr" / "0" / "zarr.json").read_text())
    assert group["zarr_format"] == 3
    assert array["dimension_names"] == ["t", "y", "x"]
    assert group["attributes"]["ome"] == {
        "version": "0.5",
        "multiscales": [
            {
                "name": "a",
                "axes": [
                    {"name": "t", "type": "time"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
                ],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, 0.5, 0.25]}
                        ],
                    }
                ],
            }
        ],
    }


def test_chunks_are_planes_of_512_unless_given(tmp_path: Path) -> None:
    with create_zarr(tmp_path / "a.zarr", (2, 600, 5), "zyx", "u1") as out:
        assert out.chunks == (1, 512, 5)
    with create_zarr(tmp_path / "a.zarr", (2, 600, 5), "zyx", "u1", chunk=64) as out:
        assert out.chunks == (1, 64, 5)


def test_without_a_pixel_size_none_is_read_back(tmp_path: Path) -> None:
    with create_zarr(tmp_path / "a.zarr", (4, 5), "yx", "u1"):
        pass
    assert read_image(tmp_path / "a.zarr").spacing_um is None


def test_a_failing_block_leaves_the_old_image(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with create_zarr(path, (4, 5), "yx", "u1") as out:
        out[...] = 7

    def fail() -> None:
        with create_zarr(path, (9, 9), "yx", "u1") as out:
            out[...] = 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert np.asarray(read_image(path).data).tolist() == [[7] * 5] * 4
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_image_is_replaced_but_no_other_folder(tmp_path: Path) -> None:
    for value in (1, 2):
        with create_zarr(tmp_path / "a.zarr", (4, 5), "yx", "u1") as out:
            out[...] = value
    assert read_image(tmp_path / "a.zarr").data[0, 0] == 2
    (tmp_path / "b.zarr").mkdir()
    with (
        pytest.raises(
            FileExistsError, match=r"b\.zarr: exists and is no OME-Zarr image"
        ),
        create_zarr(tmp_path / "b.zarr", (4, 5), "yx", "u1"),
    ):
        pass


@pytest.mark.parametrize(
    ("shape", "axes", "spacing", "match"),
    [
        ((4, 5, 2), "yxc", None, "order tczyx, not yxc"),
        ((4, 5), "zyx", None, "name 3 axes"),
        ((0, 5), "yx", None, "empty"),
        ((4, 5), "yx", (1.0,), "pixel size needs 2 positive values"),
    ],
)
def test_what_cannot_be_an_ome_zarr_image_is_refused(
    tmp_path: Path, shape: tuple[int, ...], axes: str, spacing: Any, match: str
) -> None:
    with (
        pytest.raises(ValueError, match=match),
        create_zarr(tmp_path / "a.zarr", shape, axes, "u1", spacing),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def foreign(
    path: Path, attributes: dict[str, Any], data: np.ndarray, name: str = "0"
) -> None:
    """Write as other programs do: zarr 2, metadata beside the array."""
    group = zarr.create_group(path, zarr_format=2, attributes=attributes)
    group.create_array(name, data=data)


def test_ngff_0_4_is_read_with_both_scales_and_units(tmp_path: Path) -> None:
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "channel", "type": "channel"},
        {"name": "z", "type": "space", "unit": "nanometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    level = [
        {"type": "scale", "scale": [1, 1, 500, 0.5, 0.5]},
        {"type": "translation", "translation": [0, 0, 9, 9, 9]},
    ]
    image = {
        "version": "0.4",
        "axes": axes,
        "datasets": [{"path": "full", "coordinateTransformations": level}],
        "coordinateTransformations": [{"type": "scale", "scale": [30, 1, 2, 1, 1]}],
    }
    foreign(tmp_path / "a.zarr", {"multiscales": [image]}, DATA[None], "full")
    read = read_image(tmp_path / "a.zarr")
    assert read.axes == "czyx"
    assert read.spacing_um == pytest.approx((1.0, 0.5, 0.5))
    assert (read.data.shape, read.data.dtype) == (DATA.shape, DATA.dtype)
    np.testing.assert_array_equal(read.data[1, 1:3, 2], DATA[1, 1:3, 2])


@pytest.mark.parametrize("axes", [None, ["t", "c", "z", "y", "x"]])
def test_older_ngff_without_described_axes_is_read(tmp_path: Path, axes: Any) -> None:
    image: dict[str, Any] = {"datasets": [{"path": "0"}]}
    if axes:
        image["axes"] = axes
    foreign(tmp_path / "a.zarr", {"multiscales": [image]}, DATA[:, None])
    read = read_image(tmp_path / "a.zarr")
    assert (read.axes, read.spacing_um) == ("tzyx", None)


@pytest.mark.parametrize(
    ("name", "kind", "said"), [("angle", "custom", "A"), ("Phase", "space", "P")]
)
def test_an_axis_of_another_name_is_read_as_slices_and_told(
    tmp_path: Path, name: str, kind: str, said: str
) -> None:
    axes = [{"name": name, "type": kind}, {"name": "y"}, {"name": "x"}]
    image = {"axes": axes, "datasets": [{"path": "0"}]}
    foreign(tmp_path / "a.zarr", {"multiscales": [image]}, DATA[0])
    read = read_image(tmp_path / "a.zarr")
    assert read.axes == "zyx"
    (note,) = read.notes
    assert f"that the file calls {said} is read as slices" in note


def test_a_scale_without_a_unit_is_no_pixel_size(tmp_path: Path) -> None:
    steps = [{"type": "scale", "scale": [0.5, 0.5]}]
    image = {
        "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    }
    foreign(tmp_path / "a.zarr", {"multiscales": [image]}, DATA[0, 0])
    assert read_image(tmp_path / "a.zarr").spacing_um is None


def test_the_first_image_of_a_bioformats_folder_is_read(tmp_path: Path) -> None:
    root = zarr.create_group(
        tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3}
    )
    inner = root.create_group(
        "0", attributes={"multiscales": [{"datasets": [{"path": "0"}]}]}
    )
    inner.create_array("0", data=DATA)
    assert read_image(tmp_path / "a.zarr").axes == "czyx"


def test_a_bare_array_is_read_by_its_names_or_its_shape(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=DATA)
    assert read_image(tmp_path / "a.zarr").axes == "czyx"
    zarr.create_array(
        tmp_path / "b.zarr", data=DATA, dimension_names=["T", "z", "y", "x"]
    )
    assert read_image(tmp_path / "b.zarr").axes == "tzyx"


def test_unsigned_labels_stay_on_disk(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=DATA[0])
    assert isinstance(read_labels(tmp_path / "a.zarr").data, zarr.Array)


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({}, "it holds no OME-Zarr image"),
        ({"plate": {"wells": []}}, "it holds no OME-Zarr image"),
    ],
)
def test_folders_without_one_image_are_told(
    tmp_path: Path, attributes: dict[str, Any], match: str
) -> None:
    zarr.create_group(tmp_path / "a.zarr", attributes=attributes)
    with pytest.raises(
        ValueError, match=f"a.zarr: cannot be read as an image: .*{match}"
    ):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("content", ["", "{", '{"zarr_format": 3}'])
def test_damaged_metadata_give_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.zarr: cannot be read as an image"):
        read_image(tmp_path / "a.zarr")


def test_an_empty_zarr_folder_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises((OSError, ValueError), match=r"a\.zarr: cannot be read"):
        read_image(tmp_path / "a.zarr")


def test_a_stamp_changes_with_any_file_of_an_image(tmp_path):
    with create_zarr(tmp_path / "a.zarr", (4, 600), "yx", "u1") as out:
        out[...] = 1
    before = stamp(tmp_path / "a.zarr")
    assert stamp(tmp_path / "a.zarr") == before
    open_written(tmp_path / "a.zarr")[0, 599] = 2
    assert stamp(tmp_path / "a.zarr") != before


def test_only_the_chunks_of_a_box_are_flushed(tmp_path, monkeypatch):
    with create_zarr(tmp_path / "a.zarr", (2, 4, 9), "cyx", "u1", chunk=3) as out:
        out[:, :, :6] = 1  # chunks of zeros are no files
    flushed = []
    monkeypatch.setattr("napari_unet.io.ome_zarr.flush_file", flushed.append)
    array = open_written(tmp_path / "a.zarr")
    flush_box(tmp_path / "a.zarr", array, (1, slice(1, 2), slice(2, 9)))
    inner = tmp_path / "a.zarr" / "0" / "c"
    assert flushed == [inner / "1" / "0" / "0", inner / "1" / "0" / "1"]
    flush_box(tmp_path / "a.zarr", array, (slice(None), 3, slice(0, 1)))
    assert flushed[2:] == [inner / "0" / "1" / "0", inner / "1" / "1" / "0"]


def test_of_a_stack_only_y_and_x_may_have_a_size(tmp_path: Path) -> None:
    with create_zarr(tmp_path / "a.zarr", (2, 4, 5), "zyx", "u1", (0.5, 0.25)):
        pass
    image = read_image(tmp_path / "a.zarr")
    assert (image.spacing_um, image.yx_um) == (None, (0.5, 0.25))


@pytest.mark.parametrize(
    ("scale", "unit"),
    [(["a", 1], "micrometer"), ([0.5], "micrometer"), ([0.5, 0.5], 5), (None, "cat")],
)
def test_a_scale_that_cannot_be_understood_is_no_pixel_size(
    tmp_path: Path, scale: Any, unit: Any
) -> None:
    axes = [{"name": a, "type": "space", "unit": unit} for a in "yx"]
    step = {"type": "scale", "scale": scale}
    level = {"path": "0", "coordinateTransformations": [step]}
    scales = {"multiscales": [{"axes": axes, "datasets": [level]}]}
    foreign(tmp_path / "a.zarr", scales, DATA[0, 0])
    image = read_image(tmp_path / "a.zarr")
    assert image.yx_um is None
    np.testing.assert_array_equal(np.asarray(image.data), DATA[0, 0])


def test_a_damaged_chunk_is_one_sentence_and_a_missing_one_is_zero(
    tmp_path: Path,
) -> None:
    with create_zarr(tmp_path / "a.zarr", (4, 5), "yx", "u1") as out:
        out[...] = 7
    (chunk,) = (p for p in (tmp_path / "a.zarr" / "0" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:5])
    with pytest.raises(ValueError, match=r"^a: a part of it is damaged .*\.$") as told:
        next(read_image(tmp_path / "a.zarr").fields(2)).read()
    assert "\n" not in str(told.value)
    chunk.unlink()
    assert not next(read_image(tmp_path / "a.zarr").fields(2)).read().any()


@pytest.mark.parametrize(
    ("shard", "separator", "what"),
    [(None, None, "9 chunks"), ((8, 8), None, "4 shards"), (None, "/", "9 chunks")],
)
def test_of_an_input_it_is_noted_how_many_chunks_are_missing(
    tmp_path: Path, shard: Any, separator: str | None, what: str
) -> None:
    path, pixels = tmp_path / "a.zarr", np.ones((10, 11), np.uint8)
    if separator is None:
        with create_zarr(path, (10, 11), "yx", np.uint8, None, 4, None, shard) as array:
            array[:] = pixels
        one = path / "0" / "c" / "0" / "1"
    else:
        group = zarr.open_group(str(path), mode="w", zarr_format=2)
        array = group.create_array(
            "s0",
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=(4, 4),
            fill_value=7,
            chunk_key_encoding={"name": "v2", "separator": separator},
        )
        array[:] = pixels
        scales = [{"datasets": [{"path": "s0"}], "axes": ["y", "x"]}]
        group.attrs["multiscales"] = scales
        one = path / "s0" / "0" / "1"
    assert read_input(path).notes == read_image(path).notes
    one.unlink()
    (one.parent / ".DS_Store").touch()
    (note,) = set(read_input(path).notes) - set(read_image(path).notes)
    fill = 0 if separator is None else 7
    assert note.startswith(f"1 of its {what} is not stored and read as {fill}, by the")


def test_what_is_no_array_is_told(tmp_path):
    with create_zarr(tmp_path / "a.zarr", (4, 5), "yx", "u1"):
        pass
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    told = group.attrs["ome"]
    told["multiscales"][0]["datasets"][0]["path"] = ""
    group.attrs["ome"] = told
    with pytest.raises(ValueError, match=r"a\.zarr: .* which is no array"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axes": ["y", "x"]}, "names 2 axes, its pixels have the shape"),
        ({"axes": [{"type": "space"}] * 3}, "description is damaged"),
        ({"axes": [{"name": 1}] * 3}, "description is damaged"),
        ({"datasets": "0"}, "description is damaged"),
        ({"datasets": [{"path": 0}]}, "description is damaged"),
        ({"datasets": [{}]}, "description is damaged"),
    ],
)
def test_a_description_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """Fewer axes than the array has would be read as a part of it."""
    with create_zarr(tmp_path / "a.zarr", (3, 4, 5), "zyx", "u1"):
        pass
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    told = group.attrs["ome"]
    told["multiscales"][0] |= changes
    group.attrs["ome"] = told
    with pytest.raises(ValueError, match=rf"a\.zarr: cannot be read .*{words}"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("told", ["text", ["text"], {}, [{}]])
def test_images_that_are_no_list_of_images_are_refused(
    tmp_path: Path, told: Any
) -> None:
    zarr.create_group(tmp_path / "a.zarr", attributes={"multiscales": told})
    with pytest.raises(ValueError, match=r"a\.zarr: cannot be read as an image: it"):
        read_image(tmp_path / "a.zarr")
