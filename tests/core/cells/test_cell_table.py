from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.cell_table import cell_table, objects_of, with_object_ids
from napari_unet.core.cells.measurements import measure
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.core.cells.whole_cells import whole_cells
from napari_unet.core.images.image import Field, Image

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_unet.core.cells.measurements import Columns

NUCLEI = (ClassInfo(name="nuclei"),)


def result(running: Generator[None, None, Columns]) -> Columns:
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def large_plane() -> np.ndarray:
    """More pixels than are one part: cells across the blocks' borders, one in two."""
    cells = np.zeros((4200, 4300), np.uint32)
    cells[0:5, 0:7] = 3  # at the edge
    cells[1500:1520, 1530:1540] = 70_000  # across borders, a high id
    cells[1525:1530, 1531:1533] = 9  # in the box of the one before
    cells[3000:3003, 40:45] = 2
    cells[4100:4104, 20:25] = 2  # the same cell
    cells[4190:, 4290:] = 5
    return cells


def assert_equal_tables(found: Columns, wanted: Columns) -> None:
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        assert found[name].dtype == column.dtype
        if column.dtype.kind == "f":
            np.testing.assert_allclose(found[name], column, rtol=1e-9)
        else:
            np.testing.assert_array_equal(found[name], column)


def test_a_large_plane_is_measured_as_in_one_piece() -> None:
    cells = large_plane()
    grey = np.add.outer(np.arange(4200), np.arange(4300)).astype(np.uint16)
    image = Image(grey, "yx", (0.5, 0.25))
    found = result(cell_table(Image(cells, "yx"), image, NUCLEI))
    wanted = measure(
        cells,
        grey[np.newaxis],
        (0.5, 0.25),
        classes=dict.fromkeys([2, 3, 5, 9, 70_000], "nuclei"),
    )
    assert found["label"].tolist() == [2, 3, 5, 9, 70_000]
    assert found["touches_border"].tolist() == [False, True, True, False, False]
    assert found["bbox_y_px"].tolist() == [3000, 0, 4190, 1525, 1500]
    assert_equal_tables(found, wanted)


def test_a_large_volume_is_measured_as_in_one_piece() -> None:
    cells = np.zeros((41, 650, 660), np.int32)
    cells[20:24, 300:340, 310:350] = 4  # across borders of all axes
    cells[40, 600:, 600:] = 8
    cells[0:2, 0:3, 0:3] = 1
    image = Image(np.ones(cells.shape, np.uint8), "zyx", (2.0, 0.5, 0.5))
    found = result(cell_table(Image(cells, "zyx"), image, ()))
    assert found["label"].tolist() == [1, 4, 8]
    assert_equal_tables(found, measure(cells, image.read()[None], (2.0, 0.5, 0.5)))


def test_parts_of_a_large_field_are_small_and_have_each_cell_once() -> None:
    cells = large_plane()
    parts = list(whole_cells(Field(Image(cells, "yx"))))
    assert len(parts) > 1
    of_parts = [set(np.unique(part.cells).tolist()) - {0} for part in parts]
    assert sorted(id_ for ids in of_parts for id_ in ids) == [2, 3, 5, 9, 70_000]
    assert max(part.cells.size for part in parts) < cells.size / 3
    # where there are none there is a part, too, for a table without rows
    none = Image(np.zeros_like(cells), "yx")
    (part,) = whole_cells(Field(none))
    assert not part.cells.any()


def movie() -> tuple[Image, Image]:
    """Two time points: cells 1 and 2, of two classes, then another cell 1."""
    cells = np.zeros((2, 6, 8), np.int32)
    cells[0, :2, :2], cells[0, 3:5, 3:6], cells[1, 4:, 6:] = 1, 2, 1
    p = np.zeros((3, 2, 6, 8), np.float32)
    p[1, 0, :2, :2], p[2, 0, 3:5, 3:6], p[2, 1, 4:, 6:] = 0.75, 0.5, 1
    return Image(cells, "tyx", name="movie"), Image(p, "ctyx")


