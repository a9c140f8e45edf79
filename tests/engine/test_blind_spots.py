from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.training.image_pairs import image_example
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.training.blind_spots import BlindSpotSampler
from napari_unet.engine.training.image_sampling import ImageBatch, ImageSampler

PLAIN = Training.quick().with_task("denoise").augmentation
HALO = 10


def sampler(
    data: np.ndarray,
    axes: str = "yx",
    kind: type[ImageSampler] = BlindSpotSampler,
    ndim: int = 2,
    **options: Any,
) -> ImageSampler:
    """Of one image, whose grey values are not cut off but shifted and scaled."""
    image = Image(data, axes)
    field = Field(image, 0, 0 if ndim == 2 else None)
    example = image_example(field, None, measure(image, 0, "frame"))
    if kind is BlindSpotSampler:
        options.setdefault("line", "none")
    return kind(
        [example],
        output=(32,) * 2 if ndim == 2 else (4, 20, 20),
        halo=(HALO,) * ndim,
        foreground=0.0,
        by_cell=False,
        augmentation=PLAIN,
        device=torch.device("cpu"),
        seed=3,
        **options,
    )


def unique(*shape: int) -> np.ndarray:
    """An image in which each value is there once."""
    rng = np.random.default_rng(0)
    return rng.permutation(np.prod(shape)).reshape(shape).astype(np.float32)


def both(data: np.ndarray, step: int, **rest: Any) -> tuple[ImageBatch, ImageBatch]:
    """The patches of a step as they are, and with hidden pixels."""
    line = rest.pop("line", "none")
    whole = sampler(data, kind=ImageSampler, **rest).draw(step, 2)
    hidden = sampler(data, line=line, **rest).draw(step, 2)
    return whole, hidden  # type: ignore[return-value]


def inside(image: torch.Tensor) -> torch.Tensor:
    return image[..., HALO:-HALO, HALO:-HALO]


@pytest.mark.parametrize("line", ["x", "y"])
def test_the_hidden_line_lies_along_the_noise_in_every_patch(line: str) -> None:
    # alike along the line
    values = unique(90).reshape((90, 1) if line == "x" else (1, 90))
    data = np.broadcast_to(values, (90, 90)).copy()
    for step in range(5):
        batch = sampler(data, line=line).draw(step, 3)
        for image in batch.target:  # type: ignore[attr-defined]
            along = image[0] if line == "x" else image[0].T
            assert (along == along[:, :1]).all()


@pytest.mark.parametrize("step", range(5))
def test_a_patch_is_a_part_of_the_image_mirrored_and_turned(step: int) -> None:
    data = unique(90, 80)
    batch = sampler(data, kind=ImageSampler).draw(step, 3)
    for image, target in zip(batch.image, batch.target, strict=True):  # type: ignore[attr-defined]
        # the image is cut off at its darkest and brightest values, the target is not
        middle, wanted = inside(image[0]), target[0]
        assert torch.equal(middle, wanted.clamp(middle.min(), middle.max()))
        found = []
        for turns in range(4):
            for view in (np.rot90(target[0].numpy(), turns),):
                found += [view, view[:, ::-1]]
        scaled = (data - data.mean()) / data.std()
        parts = np.lib.stride_tricks.sliding_window_view(scaled, (32, 32))
        assert any(
            np.isclose(parts, view, atol=1e-2).all(axis=(2, 3)).any() for view in found
        )


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize(("axes", "shape"), [("yx", (90, 80)), ("cyx", (3, 70, 70))])
def test_only_hidden_pixels_are_learnt_and_they_show_a_neighbour(
    axes: str, shape: tuple[int, ...], step: int
) -> None:
    data = unique(*shape)
    whole, hidden = both(data, step, axes=axes)
    assert torch.equal(whole.target, hidden.target)
    spots = hidden.weight > 0
    changed = inside((whole.image != hidden.image).any(dim=1))
    assert torch.equal(changed, spots)
    # nothing is hidden in the context
    assert int((whole.image != hidden.image).any(dim=1).sum()) == int(spots.sum())
    assert spots.float().mean().item() == pytest.approx(0.02, abs=0.005)
    for b, y, x in torch.nonzero(spots).tolist():
        y, x = y + HALO, x + HALO
        shown = hidden.image[b, :, y, x]
        near = whole.image[b, :, y - 5 : y + 6, x - 5 : x + 6]
        same = (near == shown[:, None, None]).all(dim=0)
        assert same.any()


def test_each_cell_of_the_grid_has_a_spot() -> None:
    _, hidden = both(unique(90, 80), 0)
    # of 32 pixels the fifth cell of 7 is cut
    cells = hidden.weight[:, :28, :28].reshape(2, 4, 7, 4, 7).sum(dim=(2, 4))
    assert cells.tolist() == torch.ones(2, 4, 4).tolist()


@pytest.mark.parametrize("line", ["x", "y"])
def test_along_lines_nothing_is_seen_of_the_line(line: str) -> None:
    data = unique(90, 80)
    whole, hidden = both(data, 1, line=line)
    changed = (whole.image != hidden.image)[:, 0]
    spots = torch.nonzero(hidden.weight)
    assert len(spots)
    for b, y, x in spots.tolist():
        y, x = y + HALO, x + HALO
        row = (
            changed[b, y, x - 5 : x + 6]
            if line == "x"
            else changed[b, y - 5 : y + 6, x]
        )
        assert row.all()
        # what is shown comes from another line
        shown = hidden.image[b, 0, y, x]
        own = whole.image[b, 0, y, :] if line == "x" else whole.image[b, 0, :, x]
        assert not (own == shown).any()


def test_a_volume_hides_pixels_in_each_slice() -> None:
    data = unique(12, 50, 50)
    whole, hidden = both(data, 2, axes="zyx", ndim=3)
    spots = hidden.weight > 0
    changed = (whole.image != hidden.image)[:, 0]
    core = changed[:, HALO:-HALO, HALO:-HALO, HALO:-HALO]
    assert int(core.sum()) == int(changed.sum())
    assert not (core & ~spots).any()
    # at a mirrored edge a neighbour may be the pixel itself
    assert core.sum() > 0.95 * spots.sum()
    assert (spots.sum(dim=(2, 3)) > 0).all()


def test_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    one, other = sampler(unique(60, 60)), sampler(unique(60, 60))
    other.draw(0, 2)
    first, second = one.draw(5, 2), other.draw(5, 2)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.weight, second.weight)  # type: ignore[attr-defined]


def test_of_a_patch_that_has_few_pixels_the_shown_ones_are_in_it() -> None:
    image = torch.arange(32.0).reshape(2, 1, 4, 4)
    drawn = sampler(unique(60, 60))
    drawn._halo = (0, 0)  # as of a padded network
    spots = (np.array([0, 1]), np.array([0, 3]), np.array([3, 0]))
    shown = drawn._hidden(image, spots, np.random.default_rng(0))  # type: ignore[attr-defined]
    assert shown[0, 0, 0, 3] in image[0, 0, :2, 2:]
    assert shown[1, 0, 3, 0] in image[1, 0, 2:, :2]
    assert int((shown != image).sum()) == 2
