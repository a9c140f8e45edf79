"""Which pieces of regions are kept, and whether borders follow edges, is learnt, too.

From what is held out; of pieces, from whole slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core import events
from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.images.image import Image
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.training.train import train

if TYPE_CHECKING:
    from napari_unet.core.model import Model

TISSUE = (ClassInfo(name="tissue", kind="regions"),)
TINY = Training(
    width=4, depth=1, batch=4, patch=28, steps=100, minutes=0, precision="fp32"
)


def slices(number: int, *, specks: bool) -> tuple[list[Image], list[Annotation]]:
    """A large piece of tissue each, and a speck as bright: none, or tissue, too."""
    images, known = [], []
    y, x = np.mgrid[:56, :56]
    for seed in range(number):
        rng = np.random.default_rng(seed)
        tissue = (y - 36) ** 2 + (x - 36) ** 2 < 220
        seen = tissue.copy()
        seen[4:16, 4:16] = True
        if not specks:
            tissue = seen
        pixels = seen + rng.normal(0, 0.05, seen.shape)
        images.append(Image(pixels.astype(np.float32), "yx", name=f"{seed}"))
        known.append(Annotation(np.where(tissue, 2, 1).astype(np.int32), TISSUE))
    return images, known


def trained(validation: float = 0.2, *, specks: bool = True, **changes: Any) -> Model:
    settings = TINY.replace(validation=validation, **changes)
    *_, last = train(*slices(10, specks=specks), settings, device="cpu")
    assert isinstance(last, events.TrainingFinished)
    return last.model


def test_only_the_largest_piece_is_kept_where_held_out_slices_show_it_better() -> None:
    card = trained().card
    assert card.segmentation.largest_only == (1,)
    assert card.format == 2
    (note,) = (n for n in card.notes if "largest piece" in n)
    assert note.startswith(
        "of tissue only the largest piece of a slice is kept: Dice 0."
    )
    assert note.endswith("on 2 held-out slices.")


@pytest.mark.parametrize(
    "changes",
    [
        # pieces that are there, and one slice or corners, which say nothing of pieces
        {"specks": False},
        {"validation": 0.1},
        {"validation": 0.0},
    ],
)
def test_all_pieces_are_kept_otherwise(changes: dict[str, Any]) -> None:
    card = trained(**changes).card
    assert card.segmentation.keeps_all_pieces
    assert not any("piece" in note for note in card.notes)


def test_that_borders_follow_edges_is_said() -> None:
    card = trained(specks=False).card
    told = [note for note in card.notes if "follow edges" in note]
    assert bool(told) == (card.segmentation.edge_smoothing > 0)
    # nothing is held out to choose by
    card = trained(specks=False, validation=0.0).card
    assert card.segmentation.edge_smoothing == 0
    assert not card.notes


def test_of_folds_most_decide() -> None:
    card = trained(folds=2, steps=200).card
    assert card.segmentation.largest_only == (1,)
    (note,) = (n for n in card.notes if "largest piece" in n)
    assert note.startswith("of tissue only the largest piece of a slice is kept, as ")