@pytest.mark.parametrize("measured", [True, False])
def test_cells_of_different_time_points_are_different_objects(measured: bool) -> None:
    cells, probabilities = movie()
    classes = (*NUCLEI, ClassInfo(name="mitosis"))
    image = Image(np.zeros(cells.data.shape), "tyx")
    table = result(cell_table(cells, image, classes, probabilities, measured=measured))
    # the table names them as the masks do
    assert table["label"].tolist() == [1, 2, 1]
    assert table["class"].tolist() == ["nuclei", "mitosis", "mitosis"]
    assert ("area_px" in table) == measured
    kinds = (ObjectClass("nuclei", "#ff0000"), ObjectClass("mitosis"))
    objects = objects_of(cells, table, kinds, image)
    assert dict(objects.class_of) == {1: 1, 2: 2, 3: 2}
    assert dict(objects.probability_of) == {1: 0.75, 2: 0.5, 3: 1.0}
    assert objects.table["label"].tolist() == [1, 2, 3]
    # and has the ids in files of other programs beside them
    joined = with_object_ids(table, objects)
    assert list(joined)[:2] == ["label", "object"]
    assert joined["label"].tolist() == [1, 2, 1]
    assert joined["object"].tolist() == [1, 2, 3]
    planes = [plane.ids for plane in objects.planes()]
    np.testing.assert_array_equal(planes[0], cells.data[0])
    np.testing.assert_array_equal(planes[1], cells.data[1] * 3)
    np.testing.assert_array_equal(objects.labels.read(), np.stack(planes))


def test_ids_of_one_time_point_stay() -> None:
    cells, _ = movie()
    one = Image(cells.data[0], "yx")
    table = result(cell_table(one, one, NUCLEI, measured=False))
    objects = objects_of(one, table, (ObjectClass("nuclei"),), one)
    assert objects.labels.data is one.data
    assert with_object_ids(table, objects) is table
    assert dict(objects.class_of) == {1: 1, 2: 1}
    assert not objects.probability_of


def test_what_class_cells_are_is_not_guessed() -> None:
    cells, _ = movie()
    classes = (*NUCLEI, ClassInfo(name="mitosis"))
    table = result(cell_table(cells, cells, classes, measured=False))
    assert list(table) == ["label", "t"]
    kinds = (ObjectClass("nuclei"), ObjectClass("mitosis"))
    assert not objects_of(cells, table, kinds, cells).class_of


@pytest.mark.parametrize(("axes", "channels"), [("tyx", 1), ("tcyx", 2), ("tyxc", 1)])
def test_objects_know_how_many_channels_other_programs_see(
    axes: str, channels: int
) -> None:
    cells, _ = movie()
    image = Image(np.zeros([{"t": 2, "c": 2, "y": 6, "x": 8}[a] for a in axes]), axes)
    table = result(cell_table(cells, image, NUCLEI, measured=False))
    assert objects_of(cells, table, (), image).channels == channels


def test_tracks_are_one_object_of_the_class_that_is_most_frequent() -> None:
    labels = np.zeros((3, 4, 8), np.int32)
    labels[:, :2, :2], labels[1:, :2, 4:6] = 1, 2
    p = np.zeros((3, 3, 4, 8), np.float32)
    p[1, :2], p[2, 2] = 0.5, 0.75  # nuclei, in the last frame mitosis
    cells, probabilities = Image(labels, "tyx"), Image(p, "ctyx")
    classes = (*NUCLEI, ClassInfo(name="mitosis"))
    image = Image(np.zeros(labels.shape), "tyx")
    table = result(
        cell_table(cells, image, classes, probabilities, parents={2: 1}, measured=False)
    )
    assert list(table)[:3] == ["label", "track", "parent"]
    assert table["track"].tolist() == table["label"].tolist() == [1, 1, 2, 1, 2]
    assert table["parent"].tolist() == [0, 0, 1, 0, 1]
    kinds = (ObjectClass("nuclei"), ObjectClass("mitosis"))
    objects = objects_of(cells, table, kinds, image)
    assert objects.labels.data is cells.data
    # of one frame each of both classes the first
    assert dict(objects.class_of) == {1: 1, 2: 1}
    assert dict(objects.probability_of) == {1: 0.5, 2: 0.5}
    assert dict(objects.parent_of) == {2: 1}
