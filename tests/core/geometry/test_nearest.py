from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from napari_unet.core.geometry.nearest import two_nearest

INF = np.inf


def brute_force(
    cells: np.ndarray, spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """One distance transform for each cell, sorted."""
    ids = np.unique(cells[cells > 0])
    maps = [distance_transform_edt(cells != k, sampling=spacing) for k in ids]
    maps += [np.full(cells.shape, INF)] * 2
    first, second = np.sort(maps, axis=0)[:2]
    return first, second


def test_distances_run_between_pixel_centres() -> None:
    label, first, second = two_nearest(np.array([[1, 0, 0, 0, 0, 2]]), 9)
    assert label.tolist() == [[1, 1, 1, 2, 2, 2]]
    assert first.tolist() == [[0, 1, 2, 2, 1, 0]]
    assert second.tolist() == [[5, 4, 3, 3, 4, 5]]


def test_the_second_is_another_cell_also_behind_the_first() -> None:
    _, first, second = two_nearest(np.array([[0, 1, 1, 3]]).T, 9)
    assert first.ravel().tolist() == [1, 0, 0, 0]
    assert second.ravel().tolist() == [3, 2, 1, 1]


def test_reach_is_inclusive_and_limits_the_nearest() -> None:
    label, first, second = two_nearest(np.array([[1, 0, 0, 0]]), 2)
    assert first.tolist() == [[0, 1, 2, INF]]
    assert label.tolist() == [[1, 1, 1, 0]]
    assert (second == INF).all()


def test_total_is_inclusive_and_limits_the_second() -> None:
    cells = np.array([[1, 0, 0, 2, 0]])
    assert two_nearest(cells, 3, total=3).second.tolist() == [[3, 2, 2, 3, INF]]
    assert two_nearest(cells, 3, total=2.9).second.tolist() == [[INF] * 5]
    assert two_nearest(cells, 3).second.tolist() == [[3, 2, 2, 3, 4]]


def test_pixels_not_wanted_have_no_cells() -> None:
    near = two_nearest(
        np.array([[1, 0, 2]]), 5, wanted=np.array([[False, True, False]])
    )
    assert near.label[0, [0, 2]].tolist() == [0, 0]
    assert near.first.tolist() == [[INF, 1, INF]]
    assert near.second.tolist() == [[INF, 1, INF]]


def test_without_cells_nothing_is_near() -> None:
    for shape in [(4, 5), (2, 3, 4), (0, 3)]:
        label, first, second = two_nearest(np.zeros(shape, np.int32), 5)
        assert label.shape == first.shape == second.shape == shape
        assert not label.any()
        assert (first == INF).all()
        assert (second == INF).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_may_have_any_integer_type_and_value(dtype: type) -> None:
    top = min(np.iinfo(dtype).max, 2**31 - 1)
    cells = np.array([[top, 0, 1]], dtype)
    cells.flags.writeable = False
    assert two_nearest(cells, 5).label[0, [0, 2]].tolist() == [top, 1]


@pytest.mark.parametrize("value", [-1, 2**31])
def test_ids_that_do_not_fit_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match=rf"0 to 2\^31 - 1, found .*{value}"):
        two_nearest(np.array([[0, value]]), 5)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((23, 31), (1.0, 1.0)),
        ((31, 23), (1.7, 1.0)),
        ((7, 600), (1.0, 1.3)),
        ((9, 12, 14), (1.0, 1.0, 1.0)),
        ((7, 15, 13), (3.1, 1.0, 1.2)),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("reach", [2.5, 6.0, 50.0])
def test_both_distances_are_those_of_the_definition(
    shape: tuple[int, ...], spacing: tuple[float, ...], count: int, reach: float
) -> None:
    rng = np.random.default_rng(count)
    cells = np.zeros(shape, np.int32)
    for cell in range(1, count + 1):
        corner = [int(rng.integers(0, n - 1)) for n in shape]
        cells[tuple(slice(c, c + int(rng.integers(1, 4))) for c in corner)] = cell
    first, second = brute_force(cells, spacing)
    near = two_nearest(cells, reach, spacing, total=1.5 * reach)
    inside = first <= reach
    np.testing.assert_allclose(near.first, np.where(inside, first, INF), rtol=1e-6)
    both = inside & (first + second <= 1.5 * reach)
    np.testing.assert_allclose(near.second, np.where(both, second, INF), rtol=1e-6)
    for cell in np.unique(near.label[near.label > 0]):
        owned = near.label == cell
        own = distance_transform_edt(cells != cell, sampling=spacing)
        np.testing.assert_allclose(own[owned], first[owned], rtol=1e-6)
    assert (near.label > 0).tolist() == inside.tolist()


def test_a_diagonal_reach_between_cells_in_other_rows_and_columns_is_found() -> None:
    # The nearest pixel of both cells is in neither the row nor the column of the pixel.
    cells = np.zeros((9, 9), np.int32)
    cells[0, 0], cells[8, 8] = 1, 2
    near = two_nearest(cells, 12)
    assert near.first[3, 4] == 5
    assert near.second[3, 4] == pytest.approx(np.sqrt(41))
