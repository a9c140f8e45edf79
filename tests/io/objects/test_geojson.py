from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core.cells.measurements import measure, stack
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.io.images import read_labels
from napari_unet.io.objects import geojson
from napari_unet.io.objects.found import SMALLEST
from object_cases import CASES, ids, objects, random_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLES = Path(__file__).parents[4] / "shared" / "samples" / "formats" / "rois"


def square(left: float, top: float, size: float = 2) -> list[list[float]]:
    right, bottom = left + size, top + size
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(
    *rings: list[list[float]], geometry: Mapping[str, Any] | None = None, **said: Any
) -> dict[str, Any]:
    shape = {"type": "Polygon", "coordinates": rings, **(geometry or {})}
    return {"type": "Feature", "geometry": shape, "properties": said}


def read(path: Path, *features: Any, like: Image | None = None) -> Objects:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return geojson.read(path, like)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.geojson"


def test_an_object_is_a_detection_with_name_class_colour_plane_and_measurements(
    path: Path,
) -> None:
    labels = Image(np.array([[[0, 0]], [[0, 7]]]), "zyx", name="picture")
    table = {
        "label": np.array([7]),
        "class": np.array(["nuclei"]),
        "t": np.array([0]),
        "z": np.array([1]),
        "area_px": np.array([1]),
        "solidity": np.array([np.nan]),
        "touches_border": np.array([True]),
    }
    kinds = (ObjectClass("nuclei", "#e69f00"),)
    geojson.write(path, Objects(labels, kinds, {7: 1}, {7: 0.75}, table))
    content = json.loads(path.read_text())
    (found,) = content.pop("features")
    assert content == {"type": "FeatureCollection"}
    assert len(found.pop("id")) == 36
    assert found == {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[2, 0], [2, 1], [1, 1], [1, 0], [2, 0]]],
            "plane": {"c": -1, "z": 1, "t": 0},
        },
        "properties": {
            "objectType": "detection",
            "name": "7",
            "classification": {"name": "nuclei", "color": [230, 159, 0]},
            "measurements": {
                "area_px": 1,
                "touches_border": 1,
                "class_probability": 0.75,
            },
        },
    }


@pytest.mark.parametrize("ndim", [2, 3])
def test_measurements_are_those_of_the_plane_or_of_the_volume(
    path: Path, ndim: int
) -> None:
    labels = Image(np.stack([ids("110", "020"), ids("100", "222")]), "zyx")
    fields = [(f.z or 0, f.read()[0]) for f in labels.fields(ndim)]
    table = stack([measure(plane, z=z) for z, plane in fields])
    geojson.write(path, Objects(labels, table=table))
    what = "area_px" if ndim == 2 else "volume_px"
    found = [
        (f["properties"]["name"], f["properties"]["measurements"][what])
        for f in json.loads(path.read_text())["features"]
    ]
    planes = [("1", 2), ("2", 1), ("1", 1), ("2", 3)]
    assert found == (planes if ndim == 2 else [("1", 3), ("2", 4), ("1", 3), ("2", 4)])


def test_the_same_object_has_the_same_unique_id_when_written_again(path: Path) -> None:
    seen = []
    for _ in range(2):
        geojson.write(path, objects(*CASES["time and slices"]))
        seen.append([f["id"] for f in json.loads(path.read_text())["features"]])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == len(seen[0])


@pytest.mark.parametrize("seed", range(10))
def test_shapely_finds_valid_polygons_with_the_pixels(path: Path, seed: int) -> None:
    shapely = pytest.importorskip("shapely")
    written = objects(*random_labels(seed))
    geojson.write(path, written)
    planes = {(p.t, p.z): p.ids for p in written.planes()}
    for one in json.loads(path.read_text())["features"]:
        place = one["geometry"]["plane"]
        plane = planes[place["t"], place["z"]]
        shape = shapely.from_geojson(json.dumps(one["geometry"]))
        assert shape.is_valid
        y, x = np.indices(plane.shape) + 0.5
        label = int(one["properties"]["name"])
        np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), plane == label)


