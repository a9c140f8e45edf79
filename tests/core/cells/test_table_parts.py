from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.table_parts import (
    histogram,
    rows_in_slice,
    size_column,
    together,
)

FLAT = {"label": np.array([1, 2, 1]), "t": np.array([0, 0, 1]), "z": np.zeros(3, int)}


def test_cells_of_planes_are_seen_at_their_time_point() -> None:
    assert rows_in_slice(FLAT, 0, 0).tolist() == [0, 1]
    assert rows_in_slice(FLAT, 1, 0).tolist() == [2]


def test_cells_of_volumes_are_seen_in_all_their_slices() -> None:
    table = {
        "label": np.array([1, 2, 3]),
        "t": np.zeros(3, int),
        "bbox_z_px": np.array([0, 1, 3]),
        "slices": np.array([1, 2, 1]),
    }
    seen = [rows_in_slice(table, 0, z).tolist() for z in range(4)]
    assert seen == [[0], [1], [1], [2]]


def test_images_are_put_together_by_what_is_known_of_all() -> None:
    first = {"label": np.array([1, 2]), "area_um2": np.array([1.5, 2.5])}
    second = {"label": np.array([7]), "area_px": np.array([9])}
    joint = together({"a": first, "b": second, "none": {}})
    assert list(joint) == ["image", "label"]
    assert joint["image"].tolist() == ["a", "a", "b"]
    assert joint["label"].tolist() == [1, 2, 7]
    assert together({}) == {}


def test_sizes_in_micrometres_go_before_those_in_pixels() -> None:
    assert size_column({"area_px": np.ones(1), "area_um2": np.ones(1)}) == "area_um2"
    assert size_column({"label": np.ones(1)}) == ""


def test_few_values_have_few_classes() -> None:
    counts, edges = histogram(np.array([1.0, 1.0, 2.0, 5.0]))
    # the root of four; the middle of 1 and 5 is 3
    assert counts.tolist() == [3, 1]
    assert edges == pytest.approx([1, 3, 5])
    counts, edges = histogram(np.arange(100_000.0))
    assert (len(counts), counts.sum()) == (24, 100_000)
