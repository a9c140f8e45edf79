from __future__ import annotations

import re

import numpy as np
import pytest

from napari_unet.core.geometry.tiles import read_window
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.rescaling import (
    Rescaled,
    common_size,
    interpolate,
    note_of_start,
    rescaling,
)
from napari_unet.core.settings import Segmentation


def field(data: np.ndarray) -> Field:
    if data.ndim == 3:
        return Field(Image(data, "zyx"), 0, None)
    return Field(Image(data, "yx"))


@pytest.mark.parametrize(
    ("trained", "own", "ndim", "expected"),
    [
        ((0.5, 0.5), (1.0, 1.0), 2, (2.0, 2.0)),
        # the size along z is nothing to a network for planes
        ((3.0, 0.5, 0.5), (1.0, 0.25, 0.25), 2, (0.5, 0.5)),
        ((1.0, 0.5, 0.5), (2.0, 0.5, 0.5), 3, (2.0, 1.0, 1.0)),
        ((0.5, 0.5), (0.52, 0.52), 2, None),
        ((0.5, 0.5), None, 2, None),
        (None, (0.5, 0.5), 2, None),
        ((0.5, 0.5), (1.0, 1.0), 3, None),
    ],
)
def test_the_factor_is_the_ratio_of_known_pixel_sizes(
    trained: tuple[float, ...] | None,
    own: tuple[float, ...] | None,
    ndim: int,
    expected: tuple[float, ...] | None,
) -> None:
    assert rescaling(trained, own, ndim) == expected


def test_sizes_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels of 353 × 353 µm are more than"):
        rescaling((0.65, 0.65), (352.78, 352.78), 2, "a.tif")


@pytest.mark.parametrize("factors", [(2.0, 2.0), (0.5, 0.5), (0.37, 1.7)])
def test_a_ramp_stays_a_ramp_where_both_grids_share_their_edges(
    factors: tuple[float, float],
) -> None:
    y, x = np.mgrid[:60, :80]
    seen = Rescaled(field((3 * y + 5 * x).astype(np.float32)), factors)
    height, width = seen.shape
    assert (height, width) == tuple(
        round(n * f) for n, f in zip((60, 80), factors, strict=True)
    )
    yy = (np.arange(height) + 0.5) / factors[0] - 0.5
    xx = (np.arange(width) + 0.5) / factors[1] - 0.5
    expected = 3 * yy[:, None] + 5 * xx
    # at the edge, blur and clipping bend it
    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(seen.read()[0][inside], expected[inside], rtol=1e-5)


