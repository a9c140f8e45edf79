from __future__ import annotations

import csv
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.instances import segment_image, segment_instances
from napari_unet.core.cells.neighbour_colours import neighbours
from napari_unet.core.cells.tracking import track_cells
from napari_unet.core.events import (
    CellsFound,
    CellsLinked,
    Checked,
    FileWritten,
    NeighboursFound,
    WeightsComputed,
)
from napari_unet.core.images.array_reference import (
    AnnotationReference,
    ArrayReference,
    ImageReference,
)
from napari_unet.core.images.image import Image
from napari_unet.core.jobs import CheckJob, ExportJob, PointsJob, SegmentJob, WeightsJob
from napari_unet.core.settings import BorderWeights, Segmentation
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.engine.worker import (
    cells_job,
    check_job,
    export_job,
    measure_job,
    weights_job,
)
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.objects.catalogue import FORMATS

ALL = Segmentation(min_size=0, ridge=0)
NONE = np.zeros((0, 2), np.int64)
NUCLEI = (ClassInfo(name="nuclei"),)


def _store(folder, name, array):
    stored = ArrayReference.create(folder / name, array.shape, array.dtype.str)
    stored.open(writable=True)[...] = array
    return stored


def _zarr(folder, name, array):
    import zarr

    made = zarr.create_array(str(folder / name), shape=array.shape, dtype=array.dtype)
    made[...] = array
    return ArrayReference(str(folder / name), array.shape, array.dtype.str, kind="zarr")


def _events(iterator):
    """The events that are sent; they can be."""
    return [pickle.loads(pickle.dumps(e)) for e in iterator if e is not None]


# cells


def _noise(*shape, seed=3):
    """Probabilities of blobs that overlap from slice to slice, some at the edge."""
    from scipy import ndimage as ndi

    rng = np.random.default_rng(seed)
    sigma = [0 if n < 5 else 2 for n in shape]
    sigma[-3] = 0.6
    blobs = ndi.gaussian_filter(rng.standard_normal(shape), sigma)
    p = np.clip(0.5 + blobs / blobs.std() / 2, 0, 1).astype(np.float32)
    return np.stack([1 - p, p])


def _segment_job(folder, probabilities, axes, **rest):
    shape = [n for n, a in zip(probabilities.shape, axes, strict=True) if a != "c"]
    defaults = {
        "probabilities": _store(folder, "p.raw", probabilities),
        "axes": axes,
        "spacing_um": None,
        "cells": ArrayReference.create(folder / "cells.raw", tuple(shape), "<i4"),
        "ndim": 2,
        "settings": ALL,
        "classes": NUCLEI,
        "places": (),
    }
    return SegmentJob(**(defaults | rest))


def test_only_the_planes_asked_for_are_segmented_in_their_order(tmp_path):
    p = _noise(3, 40, 50)
    job = _segment_job(tmp_path, p, "czyx", places=((0, 2), (0, 0)))
    events = _events(cells_job.run(job))
    cells = job.cells.open()
    for z in (0, 2):
        np.testing.assert_array_equal(cells[z], segment_instances(p[:, z], ALL))
    assert not cells[1].any()
    assert events == [
        CellsFound(0, 2, int(cells[2].max()), 0.5),
        NeighboursFound(0, 2, NONE),
        CellsFound(0, 0, int(cells[0].max()), 1.0),
        NeighboursFound(0, 0, NONE),
    ]
    np.testing.assert_array_equal(events[1].pairs, neighbours(cells[2]))


