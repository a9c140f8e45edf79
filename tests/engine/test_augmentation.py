from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from napari_unet.core.training.training_settings import Augmentation
from napari_unet.engine.training.augmentation import (
    _GRID,
    Deformation,
    _bicubic,
    _blur,
    change_greys,
    coordinates,
    draw_deformation,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = Augmentation(
    elastic=0,
    rotation=0,
    mirror=False,
    scale=1,
    brightness=0,
    contrast=1,
    gamma=1,
    noise=0,
    blur=0,
)
CPU = torch.device("cpu")


def place(deformation: Deformation, size: Sequence[int], centre: Sequence[float]):
    (at,) = coordinates([deformation], size, [centre], CPU)
    return at


def change(image: torch.Tensor, settings: Augmentation, rng: np.random.Generator):
    (changed,) = change_greys(image[None], settings, rng)
    return changed


def still(ndim: int) -> Deformation:
    return Deformation(np.eye(ndim), np.zeros((ndim, *(_GRID,) * ndim)))


@pytest.mark.parametrize("shape", [(5, 8), (3, 6, 4)])
def test_no_augmentation_is_the_identity(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    image = torch.rand(2, *shape)
    deformation = draw_deformation(NONE, (1.0,) * len(shape), rng)
    at = place(deformation, shape, [(n - 1) / 2 for n in shape])
    for nearest in (False, True):
        moved = sample(image, at, nearest=nearest)
        np.testing.assert_allclose(moved, image, atol=1e-5)
    np.testing.assert_allclose(change(image, NONE, rng), image, atol=1e-6)


def test_a_shifted_centre_reads_shifted_pixels() -> None:
    image = torch.arange(48.0).reshape(1, 6, 8)
    at = place(still(2), (3, 3), (2.0, 4.0))
    assert torch.allclose(sample(image, at), image[:, 1:4, 3:6], atol=1e-5)


def test_a_quarter_turn_turns_and_a_mirror_mirrors() -> None:
    image = torch.arange(25.0).reshape(1, 5, 5)
    turn = Deformation(np.array([[0.0, -1.0], [1.0, 0.0]]), np.zeros((2, 3, 3)))
    at = place(turn, (5, 5), (2.0, 2.0))
    assert torch.allclose(
        sample(image, at, nearest=True), torch.rot90(image, 1, (2, 1)), atol=1e-5
    )
    mirror = Deformation(np.diag([1.0, -1.0]), np.zeros((2, 3, 3)))
    at = place(mirror, (5, 5), (2.0, 2.0))
    assert torch.allclose(sample(image, at, nearest=True), image.flip(2), atol=1e-5)


def test_a_constant_displacement_moves_everything_by_it() -> None:
    shift = np.zeros((2, 3, 3))
    shift[0], shift[1] = 2.0, -1.0
    at = place(Deformation(np.eye(2), shift), (4, 4), (10.0, 10.0))
    plain = place(still(2), (4, 4), (10.0, 10.0))
    assert torch.allclose(at - plain, torch.tensor([2.0, -1.0])[:, None, None])


def test_the_elastic_field_is_torchs_bicubic_interpolation() -> None:
    grid = torch.randn(1, 2, 3, 3)
    wanted = F.interpolate(grid, size=(21, 34), mode="bicubic", align_corners=True)
    at = place(Deformation(np.eye(2), grid[0].double().numpy()), (21, 34), (0.0, 0.0))
    plain = place(still(2), (21, 34), (0.0, 0.0))
    assert torch.allclose(at - plain, wanted[0], atol=1e-4)


def test_bicubic_weights_sum_to_one_and_hit_the_grid_points() -> None:
    weights = _bicubic(21, torch.device("cpu"))
    assert torch.allclose(weights.sum(dim=1), torch.ones(21))
    assert torch.allclose(weights[[0, 10, 20]], torch.eye(3), atol=1e-6)


def test_displacements_have_the_deviation_asked_for(rng: np.random.Generator) -> None:
    settings = NONE.replace(elastic=10.0)
    drawn = [
        draw_deformation(settings, (1.0, 1.0), rng).displacements for _ in range(300)
    ]
    assert np.std(drawn) == pytest.approx(10, rel=0.05)
    thick = [
        draw_deformation(settings, (5.0, 1.0, 1.0), rng).displacements
        for _ in range(200)
    ]
    assert np.std(np.array(thick)[:, 0]) == pytest.approx(2, rel=0.1)


def test_turns_keep_to_the_plane_and_scales_to_their_bounds(
    rng: np.random.Generator,
) -> None:
    settings = NONE.replace(rotation=180, scale=1.5)
    for _ in range(50):
        matrix = draw_deformation(settings, (1.0, 1.0, 1.0), rng).matrix
        assert not matrix[0, 1:].any()
        assert not matrix[1:, 0].any()
        scale = np.linalg.det(matrix[1:, 1:]) ** 0.5
        assert 1 / 1.5 - 1e-9 <= scale <= 1.5 + 1e-9


def test_labels_stay_labels(rng: np.random.Generator) -> None:
    labels = torch.randint(0, 4, (1, 30, 30)).float() * 85
    deformation = draw_deformation(Augmentation(), (1.0, 1.0), rng)
    at = place(deformation, (40, 40), (15, 15))
    assert set(sample(labels, at, nearest=True).unique().tolist()) <= {0, 85, 170, 255}


@pytest.mark.parametrize(
    ("settings", "holds"),
    [
        (
            {"brightness": 0.5},
            lambda a, b: torch.allclose((b - a).std(), torch.tensor(0.0), atol=1e-5),
        ),
        ({"contrast": 2.0}, lambda a, b: torch.allclose(b / a, (b / a)[0, 0, 0])),
        ({"gamma": 2.0}, lambda a, b: torch.allclose(a.amax(), b.amax(), atol=1e-4)),
        ({"blur": 2.0}, lambda a, b: b.std() < a.std()),
        ({"noise": 1.0}, lambda a, b: (b - a).std() > 0.01),
    ],
    ids=["brightness", "contrast", "gamma", "blur", "noise"],
)
def test_each_grey_change_does_what_it_says(settings: dict, holds, rng) -> None:
    image = torch.randn(1, 32, 32)
    changed = change(image, NONE.replace(**settings), rng)
    assert changed.shape == image.shape
    assert not torch.allclose(changed, image)
    assert holds(image, changed)


def test_channels_change_on_their_own(rng: np.random.Generator) -> None:
    image = torch.ones(2, 4, 4)
    first, second = change(image, NONE.replace(brightness=1.0), rng)
    assert not torch.allclose(first, second)


def test_a_small_image_can_be_blurred(rng: np.random.Generator) -> None:
    changed = change(torch.randn(1, 2, 3), NONE.replace(blur=5.0), rng)
    assert torch.isfinite(changed).all()


def test_one_seed_gives_one_result() -> None:
    image = torch.rand(1, 20, 20)
    results = [
        change(image, Augmentation(), np.random.default_rng(3)) for _ in range(2)
    ]
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(9, 12), (5, 6, 7)])
def test_patches_of_a_batch_are_those_of_each_alone(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    drawn = [
        draw_deformation(Augmentation(), (1.0,) * len(shape), rng) for _ in range(3)
    ]
    centres = rng.uniform(0, 20, (3, len(shape))).tolist()
    together = coordinates(drawn, shape, centres, CPU)
    for one, centre, found in zip(drawn, centres, together, strict=True):
        torch.testing.assert_close(place(one, shape, centre), found)
    images = torch.randn(3, 2, *shape)
    settings = NONE.replace(blur=2.0, contrast=1.5)
    changed = change_greys(images, settings, rng)
    images[1] = 0
    again = change_greys(images, settings, np.random.default_rng(0))
    assert not again[1].any()
    spreads = changed.flatten(1).std(dim=1)
    assert len(set(spreads.tolist())) == 3


def test_a_blur_is_the_gaussian_of_scipy_inside() -> None:
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 20] = 1
    sigma = torch.full((1, 1, 1, 1), 1.7)
    expected = gaussian_filter(image[0, 0].numpy(), 1.7)
    np.testing.assert_allclose(_blur(image, sigma, 1.7)[0, 0], expected, atol=1e-7)
    sharp = _blur(image, torch.zeros(1, 1, 1, 1), 0.8)
    torch.testing.assert_close(sharp, image)


def test_a_blur_does_not_darken_edges_and_mixes_no_patches() -> None:
    images = torch.ones(2, 3, 2, 9, 5)
    images[1] = 4
    sigma = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(_blur(images, sigma, 2.0), images)