def test_a_bare_list_of_features_is_read(path: Path) -> None:
    path.write_text("\ufeff" + json.dumps([feature(square(1, 0), name="5")]))
    read = geojson.read(path).labels
    np.testing.assert_array_equal(read.read(), ids("055", "055"))


def test_cells_are_read_and_the_regions_around_them_left_out(path: Path) -> None:
    cell = feature(square(1, 1), objectType="cell", name="3")
    region = feature(square(0, 0, 4), objectType="annotation", childObjects=[cell])
    labels = read(path, region).labels
    np.testing.assert_array_equal(labels.read(), ids("000", "033", "033"))
    assert labels.notes == ("1 object is no cell and is left out.", SMALLEST)


def test_annotations_are_read_where_there_are_no_cells(path: Path) -> None:
    point = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 1]},
        "properties": None,
    }
    labels = read(path, feature(square(0, 0)), point, feature(square(2, 0))).labels
    np.testing.assert_array_equal(labels.read(), ids("1122", "1122"))
    assert labels.notes == ("1 point or line is left out.", SMALLEST)


def test_names_that_are_there_twice_are_no_ids(path: Path) -> None:
    twice = [feature(square(0, 0), name="4"), feature(square(2, 0), name="4")]
    labels = read(path, *twice).labels
    np.testing.assert_array_equal(labels.read(), ids("1122", "1122"))
    assert labels.notes == (
        "Several objects have one name: the names are not taken for ids.",
        SMALLEST,
    )


def test_objects_without_a_number_get_the_next_ones(path: Path) -> None:
    labels = read(
        path,
        feature(square(0, 0), name="Tumour 1"),
        feature(square(2, 0), name="7"),
        feature(square(4, 0)),
    ).labels
    np.testing.assert_array_equal(labels.read(), ids("887799", "887799"))


@pytest.mark.parametrize(
    ("classification", "wanted"),
    [
        ("Tumour", ObjectClass("Tumour")),
        ({"name": "Tumour", "color": [1, 2, 255]}, ObjectClass("Tumour", "#0102ff")),
        (
            {"names": ["T", "+"], "color": -16777216 + 258},
            ObjectClass("T: +", "#000102"),
        ),
        ({"name": "Tumour", "colorRGB": 5}, ObjectClass("Tumour")),
    ],
)
def test_classes_are_read_as_they_have_been_written_over_the_years(
    path: Path, classification: Any, wanted: ObjectClass
) -> None:
    found = read(path, feature(square(0, 0), classification=classification))
    assert found.class_named(1) == wanted


def test_an_ellipse_is_the_one_in_the_box_of_its_corners(path: Path) -> None:
    labels = read(path, feature(square(1, 0, 4), geometry={"isEllipse": True})).labels
    np.testing.assert_array_equal(
        labels.read(), ids("00110", "01111", "01111", "00110")
    )


def test_objects_without_a_pixel_of_their_own_are_said(path: Path) -> None:
    tiny, hidden = feature(square(2.6, 0.6, 0.3)), feature(square(0, 0, 1))
    labels = read(path, tiny, hidden, feature(square(0, 0))).labels
    np.testing.assert_array_equal(labels.read(), ids("330", "330"))
    assert labels.notes == (
        "Objects overlap in 1 pixel; the later ones are on top there.",
        "2 objects have no pixel: smaller than one, or hidden by others.",
        SMALLEST,
    )


@pytest.mark.parametrize(
    "rings",
    [[], [[]], [square(1e9, 1e9)], [square(-9, -9)], [[[0, 0], [1, "x"], [1, 1]]]],
)
@pytest.mark.parametrize("ellipse", [True, False])
def test_outlines_that_lead_nowhere_are_refused(
    path: Path, rings: list[list[list[float]]], ellipse: bool
) -> None:
    wrong = feature(*rings, geometry={"isEllipse": ellipse})
    with pytest.raises(ValueError, match=f"^{path}: .*(damaged|outside|more than)"):
        read(path, wrong)
    tall = feature(
        [[0, 0], [1, 0], [1, 1e12], [0, 1e12]], geometry={"isEllipse": ellipse}
    )
    with pytest.raises(ValueError, match="damaged"):
        read(path, tall)


