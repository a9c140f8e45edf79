from __future__ import annotations

import pickle

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.annotation.data_check import (
    CheckedField,
    CheckReport,
    ClassCount,
    Finding,
    check_annotation,
    only_cells,
    usual_sizes,
)

SLICE = CheckedField(image=1, t=2, z=3, name="Slice 3")
CELLS, TISSUE = ClassInfo(name="nuclei"), ClassInfo(name="tissue", kind="regions")


def _plane():
    """Three cells of 100 pixels in background, and nothing known on the right."""
    labels = np.zeros((60, 60), np.int32)
    labels[:, :50] = 1
    for number in range(3):
        labels[2 + 15 * number : 12 + 15 * number, 5:15] = number + 2
    return labels


def _findings(labels, **rest):
    return check_annotation(Annotation(labels, **rest), SLICE).findings


def test_good_annotation_is_counted_and_has_no_findings():
    report = check_annotation(Annotation(_plane(), (CELLS,)), SLICE)
    assert report == CheckReport(
        (
            ClassCount(1, 2, 3, "background", 0, 60 * 50 - 300),
            ClassCount(1, 2, 3, "nuclei", 3, 300),
        )
    )


def test_counts_are_by_class_and_regions_have_no_cells():
    report = check_annotation(
        Annotation(_plane(), (CELLS, TISSUE), {3: 2, 99: 1}), SLICE
    )
    assert [(c.class_name, c.cells, c.pixels) for c in report.counts] == [
        ("background", 0, 2700),
        ("nuclei", 2, 200),
        ("tissue", 0, 100),
    ]


def test_unlabelled_pixels_count_as_background_where_finished():
    labels = np.where(_plane() == 1, 0, _plane())
    finished = np.zeros(labels.shape, bool)
    finished[:10, 50:] = True
    report = check_annotation(Annotation(labels, finished=finished), SLICE)
    assert report.counts[0].pixels == 100
    assert report.findings == ()


def test_nothing_painted_is_nothing_to_report():
    report = check_annotation(Annotation(np.zeros((5, 6), np.int32)), SLICE)
    assert report == CheckReport()


def test_missing_background_is_told_with_a_ring_as_remedy():
    (finding,) = _findings(np.where(_plane() == 1, 0, _plane()))
    assert finding == Finding(
        "no-background",
        "warning",
        "Slice 3: no background painted; the network cannot learn what is not a cell.",
        image=1,
        t=2,
        z=3,
        position=(6.5, 9.5),
        fix="ring",
    )


def test_regions_without_background_get_no_ring():
    labels = np.full((5, 6), 2, np.int32)
    (finding,) = _findings(labels, classes=(TISSUE,))
    assert finding.kind == "no-background"
    assert finding.sentence.endswith("what is not tissue.")
    assert finding.fix is None


def test_one_id_in_two_places_is_told_where_the_smaller_one_is():
    labels = _plane()
    labels[20:29, 40:50] = 2
    (finding,) = _findings(labels)
    assert (finding.kind, finding.severity) == ("merged-cells", "warning")
    assert (finding.label, finding.position, finding.fix) == (2, (24, 44.5), "split")
    assert finding.sentence == (
        "Slice 3: cell 2 lies in 2 separate pieces; if they are different cells, each "
        "needs an id of its own."
    )


def test_two_disks_joined_under_one_id_are_a_hint():
    y, x = np.indices((60, 60))
    labels = _plane()
    for centre in (25, 42):
        labels[(y - 45) ** 2 + (x - centre) ** 2 <= 80] = 9
    labels[2:18, 25:41] = 8
    (finding,) = _findings(labels)
    assert (finding.kind, finding.severity, finding.label) == (
        "merged-cells",
        "hint",
        9,
    )
    assert finding.fix is None
    assert "narrow waist" in finding.sentence


def test_specks_are_told_once_with_the_first():
    labels = _plane()
    labels[50, 30:38] = 2  # 8 pixels
    (finding,) = _findings(labels)
    assert (finding.kind, finding.label, finding.fix) == ("specks", 2, "remove-specks")
    assert finding.position == (50, 33.5)
    labels[50, 20] = 3
    (finding,) = _findings(labels)
    assert finding.label is None
    assert finding.sentence.startswith("Slice 3: 2 specks far smaller than a cell")
    labels[51:60, 30:40] = 2  # then it is a piece
    assert [f.kind for f in _findings(labels)] == ["merged-cells", "specks"]


def test_scribbles_of_regions_may_be_in_pieces():
    labels = _plane()
    labels[20:29, 40:50] = 2
    labels[50, 40] = 2
    assert _findings(labels, classes=(CELLS, TISSUE), class_of={2: 2}) == ()
    # where all is tissue unless told otherwise, too
    both = {"classes": (TISSUE, CELLS), "class_of": {3: 2}}
    assert _findings(labels, **both) == ()
    assert np.unique(only_cells(Annotation(labels, **both))).tolist() == [0, 3]


def test_the_usual_size_is_that_of_the_class():
    annotation = Annotation(_plane(), (CELLS, ClassInfo(name="large")), {7: 2, 8: 2})
    sizes = [(2, 10), (3, 20), (4, 90), (7, 1000), (8, 2000)]
    assert usual_sizes(annotation, sizes) == {1: 20, 2: 1500}
    labels = _plane()
    labels[50:52, 30:36] = 6  # 12 pixels: a cell beside 100, a speck beside 1000
    assert _findings(labels) == ()
    report = check_annotation(Annotation(labels), SLICE, {1: 1000.0})
    assert [f.kind for f in report.findings] == ["specks"]


def test_in_a_volume_one_goes_to_the_slice_of_the_piece():
    labels = np.ones((9, 20, 20), np.int32)
    labels[1:4, 2:8, 2:8] = 2
    labels[6:9, 12:17, 12:17] = 2
    plane = CheckedField(t=1, z=None, name="Time 1")
    (finding,) = check_annotation(Annotation(labels), plane).findings
    assert (finding.t, finding.z, finding.position) == (1, 7, (14, 14))


def test_reports_can_be_sent():
    report = check_annotation(Annotation(np.where(_plane() == 1, 0, _plane())), SLICE)
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_any_type_of_whole_numbers_will_do(dtype):
    labels = _plane().astype(dtype)
    labels[20:29, 40:50] = 2
    annotation = Annotation(labels, (CELLS, TISSUE), {2: 1, 3: 2, 70000: 2})
    report = check_annotation(annotation, SLICE)
    assert [f.label for f in report.findings] == [2]
