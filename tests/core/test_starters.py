from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from napari_unet.core.starters import Starter, Trial, choose, measure

BRIGHT = Starter("bright", "bright things", (10, 60), (0.8, inf), 0.6)
DARK = Starter("dark", "dark things", (10, 60), (-inf, -0.8), 0.6)
FLAT = Starter("flat", "flat things", (30, 150), (-0.6, 0.6), 0.85)
OF_BRIGHT = Trial(BRIGHT, cells=40, share=0.3, sure=0.96, width=28, contrast=2.0)
OF_FLAT = Trial(FLAT, cells=8, share=0.1, sure=0.9, width=60, contrast=0.0)


def test_what_a_starter_found_is_measured() -> None:
    cells = np.zeros((4, 6), int)
    cells[:2, :2], cells[2:, 4:] = 1, 3
    foreground = np.where(cells > 0, 0.75, 0.25)
    pixels = np.where(cells > 0, 30.0, 0.0)
    found = measure(BRIGHT, foreground, cells, pixels)
    # of 24 pixels 8 are in cells of 4 pixels each: discs of diameter 2 sqrt(4 / pi)
    assert found.cells == 2
    assert found.share == pytest.approx(8 / 24)
    assert found.sure == pytest.approx(0.75)
    assert found.width == pytest.approx(2 * (4 / np.pi) ** 0.5)
    # a third is at 30, the rest at 0: the deviation is 30 sqrt(2) / 3
    assert found.contrast == pytest.approx(3 / 2**0.5)


def test_nothing_and_everything_can_be_measured() -> None:
    ones, zeros = np.ones((3, 3)), np.zeros((3, 3), int)
    assert measure(BRIGHT, ones, zeros, ones) == Trial(BRIGHT, 0)
    whole = measure(BRIGHT, ones, zeros + 1, ones)
    assert (whole.share, whole.contrast) == (1, 0)


@pytest.mark.parametrize(
    ("trials", "name", "reason"),
    [
        (
            (OF_BRIGHT, replace(OF_FLAT, sure=0.64)),
            "bright",
            "bright is 96% sure of its cells here, flat is 64% sure.",
        ),
        (
            (replace(OF_BRIGHT, sure=0.81), OF_FLAT),
            "flat",
            "flat is 90% sure of its cells here, bright is 81% sure.",
        ),
        # whoever is sure of what it was not made for is not taken
        (
            (replace(OF_BRIGHT, sure=0.7), replace(OF_FLAT, sure=1.0, share=0.95)),
            "bright",
            "bright is 70% sure of its cells here, flat takes 95% of the image for "
            "cells.",
        ),
        (
            (replace(OF_BRIGHT, contrast=-1.5), OF_FLAT),
            "flat",
            "flat is 90% sure of its cells here, bright is for cells 0.8 or more "
            "standard deviations brighter than the rest, and finds -1.50.",
        ),
        (
            (OF_BRIGHT, replace(OF_FLAT, sure=0.99, contrast=3.0)),
            "bright",
            "bright is 96% sure of its cells here, flat is for cells -0.6 to 0.6 "
            "standard deviations brighter than the rest, and finds 3.00.",
        ),
        (
            (OF_BRIGHT, replace(OF_FLAT, starter=DARK, contrast=2.0)),
            "bright",
            "bright is 96% sure of its cells here, dark is for cells 0.8 or more "
            "standard deviations darker than the rest, and finds 2.00.",
        ),
        (
            (OF_BRIGHT, replace(OF_FLAT, sure=0.99, width=12)),
            "bright",
            "bright is 96% sure of its cells here, flat is for cells 30 to 150 pixels "
            "wide, and finds 12.",
        ),
        (
            (OF_BRIGHT, Trial(FLAT, 0)),
            "bright",
            "bright is 96% sure of its cells here, flat finds no cell.",
        ),
    ],
)
def test_the_surest_of_those_that_suit_is_taken(
    trials: tuple[Trial, ...], name: str, reason: str
) -> None:
    choice = choose(trials)
    assert (choice.name, choice.reason) == (name, reason)


def test_it_is_said_where_masks_may_be_wrong() -> None:
    choice = choose((replace(OF_BRIGHT, sure=0.7), replace(OF_FLAT, share=0.95)))
    assert choice.doubt_of("bright").startswith(
        "bright may not suit this image: it is only 70% sure of its cells."
    )
    assert "takes 95% of the image" in choice.doubt_of("flat")
    assert choose((OF_BRIGHT,)).doubt_of("bright") == ""
    # of a model that was not tried nothing is known
    assert choice.doubt_of("mine") == ""


def test_without_a_trial_there_is_no_choice() -> None:
    with pytest.raises(ValueError, match="choose a model"):
        choose(())
