from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.segmentation_tuning import (
    Judged,
    choose_edges,
    choose_settings,
    count,
    usual_settings,
)
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.settings import Segmentation
from napari_unet.core.training.training_set import Example, HeldOut


def grid(rows: int, columns: int) -> np.ndarray:
    """Square cells of 8 × 8 pixels, 4 pixels apart."""
    cells = np.zeros((12 * rows, 12 * columns), np.int32)
    for number in range(rows * columns):
        y, x = 12 * (number // columns) + 2, 12 * (number % columns) + 2
        cells[y : y + 8, x : x + 8] = number + 1
    return cells


def judged(cells: np.ndarray, inside: float, around: float) -> Judged:
    """A network that is sure of the inner 6 × 6 pixels only, and not very."""
    foreground = np.where(cells > 0, around, 0.05).astype(np.float32)
    for number in range(1, int(cells.max()) + 1):
        y, x = np.nonzero(cells == number)
        foreground[y.min() + 1 : y.max(), x.min() + 1 : x.max()] = inside
    probabilities = np.stack([1 - foreground, foreground])
    return Judged(probabilities, cells, np.ones(cells.shape, bool), (1.0, 1.0))


def last(parts: list[Judged], settings: Segmentation) -> Segmentation:
    chosen = settings
    for best in choose_settings(parts, settings, (1,)):
        chosen = best
    return chosen


@pytest.mark.parametrize(
    ("sizes", "smallest", "unsure"),
    [
        ([200] * 40, 20, 50),
        ([1000] * 94 + [40] * 6, 20, 250),
        ([20], 3, 5),
    ],
)
def test_of_small_cells_the_network_has_to_be_sure(
    sizes: list[int], smallest: int, unsure: int
) -> None:
    found = usual_settings(np.array(sizes), 2)
    assert (found.min_size, found.unsure_size) == (smallest, unsure)


def test_without_cells_the_settings_are_the_usual_ones() -> None:
    assert usual_settings(np.zeros(0, np.int64), 2) == Segmentation()


def test_the_threshold_at_which_most_cells_are_right_is_chosen() -> None:
    # above 0.45 the rim of the cells is missing
    chosen = last([judged(grid(5, 5), 0.9, 0.45)], Segmentation(min_size=5))
    assert chosen.threshold == 0.4


def test_what_helps_one_part_must_not_harm_another() -> None:
    faint = judged(grid(6, 6), 0.9, 0.45)
    # with a lower threshold these swell by a halo
    sure = judged(grid(3, 3), 0.9, 0.9)
    around = np.where(sure.cells > 0, 0.9, 0.45).astype(np.float32)
    halo = np.zeros(sure.cells.shape, bool)
    halo[1:-1, 1:-1] = True
    around[~halo] = 0.05
    swelling = Judged(
        np.stack([1 - around, around]), sure.cells, sure.known, sure.spacing
    )
    settings = Segmentation(min_size=5)
    assert last([faint, swelling], settings) == settings
    assert last([faint, sure], settings).threshold == 0.4


@pytest.mark.parametrize(("rows", "moved"), [(3, False), (4, True)])
def test_less_than_three_cells_more_are_chance(rows: int, moved: bool) -> None:
    # the faint ones are right at one overlap of five until the threshold is moved
    sure, faint = judged(grid(6, 6), 0.9, 0.9), judged(grid(rows, 1), 0.9, 0.45)
    chosen = last([sure, faint], Segmentation(min_size=5))
    assert (chosen.threshold == 0.4) is moved


def test_settings_stay_where_nothing_is_better() -> None:
    settings = Segmentation(min_size=5)
    assert last([judged(grid(5, 5), 0.9, 0.9)], settings) == settings


def test_few_cells_say_nothing() -> None:
    settings = Segmentation(min_size=5)
    assert last([judged(grid(3, 6), 0.9, 0.45)], settings) == settings


def test_waists_at_which_cells_are_split_are_chosen() -> None:
    # pairs of cells with a bridge between them, too wide to split by default
    true, foreground = np.zeros((20 * 12, 40), np.int32), np.zeros((240, 40))
    for k in range(12):
        rows = slice(20 * k + 3, 20 * k + 16)
        true[rows, 4:17], true[rows, 17:30] = 2 * k + 1, 2 * k + 2
        foreground[rows, 4:30] = 0.9
        foreground[20 * k + 3 : 20 * k + 5, 16:18] = 0
        foreground[20 * k + 14 : 20 * k + 16, 16:18] = 0
    probabilities = np.stack([1 - foreground, foreground]).astype(np.float32)
    part = Judged(probabilities, true, np.ones(true.shape, bool), (1.0, 1.0))
    chosen = last([part], Segmentation(min_size=5))
    assert (chosen.min_distance, chosen.neck) == (0.75, 0.15)


def test_the_size_below_which_specks_are_kept_out_is_chosen() -> None:
    part = judged(grid(5, 5), 0.9, 0.9)
    foreground = part.probabilities[1].copy()
    # between the cells, where nothing is annotated as one
    foreground[0::12, 0::12] = 0.7
    foreground[0::12, 1::12] = 0.7
    noisy = Judged(
        np.stack([1 - foreground, foreground]), part.cells, part.known, part.spacing
    )
    usual = Segmentation(min_size=2, unsure_size=2)
    assert last([noisy], usual).unsure_size == 3


def test_what_is_found_where_nobody_looked_does_not_count() -> None:
    cells = grid(2, 2)
    part = judged(cells, 0.9, 0.9)
    known = np.zeros(cells.shape, bool)
    known[:, :12] = True
    part = Judged(part.probabilities, np.where(known, cells, 0), known, part.spacing)
    found = part.found(Segmentation(min_size=5), (1,))
    assert sorted(np.unique(found[found > 0])) == [1, 3]
    assert count([part], 5) == 2


def test_slivers_cut_off_by_the_edge_of_the_part_do_not_count() -> None:
    cells = grid(1, 2)[:, :15]
    part = judged(cells, 0.9, 0.9)
    assert np.unique(part.true(20)).tolist() == [0, 1]
    assert count([part], 20) == 1


def test_specks_that_are_not_cut_off_count() -> None:
    cells = grid(1, 2)
    cells[4:6, 11:13] = 3
    assert 3 in judged(cells, 0.9, 0.9).true(20)


@pytest.mark.parametrize("classes", [(), (1,)])
def test_nothing_annotated_changes_nothing(classes: tuple[int, ...]) -> None:
    empty = np.zeros((20, 20), np.int32)
    part = Judged(np.zeros((2, 20, 20), np.float32), empty, empty == 0, (1.0, 1.0))
    assert list(choose_settings([part], Segmentation(), classes)) == []


def half(seen_at: int, said_at: int, sure: float) -> tuple[Judged, HeldOut]:
    """An image of two halves, and a network that has the border elsewhere."""
    true = np.zeros((48, 64), np.uint8)
    true[:, seen_at:] = 1
    noise = np.random.default_rng(seen_at).normal(0, 10, true.shape)
    image = Image((100 * true + noise).astype(np.float32), "yx")
    one = np.clip((np.arange(64) - said_at + 0.1) / sure + 0.5, 0, 1).astype(np.float32)
    values = np.stack([1 - one, one])[:, np.newaxis].repeat(48, axis=1)
    true[40:] = IGNORED
    cells = np.zeros(true.shape, np.int32)
    example = Example(Field(image), measure(image), true, np.zeros(true.shape))
    judged = Judged(values, cells, true != IGNORED, (1.0, 1.0))
    return judged, HeldOut(example, (slice(0, 48), slice(0, 64)))


def edges(*rows: tuple[Judged, HeldOut]) -> float:
    parts, held_out = zip(*rows, strict=True)
    *_, (chosen, before, after) = choose_edges(parts, held_out, Segmentation())
    assert (after > before) == (chosen.edge_smoothing > 0)
    return chosen.edge_smoothing


def test_borders_follow_edges_where_that_makes_them_better() -> None:
    beside = half(30, 33, 12)
    assert edges(beside) > 0
    # where the network says it as it is, nothing can be won
    assert edges(half(30, 30, 12)) == 0
    # a border that is not seen, beside an edge that is none
    away = half(30, 33, 12)
    away[1].example.classes[:40] = np.arange(64) >= 33
    assert edges(beside, away) == 0


def test_volumes_are_judged_as_wholes() -> None:
    """A cell that is two cells on top of each other in truth is wrong in each slice."""
    plane = grid(5, 5)
    volume = np.concatenate([np.stack([plane] * 4), np.stack([plane + 25] * 4)])
    volume[:, plane == 0] = 0
    foreground = np.where(volume > 0, 0.9, 0.05).astype(np.float32)
    # between the upper and the lower ones it is a little less sure
    foreground[3:5][:, plane > 0] = 0.55
    known = np.ones(volume.shape, bool)
    part = Judged(np.stack([1 - foreground, foreground]), volume, known, (1.0,) * 3)
    chosen = last([part], Segmentation(min_size=5, min_distance=6, ridge=0))
    assert chosen.threshold == 0.6
