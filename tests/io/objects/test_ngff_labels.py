from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from example_labels import objects_of
from napari_unet.core.cells.label_colours import label_colours
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.core.images.image import Image
from napari_unet.io.export import write_labels
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.objects import ngff_labels
from napari_unet.io.ome_zarr import create_zarr

SAMPLE = Path(__file__).parents[4] / "shared/samples/formats/labels05.ome.zarr"
CLASSES = {
    "classes": (ObjectClass("nucleus", "#ff0000"), ObjectClass("mitosis")),
    "class_of": {1: 1, 300: 2},
    "probability_of": {300: 0.75},
}


def cells() -> np.ndarray:
    labels = np.zeros((2, 6, 7), np.uint16)
    labels[:, 1:4, 1:4], labels[1, 5, 6] = 1, 300
    return labels


def attributes(path: Path) -> dict[str, object]:
    return json.loads((path / "zarr.json").read_text())["attributes"]


def image(path: Path, shape: tuple[int, ...] = (2, 6, 7)) -> Path:
    with create_zarr(path, shape, "zyx", np.uint8, (2.0, 0.5, 0.25)):
        pass
    return path


def old_image(path: Path) -> Path:
    """An image of NGFF 0.4."""
    group = zarr.create_group(str(path), zarr_format=2)
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    scale = {"type": "scale", "scale": [1, 1, 1]}
    level = {"path": "0", "coordinateTransformations": [scale]}
    group.attrs["multiscales"] = [
        {"version": "0.4", "name": "old", "axes": axes, "datasets": [level]}
    ]
    group.create_array(
        "0",
        shape=(2, 6, 7),
        dtype="u1",
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    return path


def test_labels_tell_their_colours_and_properties(tmp_path: Path) -> None:
    path = tmp_path / "a_labels.ome.zarr"
    table = {
        "label": np.array([1, 300]),
        "class": np.array(["nucleus", "mitosis"]),
        "z": np.array([0, 1]),
        "volume_um3": np.array([4.5, np.nan]),
        "touches_border": np.array([False, True]),
    }
    ngff_labels.write(path, objects_of(cells(), "zyx", table=table, **CLASSES))
    told = attributes(path)["ome"]["image-label"]
    one, last = label_colours([1, 300]).tolist()
    assert told == {
        "colors": [
            {"label-value": 1, "rgba": [*one, 255]},
            {"label-value": 300, "rgba": [*last, 255]},
        ],
        "properties": [
            {
                "label-value": 1,
                "class": "nucleus",
                "z": 0,
                "volume_um3": 4.5,
                "touches_border": False,
            },
            {
                "label-value": 300,
                "class": "mitosis",
                "class_probability": 0.75,
                "z": 1,
                "touches_border": True,
            },
        ],
    }
    back = ngff_labels.read(path)
    assert back.labels.spacing_um == pytest.approx((2.0, 0.5, 0.25))
    assert [kind.name for kind in back.classes] == ["nucleus", "mitosis"]
    assert (back.class_of, back.probability_of) == ({1: 1, 300: 2}, {300: 0.75})


def test_measurements_of_several_rows_are_left_to_the_table(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    table = {"label": np.array([1, 1, 300]), "area_px": np.array([9, 9, 1])}
    ngff_labels.write(path, objects_of(cells(), "zyx", table=table))
    told = attributes(path)["ome"]["image-label"]
    assert told["properties"] == [{"label-value": 300, "area_px": 1}]


def test_levels_have_every_second_pixel_of_the_one_before(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 70_000, (2, 513, 1100))
    path = tmp_path / "a.zarr"
    ngff_labels.write(path, objects_of(labels, "zyx"))
    datasets = attributes(path)["ome"]["multiscales"][0]["datasets"]
    scales = [d["coordinateTransformations"][0]["scale"] for d in datasets]
    assert scales == [[2.0, 0.5, 0.25], [2.0, 1.0, 0.5], [2.0, 2.0, 1.0]]
    for level in range(3):
        stored = zarr.open_array(str(path / str(level)), mode="r")
        step = 2**level
        np.testing.assert_array_equal(stored[:], labels[:, ::step, ::step])
        assert stored.dtype == np.uint32
    assert "colors" not in attributes(path)["ome"]["image-label"]


def test_a_viewer_chooses_colours_of_many_labels(tmp_path: Path) -> None:
    labels = np.arange(1001, dtype=np.uint16).reshape(1, -1)
    ngff_labels.write(tmp_path / "a.zarr", objects_of(labels, "yx"))
    told = attributes(tmp_path / "a.zarr")["ome"]["image-label"]
    assert len(told["colors"]) == 1000
    ngff_labels.write(tmp_path / "a.zarr", objects_of(labels + 1, "yx"))
    assert attributes(tmp_path / "a.zarr")["ome"]["image-label"] == {}


@pytest.mark.parametrize("make", [image, old_image])
def test_labels_are_put_into_their_image(tmp_path: Path, make: object) -> None:
    around = make(tmp_path / "image.zarr")
    for name in ("cells", "nuclei"):
        ngff_labels.write(around / "labels" / name, objects_of(cells(), "zyx"))
    ngff_labels.write(around / "labels" / "cells", objects_of(cells() * 2, "zyx"))
    group = zarr.open_group(str(around / "labels"), mode="r")
    told = dict(group.attrs)
    assert told.get("ome", told)["labels"] == ["cells", "nuclei"]
    assert sorted(group.group_keys()) == ["cells", "nuclei"]
    inside = dict(group["cells"].attrs)
    source = inside.get("ome", inside)["image-label"]["source"]
    assert source == {"image": "../../"}
    back = ngff_labels.read(around / "labels" / "cells").labels
    np.testing.assert_array_equal(back.read(), cells() * 2)
    with pytest.raises(ValueError, match=r"holds the labels cells, nuclei; name one, "):
        ngff_labels.read(around)


def test_the_only_labels_of_an_image_are_read_of_its_folder(tmp_path: Path) -> None:
    around = image(tmp_path / "image.zarr")
    ngff_labels.write(around / "labels" / "cells", objects_of(cells(), "zyx"))
    np.testing.assert_array_equal(ngff_labels.read(around).labels.read(), cells())


def test_yaozarrs_finds_no_fault(tmp_path: Path) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    alone = tmp_path / "a_labels.ome.zarr"
    plane = objects_of(cells()[0], "yx")
    for objects in (objects_of(cells(), "zyx", **CLASSES), plane):
        ngff_labels.write(alone, objects)
        yaozarrs.validate_zarr_store(str(alone))
    for make in (image, old_image):
        around = make(tmp_path / f"{make.__name__}.zarr")
        ngff_labels.write(
            around / "labels" / "cells", objects_of(cells(), "zyx", **CLASSES)
        )
        yaozarrs.validate_zarr_store(str(around))
        if make is image:  # the list of 0.4 has no version to judge it by
            yaozarrs.validate_zarr_store(str(around / "labels"))
        yaozarrs.validate_zarr_store(str(around / "labels" / "cells"))


def test_labels_of_another_size_are_not_put_into_an_image(tmp_path: Path) -> None:
    around = image(tmp_path / "image.zarr", (2, 7, 6))
    with pytest.raises(ValueError, match=r"2 × 6 × 7 pixels .* 2 × 7 × 6"):
        ngff_labels.write(around / "labels" / "cells", objects_of(cells(), "zyx"))
    assert not (around / "labels").exists()


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_labels_that_readers_would_not_find_are_refused(tmp_path: Path) -> None:
    around = image(tmp_path / "image.zarr")
    zarr.consolidate_metadata(str(around))
    with pytest.raises(ValueError, match="its metadata are consolidated"):
        ngff_labels.write(around / "labels" / "cells", objects_of(cells(), "zyx"))
    assert not (around / "labels").exists()


def test_labels_that_could_not_be_listed_are_not_written(tmp_path: Path) -> None:
    around = image(tmp_path / "image.zarr")
    (around / "labels").mkdir()
    with pytest.raises(ValueError, match="labels: cannot be read as OME-Zarr"):
        ngff_labels.write(around / "labels" / "cells", objects_of(cells(), "zyx"))
    assert list((around / "labels").iterdir()) == []


def test_what_is_no_zarr_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no OME-Zarr image"):
        ngff_labels.write(tmp_path / "a.zarr", objects_of(cells(), "zyx"))
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zarr", "thesis.txt"]


def test_an_image_is_not_replaced_by_its_labels(tmp_path: Path) -> None:
    path = image(tmp_path / "image.zarr")
    with pytest.raises(FileExistsError, match="is an image without a description of"):
        ngff_labels.write(path, objects_of(cells(), "zyx"))
    assert read_image(path).data.shape == (2, 6, 7)


def test_plain_label_images_are_objects_without_properties(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.zarr", cells(), "zyx")
    back = ngff_labels.read(tmp_path / "a.zarr")
    np.testing.assert_array_equal(back.labels.read(), cells())
    assert (back.classes, back.class_of) == ((), {})


def test_background_has_no_class(tmp_path: Path) -> None:
    """In the example of the specification it has one."""
    path = tmp_path / "a.zarr"
    for label, found in ((0, False), (300, True)):
        ngff_labels.write(path, objects_of(cells(), "zyx"))
        told = json.loads((path / "zarr.json").read_text())
        properties = [{"label-value": label, "class": "foreground"}]
        told["attributes"]["ome"]["image-label"]["properties"] = properties
        (path / "zarr.json").write_text(json.dumps(told))
        assert ngff_labels.has_classes(path) == found
        assert bool(ngff_labels.read(path).class_of) == found


@pytest.mark.parametrize(
    "properties",
    [
        [{"label-value": "x", "class": "a"}],
        [{"class": "a"}],
        ["text"],
        7,
        [{"label-value": 1, "class_probability": "high"}],
        [{"label-value": [], "class": "a"}],
    ],
)
def test_damaged_properties_are_refused_in_a_sentence(
    tmp_path: Path, properties: object
) -> None:
    path = tmp_path / "a.zarr"
    ngff_labels.write(path, objects_of(cells(), "zyx"))
    told = json.loads((path / "zarr.json").read_text())
    told["attributes"]["ome"]["image-label"]["properties"] = properties
    (path / "zarr.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="the properties of its labels are damaged"):
        ngff_labels.read(path)


@pytest.mark.parametrize("names", [[], ["../../other"], ["/etc"], [".."], [3], None, 5])
def test_a_list_of_labels_leads_nowhere_else(tmp_path: Path, names: object) -> None:
    around = image(tmp_path / "image.zarr")
    image(tmp_path / "other")
    ngff_labels.write(around / "labels" / "cells", objects_of(cells(), "zyx"))
    listed = around / "labels" / "zarr.json"
    told = json.loads(listed.read_text())
    told["attributes"]["ome"]["labels"] = names
    listed.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="its folder of labels lists none"):
        ngff_labels.read(around)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"zarr_format": 9}', b"\xff"])
@pytest.mark.parametrize("where", ["labels", "labels/cells"])
def test_damaged_folders_are_refused_in_a_sentence(
    tmp_path: Path, where: str, content: bytes
) -> None:
    around = image(tmp_path / "image.zarr")
    ngff_labels.write(around / "labels" / "cells", objects_of(cells(), "zyx"))
    (around / where / "zarr.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read as .*\.$") as found:
        ngff_labels.read(around)
    assert str(found.value).isprintable()


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
def test_labels_of_another_program_are_read() -> None:
    back = ngff_labels.read(SAMPLE)
    stored = zarr.open_array(str(SAMPLE / "labels/cells/0"), mode="r")[:]
    np.testing.assert_array_equal(back.labels.read(), stored)
    assert back.labels.axes == "zyx"
    assert back.labels.spacing_um == (1.0, 0.5, 0.5)
    image_of = Image(np.zeros(stored.shape, np.uint8), "zyx")
    assert ngff_labels.read(SAMPLE, image_of).labels.data.shape == stored.shape
    np.testing.assert_array_equal(read_labels(SAMPLE / "labels/cells").read(), stored)
