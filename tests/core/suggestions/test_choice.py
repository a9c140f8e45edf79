"""Which tiles are chosen, and what is said for them."""

from __future__ import annotations

import numpy as np

from napari_unet.core.suggestions.choice import Chosen, SeenTile, choose
from napari_unet.core.suggestions.reasons import suggestions_of
from napari_unet.core.suggestions.sampling import TilePlace
from napari_unet.core.suggestions.tile_looks import Looks, looks_of
from napari_unet.core.suggestions.uncertainty import Uncertainty


def seen(
    *features: float,
    contrast: float = 1.0,
    annotated: float = 0.0,
    image: int = 0,
) -> SeenTile:
    looks = Looks(np.array(features), contrast, np.zeros((2, 2), np.uint8))
    place = TilePlace(image, 0, 0, (slice(0, 8), slice(0, 8)))
    return SeenTile(place, looks, annotated)


# Three kinds of tiles, of which the first is the most frequent.
MANY = [seen(v, 0.0) for v in (-0.1, 0.0, 0.1, 0.2, -0.2)]
SOME = [seen(v, 5.0) for v in (9.9, 10.0, 10.1)]
ODD = [seen(-20.0, -10.0)]


def indices(tiles: list[SeenTile], chosen: list[Chosen]) -> list[int]:
    return [next(k for k, t in enumerate(tiles) if t is one.tile) for one in chosen]


def test_first_stands_for_most_and_others_differ_from_it() -> None:
    tiles = [*ODD, *SOME, *MANY]
    found = indices(tiles, choose(tiles, 3))
    assert found[0] >= 4  # of the most frequent kind
    assert found[1] in (1, 2, 3)
    assert found[2] == 0


def test_what_is_annotated_or_like_it_is_not_suggested() -> None:
    known = seen(0.05, 0.0, annotated=0.5)
    tiles = [*MANY, *SOME, known]
    (first,) = choose(tiles, 1)
    assert first.tile in SOME
    assert first.unlike is not None
    assert first.unlike > 1
    every = choose([known, seen(3.0, 3.0)], 5)
    assert [one.tile.annotated for one in every] == [0.0]


def test_empty_tiles_are_not_suggested() -> None:
    empty = [seen(0.0, 0.0, contrast=0.0) for _ in range(9)]
    cells = [seen(10.0, 5.0), seen(10.1, 5.0), seen(9.0, 4.0)]
    found = choose([*empty, *cells], 12)
    assert len(found) == 3
    assert all(one.tile.looks.contrast for one in found)
    assert choose(empty, 3) == []
    assert choose([], 3) == []


def test_one_feature_that_hardly_differs_decides_nothing() -> None:
    tiles = [seen(100.0 + 1e-6 * k, float(k == 3)) for k in range(4)]
    first, second = choose(tiles, 2)
    assert {first.tile is tiles[3], second.tile is tiles[3]} == {True, False}


def test_reasons_name_what_is_uncertain_how_large_and_unlike_what() -> None:
    looks = Looks(np.zeros(1), 1.0, np.zeros((2, 2), np.uint8))
    place = TilePlace(1, 0, 3, (slice(0, 8), slice(0, 8)))

    def reasons(
        uncertainty: Uncertainty | None, **rest: float | None
    ) -> tuple[str, ...]:
        tile = SeenTile(place, looks, 0.0, uncertainty)
        told = {"share": 0.0, "unlike": None, **rest}
        chosen = Chosen(tile, **told)  # type: ignore[arg-type]
        (found,) = suggestions_of([chosen], [20.0, 24.0, 30.0])
        assert found.place is place
        return found.reasons

    assert reasons(None, share=0.4) == ("looks like 40% of all tiles",)
    assert reasons(Uncertainty(0.3, "borders", 25.0), unlike=0.2) == (
        "borders between cells are uncertain",
    )
    assert reasons(Uncertainty(0.01, "elsewhere", 60.0), unlike=1.5) == (
        "cells larger than those annotated, about 60 pixels across "
        "(annotated: 20 to 30)",
        "looks unlike what is annotated",
    )
    smaller = reasons(Uncertainty(0.3, None, 8.0), unlike=0.1)
    assert smaller[0].startswith("cells smaller than those annotated, about 8 pixels")
    assert reasons(None) == ("differs from those above",)
    assert reasons(None, unlike=0.2) == ("differs from what is annotated or above",)


def test_looks_tell_textures_sizes_and_emptiness_apart() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]

    def discs(period: int) -> np.ndarray:
        far = (y % period - period / 2) ** 2 + (x % period - period / 2) ** 2
        noisy = (far < (period / 3) ** 2) + rng.normal(0, 0.05, far.shape)
        return noisy[None].astype(np.float32)

    small, other, large = (looks_of(discs(period)) for period in (8, 8, 32))
    empty = looks_of(np.zeros((1, 64, 64), np.float32))
    alike = np.abs(small.features - other.features).mean()
    assert np.abs(small.features - large.features).mean() > 5 * alike
    noise = looks_of(rng.normal(0, 1, (1, 64, 64)).astype(np.float32))
    assert empty.contrast == noise.contrast == 0
    assert min(small.contrast, large.contrast) > 0.05
    assert np.isfinite(empty.features).all()
    assert small.thumbnail.dtype == np.uint8
    assert np.ptp(small.thumbnail) == 255
    several = looks_of(np.zeros((3, 200, 100), np.float32))
    assert several.features.shape == (3 * len(small.features),)
    assert max(several.thumbnail.shape) <= 64