@pytest.mark.parametrize("link_z", ["overlap", "none"])
@pytest.mark.parametrize("clear_border", [False, True])
def test_linked_cells_are_those_of_the_whole_image(tmp_path, link_z, clear_border):
    p = _noise(2, 6, 40, 50)
    settings = Segmentation(link_z=link_z, clear_border=clear_border, link_iou=0.2)
    places = tuple((t, z) for t in range(2) for z in range(6))
    job = _segment_job(
        tmp_path, p, "ctzyx", settings=settings, places=places, link=True
    )
    events = _events(cells_job.run(job))
    expected = segment_image(Image(p, "ctzyx"), 2, settings)
    np.testing.assert_array_equal(job.cells.open(), expected)
    assert events[-1] == CellsLinked(int(expected[0].max() + expected[1].max()))
    assert list(events[-1].neighbours) == list(places)
    for (t, z), pairs in events[-1].neighbours.items():
        np.testing.assert_array_equal(pairs, neighbours(expected[t, z]))
    assert sum(isinstance(e, CellsFound) for e in events) == 12
    assert expected.max() > 3


@pytest.mark.parametrize("axes", ["ctyx", "ctzyx"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_cells_that_are_followed_are_those_of_the_whole_image(tmp_path, axes, ndim):
    p = _noise(*((3, 4, 40, 50) if "z" in axes else (3, 40, 50)))
    settings = Segmentation(track=True, min_size=0)
    depth = p.shape[2] if "z" in axes else 1
    slices = range(depth) if ndim == 2 else [None]
    places = tuple((t, z) for t in range(3) for z in slices)
    job = _segment_job(
        tmp_path, p, axes, ndim=ndim, settings=settings, places=places, link=True
    )
    *_, last = _events(cells_job.run(job))
    expected = segment_image(Image(p, axes), ndim, settings)
    np.testing.assert_array_equal(job.cells.open(), expected)
    tracks = track_cells(Image(expected, axes[1:]), settings)
    assert last.count == expected.max() == last.tracks.count > 5
    np.testing.assert_array_equal(last.tracks.points, tracks.points)
    assert last.tracks.parents == tracks.parents
    # once more, after a cancelled one, it is the same
    again = replace(job, places=())
    half = cells_job.run(again)
    for _ in range(4):
        next(half)
    half.close()
    list(cells_job.run(again))
    np.testing.assert_array_equal(job.cells.open(), expected)


def test_cells_can_be_linked_later_again_and_after_a_cancelled_linking(tmp_path):
    p = _noise(5, 40, 50)
    settings = Segmentation(clear_border=True)
    job = _segment_job(
        tmp_path, p, "czyx", settings=settings, places=tuple((0, z) for z in range(5))
    )
    expected = segment_image(Image(p, "czyx"), 2, settings)
    list(cells_job.run(job))
    assert not np.array_equal(job.cells.open(), expected)
    for link in (settings, settings, settings.replace(clear_border=False)):
        later = _segment_job(
            tmp_path, p, "czyx", settings=link, cells=job.cells, link=True
        )
        if link.clear_border:
            half = cells_job.run(later)
            next(half)
            next(half)
            half.close()
            assert isinstance(_events(cells_job.run(later))[-1], CellsLinked)
            np.testing.assert_array_equal(job.cells.open(), expected)
    # without clearing, only the ids are looked at: linked ids stay together
    before = job.cells.open().copy()
    list(cells_job.run(later))
    pairs = np.unique(np.stack([before.ravel(), job.cells.open().ravel()]), axis=1)
    assert pairs.shape[1] == before.max() + 1


def test_a_plane_at_a_time_is_cleared_at_its_own_edge_until_it_is_linked(tmp_path):
    p = np.zeros((2, 2, 10, 10), np.float32)
    p[1, :, 2:5, 2:5] = 1
    p[1, 0, 2:5, 0:5] = 1  # in the first slice the cell touches the edge
    settings = ALL.replace(clear_border=True)
    places = ((0, 0), (0, 1))
    job = _segment_job(tmp_path, p, "czyx", settings=settings, places=places)
    list(cells_job.run(job))
    assert [plane.any() for plane in job.cells.open()] == [False, True]
    link = _segment_job(
        tmp_path, p, "czyx", settings=settings, cells=job.cells, link=True
    )
    assert _events(cells_job.run(link)) == [CellsLinked(0)]
    assert not job.cells.open().any()


def test_volumes_are_segmented_whole_and_not_linked(tmp_path):
    p = _noise(2, 6, 30, 40)
    job = _segment_job(
        tmp_path,
        p,
        "ctzyx",
        ndim=3,
        spacing_um=(2.0, 1.0, 1.0),
        places=((1, None), (0, None)),
        link=True,
    )
    events = _events(cells_job.run(job))
    # of each, which touch is told after them
    assert [(e.t, e.z) for e in events] == [(1, None)] * 2 + [(0, None)] * 2
    for t in range(2):
        volume = segment_instances(p[:, t], ALL, spacing=(2, 1, 1))
        np.testing.assert_array_equal(job.cells.open()[t], volume)


@pytest.mark.parametrize("axes", ["czyx", "cyxz", "cxzy", "ctzyx", "cztyx"])
@pytest.mark.parametrize("store", [_store, _zarr])
def test_axes_may_have_any_order_on_any_kind_of_array(tmp_path, axes, store):
    named = dict(zip("ctzyx", _noise(2, 3, 20, 30).shape, strict=True))
    p = _noise(2, 3, 20, 30)  # ctzyx
    if "t" not in axes:
        p = p[:, 1]
        named.pop("t")
    from_axes = "".join(a for a in "ctzyx" if a in axes)
    turned = np.ascontiguousarray(p.transpose([from_axes.index(a) for a in axes]))
    shape = tuple(named[a] for a in axes if a != "c")
    cells = store(tmp_path, "cells", np.zeros(shape, np.int32))
    places = tuple((t, z) for t in range(named.get("t", 1)) for z in range(3))
    job = _segment_job(tmp_path, turned, axes, cells=cells, places=places, link=True)
    list(cells_job.run(job))
    expected = segment_image(Image(turned, axes), 2, ALL)
    order = [a for a in "tzyx" if a in axes]
    expected = expected.transpose([order.index(a) for a in axes if a != "c"])
    np.testing.assert_array_equal(np.asarray(cells.open()[...]), expected)


def test_an_image_without_z_is_a_volume_of_one_slice_for_a_3d_network(tmp_path):
    p = _noise(1, 30, 40)[:, 0]
    job = _segment_job(tmp_path, p, "cyx", ndim=3, places=((0, None),))
    list(cells_job.run(job))
    np.testing.assert_array_equal(
        job.cells.open(), segment_instances(p[:, None], ALL)[0]
    )


def test_classes_of_regions_have_no_cells(tmp_path):
    p = np.zeros((3, 20, 20), np.float32)
    p[1, 2:8, 2:8] = 1
    p[2, 12:18, 12:18] = 1
    classes = (ClassInfo(name="tissue", kind="regions"), *NUCLEI)
    job = _segment_job(tmp_path, p, "cyx", classes=classes, places=((0, 0),))
    list(cells_job.run(job))
    np.testing.assert_array_equal(job.cells.open(), p[2])


@pytest.mark.parametrize("axes", ["cyx", "cxy", "cyxz"])
def test_pieces_of_regions_that_go_are_not_in_the_classes(tmp_path, axes):
    p = np.zeros((2, 20, 24), np.float32)
    p[1, 2:8, 2:8] = p[1, 12:14, 12:14] = 1
    p[0] = 1 - p[1]
    whole = p[1].astype(np.uint8)
    order = ["cyxz".index(a) for a in axes]
    stored = p[..., None].transpose(order) if "z" in axes else p.transpose(order)
    tissue = (ClassInfo(name="tissue", kind="regions"),)
    found = []
    for kept in (ALL, ALL.replace(smallest_piece=5)):
        class_map = ArrayReference.create(
            tmp_path / "k.raw", stored.shape[1:], np.dtype(np.uint8).str
        )
        job = _segment_job(
            tmp_path,
            stored,
            axes,
            classes=tissue,
            settings=kept,
            places=((0, 0),),
            class_map=class_map,
        )
        found_none, touching = _events(cells_job.run(job))
        assert (found_none.count, len(touching.pairs)) == (0, 0)
        found.append(np.array(class_map.open()))
        (tmp_path / "cells.raw").unlink()
    back = [axes[1:].index(a) for a in "yxz" if a in axes]
    first, second = (f.transpose(back).reshape(20, 24) for f in found)
    np.testing.assert_array_equal(first, whole)
    whole[12:14, 12:14] = 0
    np.testing.assert_array_equal(second, whole)


def test_cells_need_an_array_of_their_shape(tmp_path):
    wrong = ArrayReference.create(tmp_path / "wrong.raw", (40, 51), "<i4")
    job = _segment_job(tmp_path, _noise(1, 40, 50)[:, 0], "cyx", cells=wrong)
    with pytest.raises(ValueError, match=r"shape \(40, 50\), found \(40, 51\)"):
        list(cells_job.run(job))


def test_after_the_warm_up_the_first_cells_compile_nothing():
    code = (
        "import numpy as np\n"
        "from numba.core import event\n"
        "from napari_unet.engine.worker import cells_job\n"
        "from napari_unet.core.geometry.distance import _count\n"
        "from napari_unet.core.cells.instances import segment_instances\n"
        "from napari_unet.core.cells.labelmap import _close\n"
        "probabilities = np.zeros((2, 40, 50), np.float32)\n"
        "probabilities[1, 5:30, 5:20] = 1\n"
        "cells_job.warm_up()\n"
        "before = len(_count.signatures), len(_close.signatures)\n"
        "with event.install_recorder('numba:compile') as compiled:\n"
        "    segment_instances(probabilities)\n"
        "print(*before, len(compiled.buffer))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["1", "1", "0"]


# weights


def _annotation(folder, labels, axes, classes=NUCLEI, class_of=None, finished=()):
    stored = _store(folder, "annotation.raw", np.asarray(labels, np.int32))
    return AnnotationReference(stored, axes, classes, class_of or {}, finished)


@pytest.mark.parametrize("scheme", ["paper", "fiji"])
def test_the_weights_are_those_that_training_uses(tmp_path, scheme):
    labels = np.ones((2, 1100, 30), np.int32)  # more than one band
    labels[1, 500:510, 3:12] = 2
    labels[1, 514:530, 3:12] = 3
    labels[1, 510:514, 20:] = 0
    annotation = _annotation(
        tmp_path, labels, "zyx", (*NUCLEI, ClassInfo(name="b")), {3: 2}
    )
    settings = BorderWeights(scheme=scheme)
    weights = ArrayReference.create(tmp_path / "w.raw", (1100, 30), "<f4")
    job = WeightsJob(annotation, 0, 1, (2.0, 1.0), settings, weights)
    events = _events(weights_job.run(job))
    targets = annotation.field(0, 1).targets()
    expected = border_weights(
        targets.instances,
        settings,
        background=targets.classes == 0,
        class_of={3: 2},
        spacing=(2.0, 1.0),
    )
    np.testing.assert_array_equal(weights.open(), expected)
    assert events == [WeightsComputed(0, 1, float(expected.max()))]
    assert expected.max() > 1


def test_the_weights_need_an_array_of_the_plane(tmp_path):
    annotation = _annotation(tmp_path, np.ones((20, 30)), "yx")
    weights = ArrayReference.create(tmp_path / "w.raw", (30, 20), "<f4")
    job = WeightsJob(annotation, 0, 0, (1.0, 1.0), BorderWeights(), weights)
    with pytest.raises(ValueError, match=r"shape \(20, 30\), found \(30, 20\)"):
        list(weights_job.run(job))


# check


def test_a_check_ticks_after_each_plane_and_ends_with_its_report(tmp_path):
    labels = np.ones((3, 30, 40), np.int32)
    labels[:, 5:15, 5:15] = 2
    image = _image(tmp_path, np.zeros((3, 30, 40), np.uint8), "zyx")
    annotation = _annotation(tmp_path, labels, "zyx")
    job = CheckJob((image,), (annotation,), (((0, 0), (0, 2)),), (92, 92))
    *ticks, last = check_job.run(job)
    assert len(ticks) >= 2
    assert set(ticks) == {None}
    assert isinstance(last, Checked)
    assert [c.cells for c in last.report.counts] == [0, 1, 0, 1]
    assert [f.kind for f in last.report.findings] == ["small-image"]


# export


def _image(folder, data, axes, spacing=None):
    return ImageReference((_store(folder, "image.raw", data),), axes, spacing, "embryo")


def _export_job(folder, axes="zyx", **rest):
    """Two slices, two cells, of which one is in both slices."""
    cells = np.zeros((2, 8, 9), np.int32)
    cells[:, 1:3, 1:4] = 1
    cells[1, 5:7, 5:7] = 300
    grey = np.arange(144, dtype=np.uint16).reshape(2, 8, 9)
    if axes == "yx":
        cells, grey = cells[1], grey[1]
    spacing = (2.0, 0.5, 0.5)[-len(axes) :] if axes != "tyx" else (0.5, 0.5)
    defaults = {
        "folder": str(folder / "out"),
        "name": "embryo 1",
        "image": _image(folder, grey, axes, spacing),
        "cells": _store(folder, "cells.raw", cells),
        "probabilities": None,
        "classes": NUCLEI,
    }
    return ExportJob(**(defaults | rest))


def _rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("format", ["tif", "ome.tif", "zarr"])
def test_masks_and_probabilities_come_back_equal(tmp_path, format):  # noqa: A002
    p = np.random.default_rng(1).random((2, 2, 8, 9), dtype=np.float32)
    job = _export_job(
        tmp_path, probabilities=_store(tmp_path, "p.raw", p), format=format
    )
    events = _events(export_job.run(job))
    out = tmp_path / "out"
    assert events == [
        FileWritten(str(out / f"embryo 1_cells.{format}"), pytest.approx(1 / 3)),
        FileWritten(
            str(out / f"embryo 1_probabilities.{format}"), pytest.approx(2 / 3)
        ),
        FileWritten(str(out / "embryo 1_cells.csv"), 1.0),
    ]
    assert {path.name for path in out.iterdir()} == {Path(e.path).name for e in events}
    masks = read_labels(events[0].path)
    assert (masks.axes, masks.spacing_um) == ("zyx", pytest.approx((2.0, 0.5, 0.5)))
    np.testing.assert_array_equal(np.asarray(masks.data[...]), job.cells.open())
    image = read_image(events[1].path)
    back = np.asarray(image.data[...])
    back = back.transpose([image.axes.index(a) for a in "czyx"])
    np.testing.assert_array_equal(back, p)
    assert image.spacing_um == pytest.approx((2.0, 0.5, 0.5))


def test_regions_are_written_as_masks_of_classes(tmp_path):
    numbers = np.zeros((2, 8, 9), np.uint8)
    numbers[:, 2:5], numbers[1, 6:] = 1, 2
    regions = tuple(ClassInfo(name=n, kind="regions") for n in ("tissue", "vessel"))
    job = _export_job(
        tmp_path,
        classes=regions,
        cells=None,
        class_masks=_store(tmp_path, "classes.raw", numbers),
    )
    (event,) = _events(export_job.run(job))
    assert Path(event.path).name == "embryo 1_classes.tif"
    masks = read_labels(event.path)
    assert (masks.axes, masks.spacing_um) == ("zyx", pytest.approx((2.0, 0.5, 0.5)))
    np.testing.assert_array_equal(np.asarray(masks.data[...]), numbers)
    # beside cells, where there are both
    job = _export_job(tmp_path, class_masks=job.class_masks)
    names = [Path(e.path).name for e in _events(export_job.run(job))]
    assert names == [f"embryo 1_{n}" for n in ("cells.tif", "classes.tif", "cells.csv")]


def test_a_stack_is_measured_in_volumes(tmp_path):
    job = _export_job(tmp_path, masks=False)
    (event,) = _events(export_job.run(job))
    first, second = _rows(Path(event.path))
    assert (first["label"], second["label"]) == ("1", "300")
    assert first["class"] == "nuclei"
    assert float(first["volume_um3"]) == 12 * 0.5
    assert (first["slices"], second["z"]) == ("2", "1")
    grey = job.image.open().data
    assert float(first["channel0_mean"]) == np.mean(grey[:, 1:3, 1:4])
    assert first["touches_border"] == "True"


@pytest.mark.parametrize(("axes", "rows"), [("yx", 2), ("tyx", 3)])
def test_planes_and_movies_are_measured_in_areas(tmp_path, axes, rows):
    (event,) = _events(export_job.run(_export_job(tmp_path, axes, masks=False)))
    table = _rows(Path(event.path))
    assert len(table) == rows
    assert [float(r["area_um2"]) for r in table] == [1.5, 1.5, 1.0][-rows:]
    assert [r["t"] for r in table] == (["0", "1", "1"] if axes == "tyx" else ["0"] * 2)


def test_channels_that_lie_apart_are_measured_each(tmp_path):
    job = _export_job(tmp_path, "yx", masks=False)
    other = _store(tmp_path, "other.raw", np.full((8, 9), 7, np.uint8))
    image = ImageReference((*job.image.channels, other), "yx", None, "embryo")
    job = _export_job(tmp_path, "yx", masks=False, image=image)
    (event,) = _events(export_job.run(job))
    row = _rows(Path(event.path))[0]
    assert float(row["channel1_mean"]) == 7
    assert "area_px" in row
    assert "area_um2" not in row


def test_the_class_of_a_cell_is_named_where_probabilities_tell_it(tmp_path):
    classes = (*NUCLEI, ClassInfo(name="mitosis"))
    p = np.zeros((3, 2, 8, 9), np.float32)
    p[1, :, 1:3, 1:4] = 1
    p[2, 1, 5:7, 5:7] = [[1, 1], [0.75, 0.25]]
    stored = _store(tmp_path, "p.raw", p)
    job = _export_job(tmp_path, masks=False, classes=classes, probabilities=stored)
    path = Path(_events(export_job.run(job))[-1].path)
    assert [row["class"] for row in _rows(path)] == ["nuclei", "mitosis"]
    assert [row["class_probability"] for row in _rows(path)] == ["1.0", "0.75"]
    assert path.with_name("embryo 1_probabilities.tif").exists()
    path.with_name("embryo 1_probabilities.tif").unlink()
    job = _export_job(
        tmp_path, masks=False, maps=False, classes=classes, probabilities=stored
    )
    (event,) = _events(export_job.run(job))
    assert [row["class"] for row in _rows(Path(event.path))] == ["nuclei", "mitosis"]
    assert not path.with_name("embryo 1_probabilities.tif").exists()
    job = _export_job(tmp_path, masks=False, classes=classes)
    path = Path(_events(export_job.run(job))[-1].path)
    assert "class" not in _rows(path)[0]


def test_cells_are_exported_and_told_as_points(tmp_path):
    p = np.zeros((2, 2, 8, 9), np.float32)
    p[1, :, 1:3, 1:4] = 1
    p[1, 1, 5:7, 5:7] = [[1, 1], [0.5, 0.5]]
    stored = _store(tmp_path, "p.raw", p)
    wanted = {"masks": False, "table": False, "maps": False, "points": True}
    job = _export_job(tmp_path, probabilities=stored, **wanted)
    (event,) = _events(export_job.run(job))
    assert Path(event.path).name == "embryo 1_points.csv"
    rows = _rows(Path(event.path))
    assert [row["confidence"] for row in rows] == ["1.0", "0.75"]
    assert [row["axis-0"] for row in rows] == ["0.5", "1.0"]
    assert [row["z_um"] for row in rows] == ["1.0", "2.0"]
    points = PointsJob(job.cells, "zyx", stored, NUCLEI, job.image.spacing_um, "embryo")
    (found,) = _events(measure_job.points(points))
    assert list(found.points) == [n for n in rows[0] if n[:5] not in ("index", "axis-")]
    assert found.points["y_um"].tolist() == [float(row["y_um"]) for row in rows]
    with pytest.raises(ValueError, match="embryo 1: points of cells need their prob"):
        _events(export_job.run(_export_job(tmp_path, **wanted)))


def test_cells_are_exported_for_other_programs(tmp_path):
    classes = (*NUCLEI, ClassInfo(name="tissue", kind="regions"))
    job = _export_job(
        tmp_path,
        masks=False,
        table=False,
        classes=classes,
        objects=("geojson", "coco"),
        colours=("#ff8000", "#0000ff"),
    )
    events = _events(export_job.run(job))
    paths = [Path(event.path) for event in events]
    assert [p.name for p in paths] == [
        "embryo 1_cells.geojson",
        "embryo 1_cells_coco.json",
    ]
    assert [event.progress for event in events] == [0.5, 1.0]
    for name, path in zip(job.objects, paths, strict=True):
        like = Image(job.cells.open(), "zyx", name="embryo")
        found = FORMATS[name].read(path, like)
        np.testing.assert_array_equal(found.labels.data, job.cells.open())
        assert found.class_named(300).name == "nuclei"
    feature = json.loads(paths[0].read_text(encoding="utf-8"))["features"][0]
    assert feature["properties"]["classification"] == {
        "name": "nuclei",
        "color": [255, 128, 0],
    }
    assert feature["properties"]["measurements"]["volume_um3"] == 6.0


def test_a_format_whose_package_is_missing_stops_before_anything_is_written(
    tmp_path, monkeypatch
):
    missing = replace(FORMATS["coco"], package="no_such_package")
    monkeypatch.setitem(FORMATS, "coco", missing)
    job = _export_job(tmp_path, objects=("coco",))
    with pytest.raises(ModuleNotFoundError, match="no_such_package, which pip install"):
        list(export_job.run(job))
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_the_folder_cannot_be(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(
        OSError, match="folder cannot be made, a file of this name exists"
    ):
        list(export_job.run(_export_job(tmp_path)))
    assert (tmp_path / "out").read_text() == "a file"


def test_a_cancelled_export_leaves_complete_files_only(tmp_path):
    job = _export_job(tmp_path)
    running = export_job.run(job)
    for event in running:
        if isinstance(event, FileWritten):
            break
    next(running)  # in the midst of the table
    running.close()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["embryo 1_cells.tif"]


def test_something_must_be_asked_for(tmp_path):
    job = _export_job(tmp_path, cells=None)
    with pytest.raises(ValueError, match="embryo 1: there is nothing to export"):
        list(export_job.run(job))
    assert not (tmp_path / "out").exists()


def test_no_job_of_the_cpu_worker_loads_torch():
    code = (
        "import sys\n"
        "from napari_unet.engine.worker import "
        "cells_job, check_job, export_job, measure_job, model_files_job, weights_job\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_of_followed_cells_has_their_tracks_and_parents(tmp_path):
    job = _export_job(tmp_path, "tyx", masks=False, parents={300: 1})
    list(export_job.run(job))
    rows = _rows(tmp_path / "out" / "embryo 1_cells.csv")
    assert [(r["track"], r["parent"], r["t"]) for r in rows] == [
        ("1", "0", "0"),
        ("1", "0", "1"),
        ("300", "1", "1"),
    ]
