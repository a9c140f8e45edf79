"""Cells of predicted files, in the formats of other programs."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from example_models import cropping_model
from napari_unet.core import events
from napari_unet.core.annotation.annotations import PALETTE, ClassInfo
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.core.model import Model
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.inference.block_sizes import BlockSizes
from napari_unet.engine.network.network import prepare
from napari_unet.io.export import write_weights
from napari_unet.io.images import read_labels
from napari_unet.io.model_file import save_model
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.prediction_folder import KINDS, PredictionFolder
from napari_unet.io.provenance import Provenance
from napari_unet.io.tables import write_table

SIZES = BlockSizes(predicted_plane=(64, 64), whole=0, plane=(48, 48), plane_margin=40)


def write_image(file, shape, axes, spacing=None, seed=0):
    """Write blobs in the second of two channels, that of cells; the first is even."""
    sigma = [0] * (len(shape) - 2) + [3, 3]
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    blobs = np.maximum(rough / rough.std(), 0).astype(np.float32)
    at = axes.index("y")
    both = np.stack([0 * blobs, blobs], at)
    write_weights(file, both, axes[:at] + "c" + axes[at:], spacing)


def predicted(tmp_path, file, kinds, track=False, **rest):
    """Predict a file into the folder out, and return the events."""
    model = cropping_model(2)
    model = Model(
        model.card.replace(classes=(ClassInfo(name="nuclei"),)), model.weights
    )
    path = tmp_path / "m.safetensors"
    if not path.exists():
        save_model(model, path)
    made = FilePredictor(
        prepare(model, "cpu", "fp32"),
        model.card,
        Prediction(device="cpu", precision="fp32", tile=32),
        Segmentation(min_size=0, track=track),
        PredictionFolder(tmp_path / "out", kinds),
        path,
        SIZES,
        **rest,
    )
    return list(made.events(file))


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))


@pytest.mark.parametrize("in_memory", [2**31, 0])
def test_cells_are_written_for_other_programs(tmp_path, in_memory):
    file = tmp_path / "a.tif"
    write_image(file, (3, 100, 90), "zyx", (2.0, 0.5, 0.5))
    kinds = ("table", "geojson")
    *_, last = predicted(tmp_path, file, kinds, in_memory=in_memory)
    out = tmp_path / "out"
    # what was not asked for is not there
    assert names(out) == [
        "geojson/a.geojson",
        "made/geojson/a.geojson.json",
        "made/table/a.csv.json",
        "table/a.csv",
    ]
    # the label image, made apart, says the same
    predicted(tmp_path, file, ("instances",))
    labels = read_labels(out / "instances" / "a.tif")
    objects = FORMATS["geojson"].read(out / "geojson" / "a.geojson", labels)
    np.testing.assert_array_equal(objects.labels.data, labels.data)
    with (out / "table" / "a.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == last.cells == labels.data.max() > 3
    assert {row["class"] for row in rows} == {"nuclei"}
    feature = json.loads((out / "geojson" / "a.geojson").read_text())["features"][0]
    measured = feature["properties"]["measurements"]
    assert measured["volume_um3"] == float(rows[0]["volume_um3"])
    # QuPath requires a colour with a class
    assert objects.classes == (ObjectClass("nuclei", PALETTE[0]),)


@pytest.mark.parametrize("in_memory", [2**31, 0])
def test_cells_are_written_as_points(tmp_path, in_memory):
    file = tmp_path / "a.tif"
    write_image(file, (100, 90), "yx", (0.5, 0.5))
    *_, last = predicted(tmp_path, file, ("table", "points"), in_memory=in_memory)
    rows = {}
    for kind in ("table", "points"):
        with (tmp_path / "out" / kind / "a.csv").open(newline="") as table:
            rows[kind] = list(csv.DictReader(table))
    assert len(rows["points"]) == last.cells > 3
    for number, (point, row) in enumerate(
        zip(rows["points"], rows["table"], strict=True)
    ):
        assert point["index"] == str(number)
        assert (point["label"], point["t"]) == (row["label"], row["t"])
        assert point["class"] == row["class"] == "nuclei"
        assert float(point["confidence"]) == pytest.approx(
            float(row["class_probability"])
        )
        for number, axis in enumerate("yx"):
            place = float(point[axis])
            assert point[f"axis-{number}"] == point[axis]
            assert float(point[f"{axis}_um"]) == place / 2
            assert abs(place - float(row[f"centroid_{axis}_px"])) < 3
    # made from what is there, without the network, they are the same
    before = (tmp_path / "out" / "points" / "a.csv").read_bytes()
    predicted(tmp_path, file, KINDS, in_memory=in_memory)
    (tmp_path / "out" / "points" / "a.csv").unlink()
    again = predicted(tmp_path, file, ("points",), in_memory=in_memory)
    assert not any(isinstance(e, events.TileDone) for e in again)
    assert (tmp_path / "out" / "points" / "a.csv").read_bytes() == before


@pytest.mark.parametrize("in_memory", [2**31, 0])
def test_cells_are_followed_through_time_in_all_files(tmp_path, in_memory):
    file = tmp_path / "a.tif"
    still = gaussian_filter(np.random.default_rng(0).normal(size=(80, 90)), 3)
    drifting = np.stack([np.roll(still, 2 * t, 1) for t in range(3)])
    blobs = np.maximum(drifting / still.std(), 0).astype(np.float32)
    write_weights(file, np.stack([0 * blobs, blobs], 1), "tcyx", (0.5, 0.5))
    kinds = ("instances", "probabilities", "table", "geojson", "ctc")
    *_, last = predicted(tmp_path, file, kinds, track=True, in_memory=in_memory)
    out = tmp_path / "out"
    (labels,) = (out / "instances").iterdir()
    tracks = read_labels(labels).read()
    frames = [set(np.unique(frame)) - {0} for frame in tracks]
    assert last.cells == tracks.max() < sum(map(len, frames))
    assert len(frames[0] & frames[1] & frames[2]) > 5
    table = (out / "table" / "a.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert [{int(r["track"]) for r in rows if r["t"] == str(t)} for t in range(3)] == (
        frames
    )
    assert all(r["track"] == r["label"] and int(r["parent"]) >= 0 for r in rows)
    read = {
        kind: FORMATS[kind].read(out / kind / f"a{end}", read_labels(labels))
        for kind, end in (("geojson", ".geojson"), ("ctc", "_RES"))
    }
    for objects in read.values():
        np.testing.assert_array_equal(objects.labels.read(), tracks)
    parents = {int(r["track"]): int(r["parent"]) for r in rows if r["parent"] != "0"}
    assert read["ctc"].parent_of == parents
    # made from what is there, without the network, it is the same
    (out / "table" / "a.csv").unlink()
    again = predicted(tmp_path, file, ("table",), track=True, in_memory=in_memory)
    assert not any(isinstance(e, events.TileDone) for e in again)
    assert again[-1].cells == last.cells
    assert (out / "table" / "a.csv").read_text(encoding="utf-8") == table
    with pytest.raises(FileExistsError, match="track True instead of as usual"):
        predicted(tmp_path, file, ("table",), in_memory=in_memory)


def test_what_has_no_time_points_is_said_not_to_be_followed(tmp_path):
    file = tmp_path / "a.tif"
    write_image(file, (2, 60, 70), "zyx")
    *_, last = predicted(tmp_path, file, ("table",), track=True)
    assert (
        last.notes[-1] == "it has one time point (axes zcyx), so no cell is followed."
    )
    assert "track" not in (tmp_path / "out" / "table" / "a.csv").read_text()


def test_the_network_does_not_run_for_what_is_made_from_results(tmp_path):
    file = tmp_path / "a.tif"
    write_image(file, (100, 90), "yx")
    first = predicted(tmp_path, file, (*KINDS, "geojson"))
    before = (tmp_path / "out" / "geojson" / "a.geojson").read_bytes()
    (tmp_path / "out" / "geojson" / "a.geojson").unlink()
    again = predicted(tmp_path, file, ("geojson",))
    assert not any(isinstance(e, events.TileDone) for e in again)
    assert again[-1].cells == first[-1].cells > 3
    assert (tmp_path / "out" / "geojson" / "a.geojson").read_bytes() == before
    (there,) = predicted(tmp_path, file, ("geojson",))
    assert there.there
    # of another image, though of that name, they are not made
    write_image(file, (100, 90), "yx", seed=1)
    with pytest.raises(
        FileExistsError, match=r"a\.geojson: .* result of another image"
    ):
        predicted(tmp_path, file, ("geojson",))


def test_what_a_person_changed_or_put_there_is_not_replaced(tmp_path):
    file = tmp_path / "a.tif"
    write_image(file, (60, 70), "yx")
    mine = tmp_path / "out" / "geojson" / "a.geojson"
    predicted(tmp_path, file, ("geojson",))
    for note in (True, False):
        mine.write_text(mine.read_text() + " ")
        if not note:
            (tmp_path / "out" / "made" / "geojson" / "a.geojson.json").unlink()
        before = mine.read_bytes()
        with pytest.raises(FileExistsError, match="does not tell that napari-unet"):
            predicted(tmp_path, file, ("geojson",))
        assert mine.read_bytes() == before


@pytest.mark.parametrize("in_memory", [2**31, 0])
def test_what_a_format_cannot_hold_costs_that_file_only(tmp_path, in_memory):
    file = tmp_path / "a.tif"
    write_image(file, (2, 60, 70), "tyx")
    kinds = ("instances", "cellpose", "geojson")  # Cellpose knows no time
    with pytest.raises(ValueError, match="of one time point, found 2") as told:
        predicted(tmp_path, file, kinds, in_memory=in_memory)
    out = tmp_path / "out"
    assert str(told.value).startswith(f"{out / 'cellpose' / 'a_cp_masks.tif'}: ")
    assert (out / "geojson" / "a.geojson").exists()
    assert len(list((out / "instances").iterdir())) == 1
    assert names(out / "cellpose") == []
    assert not (out / "unfinished").exists()
    # what is there stays, and only the rest is tried again
    with pytest.raises(ValueError, match="of one time point"):
        predicted(tmp_path, file, kinds, in_memory=in_memory)


@contextmanager
def limited_files(size):
    """Have files fail that grow larger, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on file sizes")
def test_a_full_disk_is_told_of_with_the_name_that_was_asked_for(tmp_path):
    folder = PredictionFolder(tmp_path, ("table",))
    made = Provenance("a.tif", "0" * 64, "m.safetensors", "0" * 64, {})
    with (
        pytest.raises(OSError, match=r"/table/a\.csv: cannot be written") as raised,
        folder.placed(Path("a.tif"), "table", made) as path,
        limited_files(100),
    ):
        write_table(path, {"label": np.arange(10_000)})
    assert "made" not in str(raised.value)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []
