from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo, FinishedPart
from napari_unet.core.annotation.project_check import check
from napari_unet.core.images.array_reference import (
    AnnotationReference,
    ArrayReference,
    ImageReference,
)

NUCLEI = (ClassInfo(name="nuclei"),)
PAPER = (92, 92)


def _store(folder, name, array):
    stored = ArrayReference.create(folder / name, array.shape, array.dtype.str)
    stored.open(writable=True)[...] = array
    return stored


def _image(folder, shape, axes, name="embryo"):
    stored = ArrayReference.create(folder / f"{name}.raw", shape, "<u2")
    return ImageReference((stored,), axes, None, name)


def _annotation(folder, labels, axes, name="embryo", classes=NUCLEI):
    labels = np.asarray(labels, np.int32)
    return AnnotationReference(
        _store(folder, f"{name} annotation.raw", labels), axes, classes, {}
    )


def _painted(*shape):
    """One cell of 100 pixels in background in each slice."""
    labels = np.ones(shape, np.int32)
    labels[..., 5:15, 5:15] = 2
    return labels


def _check(images, annotations, places, halo=(0, 0)):
    return list(check(images, annotations, places, halo))[-1]


def test_planes_are_reported_one_by_one_and_the_last_report_has_all(tmp_path):
    image = _image(tmp_path, (3, 30, 40), "zyx")
    labels = _painted(3, 30, 40)
    labels[2] = np.where(labels[2] == 1, 0, labels[2])
    annotation = _annotation(tmp_path, labels, "zyx")
    reports = list(check([image], [annotation], [[(0, 0), (0, 2)]], (0, 0)))
    assert [len(r.counts) for r in reports] == [2, 4, 4]
    assert [(c.z, c.class_name, c.cells, c.pixels) for c in reports[-1].counts] == [
        (0, "background", 0, 1100),
        (0, "nuclei", 1, 100),
        (2, "background", 0, 0),
        (2, "nuclei", 1, 100),
    ]
    (finding,) = reports[-1].findings
    assert (finding.severity, finding.z) == ("warning", 2)
    assert finding.sentence == (
        "Slice 2: no background painted; the network cannot learn what is not a cell."
    )


def test_no_background_at_all_is_an_error(tmp_path):
    labels = np.where(_painted(30, 40) == 1, 0, _painted(30, 40))
    image, annotation = (
        _image(tmp_path, (30, 40), "yx"),
        _annotation(tmp_path, labels, "yx"),
    )
    (finding,) = _check([image], [annotation], [[(0, 0)]]).findings
    assert (finding.kind, finding.severity) == ("no-background", "error")
    assert finding.sentence.startswith("embryo: no background")
    finished = (FinishedPart(t=0, z=0, box=((0, 30), (0, 40))),)
    annotation = replace(annotation, finished=finished)
    assert _check([image], [annotation], [[(0, 0)]]).findings == ()


def test_planes_are_named_by_what_tells_them_apart(tmp_path):
    labels = np.where(_painted(2, 3, 30, 40) == 1, 0, _painted(2, 3, 30, 40))
    images = [_image(tmp_path, (2, 3, 30, 40), "tzyx", n) for n in ("a", "b")]
    annotation = _annotation(tmp_path, labels, "tzyx", "b")
    report = _check(images, [None, annotation], [[], [(1, 2)]])
    sentences = [f.sentence for f in report.findings]
    assert sentences[0].startswith("b, time 1, slice 2: no background")
    assert sentences[1] == "a: nothing is painted, so it is not used for training."
    (alone,) = _check(images[1:], [annotation], [[(1, 2)]]).findings
    assert alone.sentence.startswith("Time 1, slice 2: no background")


def test_an_empty_project_is_told_what_to_do(tmp_path):
    image = _image(tmp_path, (30, 40), "yx")
    (finding,) = _check([image], [None], [[]]).findings
    assert (finding.kind, finding.severity) == ("nothing", "error")
    assert finding.fix == "new-annotation"
    blank = _annotation(tmp_path, np.zeros((30, 40)), "yx")
    (finding,) = _check([image], [blank], [[(0, 0)]]).findings
    assert (finding.kind, finding.fix) == ("nothing", None)


def test_only_background_is_an_error_for_the_project_not_for_a_slice(tmp_path):
    image = _image(tmp_path, (2, 30, 40), "zyx")
    labels = _painted(2, 30, 40)
    labels[1] = 1
    both = _annotation(tmp_path, labels, "zyx")
    assert _check([image], [both], [[(0, 0), (0, 1)]]).findings == ()
    (finding,) = _check([image], [both], [[(0, 1)]]).findings
    assert (finding.kind, finding.severity) == ("no-cells", "error")


def test_a_class_without_pixels_is_named(tmp_path):
    image = _image(tmp_path, (30, 40), "yx")
    classes = (*NUCLEI, ClassInfo(name="mitosis"))
    annotation = _annotation(tmp_path, _painted(30, 40), "yx", classes=classes)
    (finding,) = _check([image], [annotation], [[(0, 0)]]).findings
    assert (finding.kind, finding.severity) == ("one-class", "warning")
    assert "class mitosis is painted" in finding.sentence


def test_the_usual_size_of_a_cell_is_that_of_all_slices(tmp_path):
    labels = np.ones((3, 60, 60), np.int32)
    labels[:2, 5:50, 5:50] = 2  # 2025 pixels
    labels[2, 5:9, 5:15] = 2  # 40 are a speck beside that
    image, annotation = (
        _image(tmp_path, labels.shape, "zyx"),
        _annotation(tmp_path, labels, "zyx"),
    )
    (finding,) = _check([image], [annotation], [[(0, 0), (0, 1), (0, 2)]]).findings
    assert (finding.kind, finding.z) == ("specks", 2)
    assert _check([image], [annotation], [[(0, 2)]]).findings == ()


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 30, 41), "zyx"), ((30, 40), "yx"), ((3, 30, 40), "tyx")]
)
def test_an_annotation_of_another_shape_is_an_error_and_not_looked_at(
    tmp_path, shape, axes
):
    image = _image(tmp_path, (3, 2, 30, 40), "zcyx")
    annotation = _annotation(tmp_path, _painted(*shape), axes)
    report = _check([image], [annotation], [[(0, 0)]])
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("shape", "error")
    assert finding.fix == "new-annotation"
    assert "the image 3 × 30 × 40" in finding.sentence
    assert report.counts == ()


def test_an_annotation_of_real_numbers_is_an_error(tmp_path):
    image = _image(tmp_path, (30, 40), "yx")
    labels = _store(tmp_path, "a.raw", _painted(30, 40).astype(np.float32))
    annotation = AnnotationReference(labels, "yx", NUCLEI, {})
    (finding,) = _check([image], [annotation], [[(0, 0)]]).findings
    assert (finding.kind, finding.severity) == ("dtype", "error")
    assert "whole numbers, this one float32" in finding.sentence


@pytest.mark.parametrize(("size", "found"), [(92, True), (93, False)])
def test_an_image_smaller_than_the_network_sees_is_a_warning(tmp_path, size, found):
    image = _image(tmp_path, (100, size), "yx")
    annotation = _annotation(tmp_path, _painted(100, size), "yx")
    kinds = [f.kind for f in _check([image], [annotation], [[(0, 0)]], PAPER).findings]
    assert kinds == (["small-image"] if found else [])


def test_images_of_other_channels_are_an_error(tmp_path):
    grey = _image(tmp_path, (30, 40), "yx", "grey")
    colour = _image(tmp_path, (30, 40, 3), "yxc", "colour")
    labels = [_annotation(tmp_path, _painted(30, 40), "yx", n) for n in "ab"]
    (finding,) = _check([grey, colour], labels, [[(0, 0)]] * 2).findings
    assert (finding.kind, finding.image) == ("channels", 1)
    assert finding.sentence.startswith("colour has 3 channels, grey has 1")
    # one that is not annotated does not matter
    report = _check([grey, colour], [labels[0], None], [[(0, 0)], []])
    assert [f.kind for f in report.findings] == ["nothing"]


def test_errors_come_before_hints(tmp_path):
    image = _image(tmp_path, (30, 40), "yx", "a")
    annotation = _annotation(tmp_path, np.full((30, 40), 2), "yx")
    report = _check([image, image], [None, annotation], [[], [(0, 0)]], PAPER)
    assert [f.severity for f in report.findings] == [
        "error",
        "warning",
        "warning",
        "hint",
    ]
