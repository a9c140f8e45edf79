"""napari's own Open and Save Selected Layers for objects of other programs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from npe2 import PluginManager

from napari_unet import DISTRIBUTION
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.gui import which_images
from napari_unet.gui.object_layers import (
    get_reader,
    read,
    write_coco,
    write_ctc,
    write_geojson,
    write_ome_zarr,
    write_rois,
)
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.session.images.layers import note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CELLS = np.zeros((2, 20, 30), np.int32)
CELLS[0, 2:6, 3:9], CELLS[1, 2:6, 3:9], CELLS[1, 19, 29] = 5, 5, 70_000
CELLS[0, 3, 4] = 0  # a hole

FEATURES = pd.DataFrame({"index": [0, 5, 70_000], "class": ["", "nuclei", "mitosis"]})


# outlines do not tell it
SMALLEST = "ignore:.*The size of its image is not told:UserWarning"


@pytest.mark.filterwarnings(SMALLEST)
@pytest.mark.parametrize(
    ("name", "kind", "opened_by"),
    [
        ("a.geojson", "geojson", "a.geojson"),
        ("a_coco.json", "coco", "a_coco.json"),
        ("a.json", "coco", "a.json"),  # as dialogs of Windows and macOS complete it
        ("a.zarr", "ome_zarr", "a.zarr/zarr.json"),
        ("a_RoiSet.zip", "rois", "a_RoiSet.zip"),
    ],
)
def test_labels_are_saved_and_opened_by_napari(
    tmp_path: Path, name: str, kind: str, opened_by: str
) -> None:
    if kind == "rois":
        pytest.importorskip("roifile")
    manager = PluginManager.instance()
    manager.discover()
    path = str(tmp_path / name)
    saved, _ = manager.get_writer(path, ["labels"])
    assert saved is not None
    assert saved.command == f"{DISTRIBUTION}.write_{kind}"
    layer = Labels(CELLS, name="cells", features=FEATURES)
    assert layer.save(path) == [path]
    viewer = ViewerModel()
    (opened,) = viewer.open(str(tmp_path / opened_by), plugin=DISTRIBUTION)
    np.testing.assert_array_equal(opened.data, CELLS)
    assert opened.features["index"].tolist() == [5, 70_000]
    assert opened.features["class"].tolist() == ["nuclei", "mitosis"]
    # saved again it is the same
    again = str(tmp_path / f"again_{name}")
    opened.save(again)
    there = opened_by.replace(name, f"again_{name}")
    features = [read(str(tmp_path / n))[0][1]["features"] for n in (opened_by, there)]
    assert features[0] == features[1]


def test_results_of_the_challenge_are_saved_and_opened_by_napari(
    tmp_path: Path, shown: Callable[[], list[str]]
) -> None:
    """Nothing tells their folder from another: a person chooses the kind to save."""
    manager = PluginManager.instance()
    manager.discover()
    few = np.where(CELLS == 70_000, 7, CELLS)
    viewer = ViewerModel()
    viewer.add_labels(few, name="cells")
    (writer,) = (
        one
        for one in manager.iter_compatible_writers(["labels"])
        if one.command == f"{DISTRIBUTION}.write_ctc"
    )
    folder = str(tmp_path / "01")
    assert viewer.layers.save(folder, _writer=writer) == [f"{folder}_RES"]
    assert shown() == ["WARNING: cells: its slices are taken for time points."]
    tracks = tmp_path / "01_RES" / "res_track.txt"
    assert tracks.read_text() == "5 0 1 0\n7 1 1 0\n"
    (opened,) = viewer.open(str(tracks), plugin=DISTRIBUTION)
    np.testing.assert_array_equal(opened.data, few)
    assert opened.axis_labels == ("t", "y", "x")
    write_ctc(f"{folder}_RES", few, {"axis_labels": ("z", "y", "x")})  # one time point
    assert tracks.read_text() == "5 0 0 0\n7 0 0 0\n"
    with pytest.raises(ValueError, match="has labels up to 65535, found 70000"):
        write_ctc(f"{folder}_RES", CELLS, {"axis_labels": ("t", "y", "x")})


def test_a_name_gets_the_end_of_the_kind_that_was_chosen(tmp_path: Path) -> None:
    """Qt's dialog adds none, and a layer's name, which napari offers, has another."""
    pytest.importorskip("roifile")
    name = str(tmp_path / "cells.tif")
    assert write_rois(name, CELLS, {}) == [f"{name}_RoiSet.zip"]
    before = (tmp_path / "cells.tif_RoiSet.zip").read_bytes()
    with pytest.raises(FileExistsError, match=r"cells\.tif_RoiSet\.zip: exists; name"):
        write_rois(name, CELLS[:1], {})
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


def test_which_images_of_a_file_of_several_are_opened_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all_coco.json"
    pictures = [
        {"id": k, "file_name": f"{k}.png", "width": k, "height": 9} for k in (5, 6)
    ]
    path.write_text(json.dumps({"images": pictures, "annotations": []}))
    with pytest.raises(ValueError, match="has the objects of 2 images"):
        read(str(path))
    monkeypatch.setattr("napari.current_viewer", lambda: "a window")
    for numbers, shapes in (([2], [(9, 6)]), ([], [])):
        monkeypatch.setattr(which_images, "which_images", lambda *_, n=numbers: n)
        opened = [layer[0] for layer in read(str(path))]
        assert [data.shape for data in opened if data is not None] == shapes


def test_object_identities_are_saved_and_opened_by_napari(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    PluginManager.instance().discover()
    path = str(tmp_path / "a_Object Identities.h5")
    scale = {"scale": (0.5, 0.25, 0.25), "units": ("micrometer",) * 3}
    assert Labels(CELLS, name="cells", **scale).save(path) == [path]
    (opened,) = ViewerModel().open(path, plugin=DISTRIBUTION)
    np.testing.assert_array_equal(opened.data, CELLS)
    assert opened.scale.tolist() == [0.5, 0.25, 0.25]
    assert [str(unit) for unit in opened.units] == ["micrometer"] * 3
    any_name = str(tmp_path / "a.h5")
    assert Labels(CELLS, name="cells").save(any_name) == [any_name]
    np.testing.assert_array_equal(FORMATS["ilastik"].read(any_name).labels.data, CELLS)
    (tmp_path / "b_Object Identities.h5").write_bytes(b"none")
    assert get_reader(str(tmp_path / "b_Object Identities.h5")) is None


def test_what_was_chosen_in_reading_is_shown_each_time(
    tmp_path: Path, shown: Callable[[], list[str]]
) -> None:
    features = [
        {
            "geometry": {"type": "Polygon", "coordinates": [square]},
            "properties": {"objectType": "detection"},
        }
        for square in (
            [[0, 0], [4, 0], [4, 2], [0, 2]],
            [[3, 0], [6, 0], [6, 2], [3, 2]],
        )
    ]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    for times in (1, 2):
        ((data, _, kind),) = read(str(tmp_path / "a.geojson"))
        overlap, size = sorted(shown()[-2:])
        assert size.startswith("WARNING: a.geojson: The size of its image is not")
        assert overlap.startswith("WARNING: a.geojson: Objects overlap in 2 pixels")
        assert len(shown()) == 2 * times
    assert kind == "labels"
    np.testing.assert_array_equal(data, [[1, 1, 1, 2, 2, 2]] * 2)


def test_foreign_files_are_left_to_others(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        pack.writestr("rdf.yaml", "type: model")
    (tmp_path / "map.geojson").write_text('{"type": "FeatureCollection"}')
    (tmp_path / "x_coco.json").write_text("{}")
    (tmp_path / "x_seg.npy").write_text("no")
    (tmp_path / "zarr.json").write_text('{"attributes": {"ome": {}}}')
    (tmp_path / "x.roi").write_text("no")
    (tmp_path / "cells.geojson").mkdir()
    long = " " * 2**18 + '"objectType"'
    (tmp_path.parent / "long.geojson").write_text(long)
    assert get_reader(str(tmp_path.parent / "long.geojson"))
    for path in (*tmp_path.iterdir(), tmp_path / "gone.zip"):
        assert get_reader(str(path)) is None
    FORMATS["geojson"].write(tmp_path / "a.geojson", Objects(Image(CELLS, "zyx")))
    ours, map_ = str(tmp_path / "a.geojson"), str(tmp_path / "map.geojson")
    assert get_reader(ours) is read
    assert get_reader([ours, ours]) is read
    assert get_reader([ours, map_]) is None


def test_asking_whether_a_file_is_ours_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text('"objectType"')
    code = (
        "import sys\n"
        "from napari_unet.gui.object_layers import get_reader\n"
        f"assert get_reader({str(tmp_path / 'a.geojson')!r})\n"
        "assert not {'torch', 'skimage', 'roifile', 'zarr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def saved(tmp_path: Path, data: object, **meta: object) -> Objects:
    (path,) = write_geojson(str(tmp_path / "a.geojson"), data, meta)
    return FORMATS["geojson"].read(path)


def test_axes_are_those_that_the_layer_names(tmp_path: Path) -> None:
    assert saved(tmp_path, CELLS).labels.axes == "zyx"
    movie = saved(tmp_path, CELLS, axis_labels=("t", "Y", "x"))
    assert movie.labels.axes == "tyx"
    np.testing.assert_array_equal(movie.labels.data, CELLS)
    assert saved(tmp_path, CELLS, axis_labels=("time", "y", "x")).labels.axes == "tyx"
    assert saved(tmp_path, CELLS[1], axis_labels=("0", "1")).labels.axes == "yx"


@pytest.mark.filterwarnings(SMALLEST)
def test_a_movie_that_was_opened_is_saved_as_one(tmp_path: Path) -> None:
    path, again = (str(tmp_path / name) for name in ("a.geojson", "b.geojson"))
    write_geojson(path, CELLS, {"axis_labels": ("t", "y", "x")})
    (opened,) = ViewerModel().open(path, plugin=DISTRIBUTION)
    opened.save(again)
    assert FORMATS["geojson"].read(again).labels.axes == "tyx"


def test_painted_background_is_no_object(tmp_path: Path) -> None:
    painted = np.where(CELLS[1] > 0, CELLS[1], 1)
    metadata = note("annotation", "image", None)
    kinds = {"index": [1, 5, 70_000], "class": ["background", "nuclei", "nuclei"]}
    path = tmp_path / "a_coco.json"
    write_coco(str(path), painted, {"metadata": metadata, "features": kinds})
    found = FORMATS["coco"].read(path)
    np.testing.assert_array_equal(found.labels.data, CELLS[1])
    categories = json.loads(path.read_text())["categories"]
    assert categories == [{"id": 1, "name": "nuclei"}]


def test_an_annotation_is_saved_with_classes_that_its_features_do_not_list(
    tmp_path: Path,
) -> None:
    """Those of the first class are not listed where there are very many objects."""
    classes = [ObjectClass("nuclei", "#123456"), ObjectClass("mitosis", "#abcdef")]
    metadata = note("annotation", "image", classes=classes)
    kinds = {"index": [1, 70_000], "class": ["background", "mitosis"]}
    objects = saved(tmp_path, CELLS[1], metadata=metadata, features=kinds)
    assert [objects.class_named(i) for i in (5, 70_000)] == classes


def test_cells_of_a_movie_are_saved_as_they_are_exported(tmp_path: Path) -> None:
    """Ids are of each time point alone, unless cells are followed."""
    movie = np.stack([CELLS[1], CELLS[1]])
    axes = {"axis_labels": ("t", "y", "x")}
    classes = [ObjectClass("nuclei", "#123456")]
    metadata = note("cells", shows="cells", classes=classes)
    apart = saved(tmp_path, movie, metadata=metadata, **axes)
    assert apart.class_named(140_000) == classes[0]
    np.testing.assert_array_equal(apart.labels.data[0], CELLS[1])
    assert np.unique(apart.labels.data[1]).tolist() == [0, 70_005, 140_000]
    movie[:, 19, 29], movie[1, 2:6, 3:9] = 0, 6
    metadata = note("cells", shows="cells", parents={6: 5})
    write_ctc(str(tmp_path / "a_RES"), movie, {"metadata": metadata, **axes})
    tracks = (tmp_path / "a_RES" / "res_track.txt").read_text()
    assert tracks == "5 0 0 0\n6 1 1 5\n"


def test_the_finest_level_of_a_pyramid_is_saved(tmp_path: Path) -> None:
    found = saved(tmp_path, [CELLS[1], CELLS[1, ::2, ::2]])
    np.testing.assert_array_equal(found.labels.data, CELLS[1])


def test_the_pixel_size_is_kept_where_it_is_a_length(tmp_path: Path) -> None:
    path = str(tmp_path / "a.zarr")
    affine = np.diag([0.5, 0.25, 1.0])
    write_ome_zarr(path, CELLS[1], {"affine": affine, "units": ("micrometer",) * 2})
    assert FORMATS["ome-zarr"].read(path).labels.spacing_um == (0.5, 0.25)
    for units, known in (("micrometer", (0.5, 0.25)), ("pixel", None)):
        write_ome_zarr(path, CELLS[1], {"scale": (0.5, 0.25), "units": (units, units)})
        assert FORMATS["ome-zarr"].read(path).labels.spacing_um == known


def test_classes_of_features_are_those_of_the_objects(tmp_path: Path) -> None:
    objects = saved(tmp_path, CELLS[1], features=FEATURES)
    assert [kind.name for kind in objects.classes] == ["nuclei", "mitosis"]
    assert objects.class_named(70_000) == ObjectClass("mitosis")


def test_without_an_index_rows_of_features_are_numbered_as_napari_does(
    tmp_path: Path,
) -> None:
    few = np.where(CELLS[1] > 5, 2, CELLS[1] // 5)
    rows = pd.DataFrame(
        {"class": ["", "nuclei", "mitosis"], "class_probability": [0.0, 0.5, 0.25]}
    )
    objects = saved(tmp_path, few, features=rows)
    assert objects.class_named(1) == ObjectClass("nuclei")
    assert objects.class_named(2) == ObjectClass("mitosis")
    assert objects.probability_of == {1: 0.5, 2: 0.25}


@pytest.mark.parametrize("missing", [None, np.nan, "NA"])
def test_objects_without_a_class_have_none(tmp_path: Path, missing: object) -> None:
    pandas = pytest.importorskip("pandas")
    missing = pandas.NA if missing == "NA" else missing
    features = pandas.DataFrame(
        {
            "index": [70_000, 5],
            "class": [missing, "nuclei"],
            "class_probability": pandas.Series([missing, 0.5], dtype=object),
        }
    )
    objects = saved(tmp_path, CELLS[1], features=features)
    assert objects.classes == (ObjectClass("nuclei"),)
    assert dict(objects.class_of) == {5: 1}
    assert dict(objects.probability_of) == {5: 0.5}