@pytest.mark.parametrize("factor", [0.3, 0.8, 1.6])
def test_a_pixel_does_not_depend_on_the_box_it_is_read_in(
    factor: float,
) -> None:
    rng = np.random.default_rng(0)
    seen = Rescaled(field(rng.random((90, 70))), (factor, factor))
    whole = seen.read()
    height, width = seen.shape
    for box in (
        (slice(0, 5), slice(0, width)),
        (slice(height // 2, height), slice(3, 4)),
        (slice(height - 1, height), slice(width - 1, width)),
    ):
        np.testing.assert_allclose(
            seen.read(box), whole[(slice(None), *box)], rtol=1e-6
        )


def test_shrinking_blurs_detail_that_is_too_fine_for_the_grid() -> None:
    stripes = np.tile([0.0, 1.0], (64, 32)).astype(np.float32)
    seen = Rescaled(field(stripes), (0.25, 0.25)).read()
    assert np.ptp(seen[0, 2:-2, 2:-2]) < 0.01


def test_a_volume_is_rescaled_along_each_axis() -> None:
    seen = Rescaled(field(np.ones((5, 20, 30))), (3.0, 1.0, 0.5))
    assert seen.read().shape == (1, 15, 20, 15)


def test_what_lies_beyond_the_edge_is_mirrored_on_the_networks_grid() -> None:
    noise = np.random.default_rng(0).random((20, 20))
    seen = Rescaled(field(noise), (2.0, 2.0))
    whole = seen.read()
    window = read_window(seen, (-3, 0), (6, 5))
    np.testing.assert_allclose(window[0, :3], whole[0, 3:0:-1, :5])


def test_values_beyond_the_ends_are_those_at_the_ends() -> None:
    values = np.array([[1.0, 3.0]], np.float32)
    places = np.array([-4.0, 0.0, 0.5, 1.0, 9.0])
    assert interpolate(values, 1, places).tolist() == [[1, 1, 2, 3, 3]]


def test_settings_in_pixels_of_the_model_become_pixels_of_the_image() -> None:
    settings = Segmentation(min_size=40, min_distance=2, ridge=2)
    half = settings.for_pixels((0.5, 0.5))
    assert (half.min_size, half.min_distance, half.ridge) == (160, 4, 4)
    assert settings.for_pixels(None) is settings
    assert settings.for_pixels((1.0, 0.5, 0.5)).min_size == 160


@pytest.mark.parametrize(
    ("sizes", "expected", "notes"),
    [
        ([None, None], None, []),
        ([(0.5, 0.5), (0.5, 0.5)], (0.5, 0.5), []),
        ([(0.325, 0.325), (0.3278, 0.325), (0.325, 0.325)], (0.325, 0.325), []),
        (
            [(0.5, 0.25), None],
            (0.5, 0.25),
            [r"^b without pixel size: taken for 0\.5 ×"],
        ),
        (
            [(1.0, 1.0), (1.02, 1.0)],
            (1.01, 1.0),
            [r"nearly equal .*1\.02 × 1 µm \(b\)"],
        ),
        ([(3.0, 0.5, 0.5), (3.0, 0.5, 0.5)], (3.0, 0.5, 0.5), []),
        (
            [(3.0, 0.5, 0.5), (0.5, 0.5), None],
            (3.0, 0.5, 0.5),
            [
                r"^b without pixel size along z: taken for 3 µm",
                r"^c without pixel size: taken for 3 × 0\.5 × 0\.5 µm",
            ],
        ),
    ],
)
def test_a_model_has_the_pixel_size_of_its_images(
    sizes: list[tuple[float, ...] | None],
    expected: tuple[float, ...] | None,
    notes: list[str],
) -> None:
    size, said = common_size(list(zip("abc", sizes, strict=False)))
    assert size == (None if expected is None else pytest.approx(expected))
    assert len(said) == len(notes)
    for sentence, pattern in zip(said, notes, strict=True):
        assert re.search(pattern, sentence)


@pytest.mark.parametrize("other", [(0.2, 0.2), (0.5, 0.56), (5.0, 5.0)])
def test_different_pixel_sizes_are_mixed_only_on_purpose(
    other: tuple[float, float],
) -> None:
    # two images of one name are two
    sizes = [("a", (0.5, 0.5)), ("a", other), ("b", (0.5, 0.5))]
    with pytest.raises(
        ValueError, match=r"pixel sizes, 0\.5 × 0\.5 µm \(a, b\), .*--mix-pixel-sizes"
    ):
        common_size(sizes)
    size, notes = common_size(sizes, mix=True)
    assert size is None
    assert "mixed" in notes[0]
    # nor does an unknown depth make them equal
    with pytest.raises(ValueError, match="different pixel sizes"):
        common_size([("a", (2.0, 0.5, 0.5)), ("b", other)])


@pytest.mark.parametrize(
    ("own", "scale", "factors"),
    [
        ((0.5, 0.5), 1.0, None),
        ((0.5, 0.25), 1.0, (1.0, 1.0, 0.5)),
        ((1.0, 1.0), 1.0, (1.0, 2.0, 2.0)),
        ((0.25, 0.25), 0.5, (0.5, 0.5, 0.5)),
        ((0.5, 0.5), 2.0, (2.0, 1.0, 1.0)),
    ],
)
def test_a_stack_of_unknown_depth_is_resampled_along_y_and_x(
    own: tuple[float, ...], scale: float, factors: tuple[float, ...] | None
) -> None:
    assert rescaling((2.0, 0.5, 0.5), own, 3, scale=scale) == factors


@pytest.mark.parametrize(
    ("learnt", "own", "scale", "said"),
    [
        (None, (1.0, 1.0), 1.0, None),
        ((0.5, 0.5), None, 1.0, None),
        ((0.5, 0.5), (0.52, 0.49), 1.0, None),
        ((0.5, 0.5), (3.0, 0.5, 0.5), 1.0, None),
        ((0.5, 0.5), (1.0, 1.0), 1.0, "of 0.5 × 0.5 µm, now it sees 1 × 1 µm, .* 2 "),
        # images of 0.8 µm at half their size
        ((0.4, 0.4), (1.6, 1.6), 0.5, r"1\.6 × 1\.6 µm, .* image size of 2 "),
        # no size is right along both axes
        ((0.5, 0.5), (0.5, 1.0), 1.0, r"objects of another size\.$"),
    ],
)
def test_going_on_with_pixels_of_another_size_is_said(
    learnt: tuple[float, ...] | None,
    own: tuple[float, ...] | None,
    scale: float,
    said: str | None,
) -> None:
    notes = note_of_start(learnt, own, scale)
    assert len(notes) == (said is not None)
    if said is not None:
        assert re.search(said, notes[0])
