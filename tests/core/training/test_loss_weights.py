from __future__ import annotations

from math import exp

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights, class_weights

FIJI = BorderWeights.fiji()


def eq2(cells: np.ndarray, spacing: tuple[float, ...], w0: float, sigma: float):
    """Eq. 2 and the nearest distance by one distance transform for each cell."""
    ids = np.unique(cells[cells > 0])
    maps = [distance_transform_edt(cells != k, sampling=spacing) for k in ids]
    maps += [np.full(cells.shape, np.inf)] * 2
    d1, d2 = np.sort(maps, axis=0)[:2]
    return w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), d1


def scene(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Boxes at random places, many of them touching; later ones on top."""
    rng = np.random.default_rng(seed)
    cells = np.zeros(shape, np.int32)
    for cell in range(1, count + 1):
        corner = [int(rng.integers(0, n)) for n in shape]
        cells[tuple(slice(c, c + int(rng.integers(2, 6))) for c in corner)] = cell
    return cells


def test_a_gap_of_one_pixel_has_both_cells_at_distance_one() -> None:
    weights = border_weights(np.array([[1, 0, 2, 0]]))
    expected = [0, 10 * exp(-(2**2) / 50), 0, 10 * exp(-(4**2) / 50)]
    np.testing.assert_allclose(weights[0], expected, rtol=1e-6)
    assert weights.dtype == np.float32


def test_w0_and_sigma_are_those_of_the_settings() -> None:
    weights = border_weights(np.array([[1, 0, 2]]), BorderWeights(w0=3, sigma=2))
    assert weights[0, 1] == pytest.approx(3 * exp(-0.5))


@pytest.mark.parametrize("cells", [[[0, 0, 0]], [[0, 1, 1]], [[7, 0, 7]]])
def test_there_is_no_weight_with_fewer_than_two_cells(cells: list) -> None:
    assert not border_weights(np.array(cells)).any()


def test_a_ridge_belongs_to_a_cell_so_its_nearest_is_at_distance_zero() -> None:
    targets = Annotation(np.array([[2, 2, 3, 3]])).targets()
    weights = border_weights(targets.instances, background=targets.classes == 0)
    np.testing.assert_allclose(weights, [[0, 0, 10 * exp(-1 / 50), 0]], rtol=1e-6)


def test_pixels_off_the_background_have_no_weight() -> None:
    background = np.array([[False, False, True, False]])
    weights = border_weights(np.array([[1, 0, 0, 2]]), background=background)
    assert (weights > 0).tolist() == background.tolist()


def test_the_weight_is_cut_off_where_it_falls_below_a_hundred_thousandth() -> None:
    # 10 exp(-s^2 / 50) is 1.35e-5 at s = 26 and 4.7e-6 at s = 27.
    for gap, reached in [(26, True), (27, False)]:
        cells = np.zeros((1, gap + 1), int)
        cells[0, 0], cells[0, -1] = 1, 2
        assert border_weights(cells)[0, 1:-1].all() == reached
        assert border_weights(cells)[0, 1:-1].any() == reached


def test_a_coarse_axis_counts_in_pixels_of_the_finest() -> None:
    cells = np.array([1, 0, 2]).reshape(3, 1, 1)
    weights = border_weights(cells, spacing=(2.5, 1, 1))
    assert weights[1, 0, 0] == pytest.approx(10 * exp(-(5**2) / 50))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 53), (1.0, 1.0)),
        ((37, 41), (1.0, 1.9)),
        ((600, 3), (1.0, 1.0)),
        ((9, 21, 18), (1.0, 1.0, 1.0)),
        ((11, 14, 25), (3.3, 1.0, 1.4)),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_the_map_is_that_of_the_definition(
    shape: tuple[int, ...], spacing: tuple[float, ...], count: int
) -> None:
    cells = scene(shape, count)
    expected, _ = eq2(cells, spacing, 10, 5)
    weights = border_weights(cells, spacing=spacing)
    np.testing.assert_allclose(weights, expected * (cells == 0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(40, 53), (9, 21, 18)])
def test_the_fiji_map_is_that_of_its_definition(shape: tuple[int, ...]) -> None:
    cells = scene(shape, 30)
    class_of = {k: 1 + k % 3 for k in range(1, 31)}
    background = (cells == 0) | (np.indices(shape).sum(axis=0) % 5 == 0)
    expected = np.zeros(shape)
    for number in (1, 2, 3):
        members = [k for k, n in class_of.items() if n == number]
        own = np.where(np.isin(cells, members), cells, 0)
        between, d1 = eq2(own, (1.0,) * len(shape), 50, 6)
        expected += between + 0.9 * np.exp(-(d1**2) / 200)
    weights = border_weights(cells, FIJI, background=background, class_of=class_of)
    # Sums of several terms up to 50 are rounded to float32.
    np.testing.assert_allclose(weights, expected * background, atol=1e-5, rtol=1e-6)


def test_fiji_weights_surround_a_single_cell() -> None:
    weights = border_weights(np.array([[1, 0, 0]]), FIJI)
    np.testing.assert_allclose(
        weights[0], [0, 0.9 * exp(-1 / 200), 0.9 * exp(-4 / 200)], rtol=1e-6
    )


def test_fiji_weights_are_apart_for_each_class_and_the_paper_s_are_not() -> None:
    cells = np.array([[1, 0, 2]])
    other = border_weights(cells, FIJI, class_of={2: 2})
    assert other[0, 1] == pytest.approx(2 * 0.9 * exp(-1 / 200))
    same = border_weights(cells, FIJI)
    assert same[0, 1] == pytest.approx(0.9 * exp(-1 / 200) + 50 * exp(-4 / 72))
    paper = border_weights(cells, class_of={2: 2})
    assert paper[0, 1] == pytest.approx(10 * exp(-4 / 50))


def test_terms_of_no_height_give_no_weight() -> None:
    cells = np.array([[1, 0, 2]])
    assert not border_weights(cells, BorderWeights(w0=0)).any()
    nothing = BorderWeights(scheme="fiji", w0=0, balance=1)
    assert not border_weights(cells, nothing).any()


@pytest.mark.parametrize("settings", [BorderWeights(), FIJI])
@pytest.mark.parametrize(
    ("shape", "box", "spacing"),
    [
        ((500, 700), (slice(200, 260), slice(300, 380)), (1.0, 1.0)),
        ((500, 700), (slice(0, 499), slice(650, 700)), (1.0, 1.3)),
        ((20, 90, 90), (slice(3, 9), slice(40, 60), slice(0, 50)), (2.0, 1.0, 1.0)),
    ],
)
def test_a_box_has_exactly_the_values_of_the_whole(
    settings: BorderWeights, shape: tuple, box: tuple, spacing: tuple
) -> None:
    cells = scene(shape, 400)
    background = (cells == 0) | (np.indices(shape).sum(axis=0) % 7 == 0)
    rest = {
        "background": background,
        "spacing": spacing,
        "class_of": dict.fromkeys(range(50), 2),
    }
    whole = border_weights(cells, settings, **rest)
    part = border_weights(cells, settings, box=box, **rest)
    assert part.any()
    assert np.array_equal(part, whole[box])


def test_a_box_reads_no_more_than_what_is_within_reach() -> None:
    cells = np.zeros((200, 200), int)
    # Ids that would be refused, if they were looked at: more than 27 pixels away.
    cells[:73] = cells[128:] = -1
    cells[:, :73] = cells[:, 128:] = -1
    cells[98, 95], cells[102, 105] = 1, 2
    weights = border_weights(cells, box=(slice(100, 101),) * 2)
    assert weights.shape == (1, 1)
    cells[73, 100] = -1
    with pytest.raises(ValueError, match="found -1"):
        border_weights(cells, box=(slice(100, 101),) * 2)


def test_an_edit_changes_nothing_beyond_its_reach() -> None:
    cells = scene((300, 300), 150)
    before = border_weights(cells)
    cells[140:150, 140:150] = 999
    box = (slice(140 - 27, 150 + 27),) * 2
    expected = border_weights(cells)
    assert not np.array_equal(before, expected)
    before[box] = border_weights(cells, box=box)
    assert np.array_equal(before, expected)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"background": np.ones((3, 4), bool)}, r"\(3, 3\), found \(3, 4\)"),
        ({"spacing": (1.0,)}, r"needs 2 positive values, found \(1.0,\)"),
        ({"spacing": (1.0, 0.0)}, r"needs 2 positive values, found \(1.0, 0.0\)"),
        ({"box": (slice(0, 3), slice(1, 4))}, r"not inside an image of size \(3, 3\)"),
        ({"box": (slice(0, 3),)}, "not inside an image"),
        ({"box": (slice(0, 3), slice(2, 2))}, "not inside an image"),
    ],
)
def test_what_does_not_fit_the_cells_is_refused(rest: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        border_weights(np.zeros((3, 3), int), **rest)


def test_class_weights_fall_with_the_root_of_the_frequency() -> None:
    # Frequencies 0.8 and 0.2: twice the weight for a quarter of the pixels.
    weights = class_weights([400, 100])
    assert weights[1] == pytest.approx(2 * weights[0])
    assert weights.dtype == np.float32


@pytest.mark.parametrize("counts", [[5], [400, 100], [7, 0, 1000, 13]])
def test_the_mean_class_weight_over_pixels_is_one(counts: list[int]) -> None:
    weights = class_weights(counts)
    assert np.average(weights, weights=counts) == pytest.approx(1)


def test_classes_without_pixels_have_weight_zero() -> None:
    np.testing.assert_allclose(class_weights([9, 0, 9]), [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(class_weights([9, 0, 9], FIJI), [0.1, 0, 1], rtol=1e-6)


def test_fiji_class_weights_are_balance_and_ones_whatever_the_counts() -> None:
    np.testing.assert_allclose(class_weights([900, 5, 1], FIJI), [0.1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("counts", [[], [0, 0], [5, -1]])
def test_counts_of_no_pixels_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one annotated pixel"):
        class_weights(counts)
