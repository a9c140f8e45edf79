"""What a network is unsure of, told from views of a tile."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.suggestions.uncertainty import uncertainty_of

# Two cells of 12 by 12 pixels, two pixels apart.
CELLS = np.zeros((40, 40), np.int32)
CELLS[10:22, 6:18] = 1
CELLS[10:22, 20:32] = 2


def sure() -> np.ndarray:
    foreground = np.where(CELLS > 0, 0.99, 0.01).astype(np.float32)
    return np.stack([1 - foreground, foreground])


@pytest.mark.parametrize(
    ("part", "where"),
    [
        (np.s_[10:22, 17:21], "borders"),
        (np.s_[13:19, 9:14], "insides"),
        (np.s_[30:38, 5:35], "elsewhere"),
        (np.s_[7:11, 4:34], "outlines"),
    ],
)
def test_doubt_is_located(part: tuple[slice, slice], where: str) -> None:
    view = sure()
    view[(slice(None), *part)] = 0.5
    found = uncertainty_of([view], CELLS)
    assert found.where == where
    assert 0.03 < found.entropy < 0.25


def test_views_that_disagree_are_doubt() -> None:
    one, other = sure(), sure()
    other[:, 30:36, 10:20] = other[::-1, 30:36, 10:20]
    alone = [uncertainty_of([view], CELLS).entropy for view in (one, other)]
    assert alone[0] == pytest.approx(alone[1])
    both = uncertainty_of([one, other], CELLS)
    assert both.entropy > 1.3 * alone[0]
    assert both.where == "elsewhere"


def test_cells_are_measured_unless_they_are_cut_off() -> None:
    found = uncertainty_of([sure()], CELLS)
    assert found.diameter == pytest.approx(2 * (144 / np.pi) ** 0.5)
    assert uncertainty_of([sure()[:, 10:22]], CELLS[10:22]).diameter is None
    assert uncertainty_of([sure()], np.zeros_like(CELLS)).diameter is None


def test_regions_have_no_borders() -> None:
    view = np.full((3, 8, 8), 1 / 3, np.float32)
    found = uncertainty_of([view], None)
    assert (found.where, found.diameter) == ("anywhere", None)
    assert found.entropy == pytest.approx(1)
