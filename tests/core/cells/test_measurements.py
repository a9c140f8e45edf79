from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.measurements import measure, stack


def _ids(rows):
    return np.array([[int(c) for c in row] for row in rows], np.int32)


CELLS = _ids(["0000000", "0333000", "0333005", "0000005", "0000000"])


def _table(columns):
    return {name: column.tolist() for name, column in columns.items()}


def test_planes_are_measured_in_pixels_where_the_pixel_size_is_unknown():
    table = _table(measure(CELLS, t=2, z=7))
    assert list(table) == [
        "label",
        "t",
        "z",
        "centroid_y_px",
        "centroid_x_px",
        "bbox_y_px",
        "bbox_x_px",
        "bbox_height_px",
        "bbox_width_px",
        "area_px",
        "equivalent_diameter_px",
        "perimeter_px",
        "major_axis_px",
        "minor_axis_px",
        "eccentricity",
        "solidity",
        "touches_border",
    ]
    assert table["label"] == [3, 5]
    assert (table["t"], table["z"]) == ([2, 2], [7, 7])
    assert (table["centroid_y_px"], table["centroid_x_px"]) == ([1.5, 2.5], [2, 6])
    assert (table["bbox_y_px"], table["bbox_x_px"]) == ([1, 2], [1, 6])
    assert (table["bbox_height_px"], table["bbox_width_px"]) == ([2, 2], [3, 1])
    assert table["area_px"] == [6, 2]
    assert table["equivalent_diameter_px"][0] == pytest.approx((6 * 4 / np.pi) ** 0.5)
    assert table["perimeter_px"][0] == 6  # through the centres of the outermost pixels
    # variances of the pixel centres: 2/3 along x, 1/4 along y
    assert table["major_axis_px"][0] == pytest.approx(4 * (2 / 3) ** 0.5)
    assert table["minor_axis_px"][0] == pytest.approx(4 * (1 / 4) ** 0.5)
    assert table["solidity"][0] == 1
    assert table["touches_border"] == [False, True]


def test_calibrated_columns_carry_their_unit():
    table = _table(measure(CELLS, spacing_um=(0.5, 0.5)))
    plain = _table(measure(CELLS))
    assert table["area_px"] == [6, 2]
    assert table["area_um2"] == [1.5, 0.5]
    assert table["centroid_x_px"] == [2, 6]
    for name in ("equivalent_diameter", "perimeter", "major_axis", "minor_axis"):
        assert f"{name}_px" not in table
        np.testing.assert_allclose(
            table[f"{name}_um"], np.array(plain[f"{name}_px"]) / 2
        )
    assert table["eccentricity"] == pytest.approx(plain["eccentricity"])


def test_pixels_that_are_no_squares_count_in_all_but_the_perimeter():
    table = measure(_ids(["0000", "0110", "0110", "0000"]), spacing_um=(0.5, 2.0))
    assert table["area_um2"].tolist() == [4]
    assert table["centroid_y_px"].tolist() == [1.5]
    assert table["major_axis_um"].tolist() == [4]  # ±1 µm along x
    assert table["minor_axis_um"].tolist() == [1]  # ±1/4 µm along y
    assert not any(name.startswith("perimeter") for name in table)


def test_volumes_have_volumes_and_slices():
    cells = np.zeros((4, 3, 3), np.int32)
    cells[1:4, 1, 1] = 2
    table = _table(measure(cells, spacing_um=(2.0, 0.5, 0.5), t=1))
    assert list(table) == [
        "label",
        "t",
        "z",
        "centroid_z_px",
        "centroid_y_px",
        "centroid_x_px",
        "bbox_z_px",
        "bbox_y_px",
        "bbox_x_px",
        "bbox_height_px",
        "bbox_width_px",
        "slices",
        "volume_px",
        "volume_um3",
        "equivalent_diameter_um",
        "touches_border",
    ]
    assert (table["z"], table["centroid_z_px"], table["slices"]) == ([2], [2], [3])
    assert [table[f"bbox_{a}_px"] for a in "zyx"] == [[1], [1], [1]]
    assert (table["bbox_height_px"], table["bbox_width_px"]) == ([1], [1])
    assert (table["volume_px"], table["volume_um3"]) == ([3], [1.5])
    assert table["equivalent_diameter_um"][0] == pytest.approx(
        (1.5 * 6 / np.pi) ** (1 / 3)
    )
    assert table["touches_border"] == [True]


def test_grey_values_are_of_each_cell_and_channel():
    field = np.zeros((2, *CELLS.shape), np.uint16)
    field[0][CELLS == 3] = [1, 2, 3, 4, 5, 9]
    field[0][CELLS == 5] = 65535
    field[1][CELLS == 5] = [10, 20]
    table = _table(measure(CELLS, field))
    assert table["channel0_mean"] == [4, 65535]
    assert table["channel0_min"] == [1, 65535]
    assert table["channel0_max"] == [9, 65535]
    assert table["channel0_sd"] == pytest.approx([(40 / 6) ** 0.5, 0])
    assert table["channel1_mean"] == [0, 15]
    assert table["channel1_sd"] == [0, 5]


def test_classes_are_named_where_they_are_known():
    table = measure(CELLS, classes={5: "mitosis"})
    assert table["class"].tolist() == ["", "mitosis"]
    assert list(table)[:3] == ["label", "class", "t"]
    table = measure(CELLS, classes={5: "mitosis"}, class_probabilities={5: 0.75})
    assert list(table)[:4] == ["label", "class", "class_probability", "t"]
    np.testing.assert_array_equal(table["class_probability"], [np.nan, 0.75])


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_without_cells_the_table_has_its_columns_and_no_rows(shape):
    empty = np.zeros(shape, np.int32)
    one = empty.copy()
    one[..., 1:3, 1:3] = 1
    rest = {"field": np.zeros((1, *shape)), "spacing_um": (1.0,) * len(shape)}
    table = measure(empty, classes={}, **rest)
    assert list(table) == list(measure(one, classes={1: "a"}, **rest))
    assert {len(column) for column in table.values()} == {0}
    both = stack([table, measure(one, classes={1: "a"}, **rest)])
    assert both["label"].tolist() == [1]
    assert both["class"].tolist() == ["a"]


def test_tables_are_put_under_each_other():
    table = stack([measure(CELLS, t=0), measure(CELLS, t=1)])
    assert table["t"].tolist() == [0, 0, 1, 1]
    assert table["label"].tolist() == [3, 5, 3, 5]
    assert stack([]) == {}


@pytest.mark.parametrize("cells", [np.zeros(5, np.int32), np.zeros((5, 6))])
def test_cells_are_whole_numbers_of_a_plane_or_volume(cells):
    with pytest.raises(ValueError, match=r"of shape \(\[z,\] y, x\), found"):
        measure(cells)


def test_the_image_must_have_the_shape_of_the_cells():
    with pytest.raises(
        ValueError, match=r"\(1, 5, 6\) without channels is not .* \(5, 7\)"
    ):
        measure(CELLS, np.zeros((1, 5, 6)))


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0)])
def test_the_pixel_size_must_fit(spacing):
    with pytest.raises(ValueError, match="2 positive values, found"):
        measure(CELLS, spacing_um=spacing)