def test_a_file_without_objects_tells_no_size(path: Path) -> None:
    with pytest.raises(ValueError, match="has no objects that tell the size"):
        read(path)
    like = Image(np.zeros((2, 4)), "yx")
    assert not read(path, like=like).labels.read().any()


def test_planes_are_counted_from_0_and_left_out_for_the_first(path: Path) -> None:
    like = Image(np.zeros((3, 2, 4)), "zyx")
    first = feature(square(0, 0))
    other = feature(square(2, 0), geometry={"plane": {"c": -1, "z": 2, "t": 0}})
    labels = read(path, first, other, like=like).labels.read()
    np.testing.assert_array_equal(labels[0], ids("1100", "1100"))
    np.testing.assert_array_equal(labels[2], ids("0022", "0022"))
    below = feature(square(2, 0), geometry={"plane": {"z": -3, "t": 0}})
    for one in (like, None):
        with pytest.raises(ValueError, match=r"z = -3, .* lies outside the image"):
            read(path, below, like=one)


@pytest.mark.skipif(not SAMPLES.exists(), reason="needs the shared samples")
def test_a_sample_of_another_program_has_the_objects_of_its_label_image() -> None:
    labels = read_labels(SAMPLES / "labels_imagej.tif")
    read = geojson.read(SAMPLES / "labels_qupath.geojson", labels).labels
    np.testing.assert_array_equal(read.read(), labels.read())


def test_a_feature_alone_is_read(path: Path) -> None:
    path.write_text(json.dumps(feature(square(1, 1), name="7")))
    labels = geojson.read(path, Image(np.zeros((4, 4), np.uint8), "yx")).labels
    assert labels.read().tolist() == [
        [0, 0, 0, 0],
        [0, 7, 7, 0],
        [0, 7, 7, 0],
        [0, 0, 0, 0],
    ]


def test_the_name_of_the_image_may_have_bytes_of_no_letter(path: Path) -> None:
    labels = Image(np.ones((2, 2), np.uint8), "yx", name="caf\udce9")
    geojson.write(path, Objects(labels))
    assert geojson.read(path, labels).labels.read().all()


@pytest.mark.parametrize("kind", ["annotation", "detection"])
def test_in_what_qupath_ignores_there_may_be_other_objects(
    path: Path, kind: str
) -> None:
    like = Image(np.zeros((8, 8), np.uint8), "yx")
    cell = feature(square(1, 1), objectType=kind, name="4")
    ignored = feature(square(0, 0, 4), classification={"name": "Ignore*"})
    region = feature(square(0, 0, 8), classification="Region*", objectType="annotation")
    found = read(path, region, cell, ignored, like=like)
    assert set(np.unique(found.labels.data)) == {0, 4}
    assert found.classes == ()
    wanted = np.zeros((8, 8), bool)
    wanted[:4, :4] = True
    wanted[1:3, 1:3] = False
    np.testing.assert_array_equal(found.unknown, wanted)
    assert found.labels.notes == (
        "1 area is of the class Ignore*: nothing is known there.",
        "1 object is no cell and is left out.",
    )


def test_a_class_of_a_person_may_end_like_those(path: Path) -> None:
    found = read(path, feature(square(1, 1), classification="odd*"))
    assert [kind.name for kind in found.classes] == ["odd*"]


def test_several_geometries_of_one_object(path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    one, two, three = (
        {"type": "Polygon", "coordinates": [square(k, k)]} for k in (0, 3, 6)
    )
    both = {"type": "MultiPolygon", "coordinates": [one["coordinates"]]}
    inner = {"type": "GeometryCollection", "geometries": [both, line]}
    geometry = {"type": "GeometryCollection", "geometries": [inner, two, three]}
    for shape in (geometry, {**geometry, "coordinates": None}):
        found = read(path, feature(geometry=shape))
        assert np.count_nonzero(found.labels.data == 1) == 12
        assert not any("left out" in note for note in found.labels.notes)
    empty = {"type": "GeometryCollection", "geometries": [line]}
    like = Image(np.zeros((4, 4), np.uint8), "yx")
    found = read(path, feature(geometry=empty), like=like)
    assert found.labels.notes == ("1 point or line is left out.",)
