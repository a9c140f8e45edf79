from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import GreyScale
from napari_unet.core.training.training_set import Example
from napari_unet.core.training.training_settings import Augmentation
from napari_unet.engine.training.losses import weighted_cross_entropy
from napari_unet.engine.training.sampling import Batch, Sampler

# greys are left alone in both, so that a pixel's value tells where it came from
MOVING = Augmentation(brightness=0, contrast=1, gamma=1, noise=0, blur=0)
STILL = MOVING.replace(elastic=0, rotation=0, mirror=False, scale=1)


def example(
    data: Any,
    classes: np.ndarray,
    border: np.ndarray | None = None,
    axes: str | None = None,
    spacing: tuple[float, ...] | None = None,
) -> Example:
    image = Image(data, axes or "zyx"[3 - classes.ndim :], spacing)
    n = image.channels
    scale = GreyScale((-1e9,) * n, (1e9,) * n, (0.0,) * n, (1.0,) * n)
    if border is None:
        border = np.zeros(classes.shape)
    field = next(iter(image.fields(classes.ndim)))
    return Example(field, scale, classes.astype(np.uint8), border.astype(np.float32))


def sampler(*examples: Example, **options: Any) -> Sampler:
    ndim = examples[0].field.ndim
    given: dict[str, Any] = {
        "output": (9,) * ndim,
        "halo": (4,) * ndim,
        "foreground": 0.5,
        "by_cell": False,
        "augmentation": STILL,
        "device": torch.device("cpu"),
        "seed": 0,
    }
    return Sampler(examples, **(given | options))


def inner(patch: torch.Tensor, halo: tuple[int, ...]) -> np.ndarray:
    """The image under the output, shape (batch, channels, *output)."""
    cut = tuple(slice(h, n - h) for h, n in zip(halo, patch.shape[2:], strict=True))
    return patch[(slice(None), slice(None), *cut)].numpy()


def pattern(*at: np.ndarray) -> np.ndarray:
    """A class for each place, unlike that of its neighbours, 255 among them."""
    return sum(a * prime for a, prime in zip(at, (3, 7, 11), strict=False)) % 256


def places(shape: tuple[int, ...]) -> Example:
    """An example whose channels are its coordinates; so are classes and weights.

    There are objects only in the middle, elsewhere background and unknown pixels.
    """
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    classes = pattern(*at)
    middle = np.ones(shape, bool)
    for axis, n in zip(at, shape, strict=True):
        middle &= (axis > 0.4 * n) & (axis < 0.6 * n)
    classes[~middle] = np.where(classes % 2, IGNORED, 0)[~middle]
    weight = at.sum(axis=0) * 2.0 + at[0]
    axes = "c" + "zyx"[3 - len(shape) :]
    return example(at.astype(np.float32), classes, weight, axes=axes)


@pytest.mark.parametrize(
    ("shape", "output", "halo"),
    [((260, 300), (20, 16), (5, 8)), ((70, 90, 80), (4, 6, 5), (2, 3, 4))],
)
def test_labels_and_weights_move_with_the_image(
    shape: tuple[int, ...], output: tuple[int, ...], halo: tuple[int, ...]
) -> None:
    whole = places(shape)
    # from the middle, so that nothing is mirrored and the image tells where it is from
    draws = sampler(
        whole,
        output=output,
        halo=halo,
        foreground=1,
        augmentation=MOVING.replace(elastic=4),
    )
    batch = draws.draw(step=1, size=12)
    at = inner(batch.image, halo).swapaxes(0, 1)  # (ndim, batch, *output)
    weight = at.sum(axis=0) * 2 + at[0]
    np.testing.assert_allclose(batch.border, weight, atol=0.02)
    # where a pixel's centre is nearest beyond doubt
    sure = (np.abs(at % 1 - 0.5) > 0.02).all(axis=0)
    expected = whole.classes[tuple(np.rint(at).astype(int))]
    np.testing.assert_array_equal(batch.classes.numpy()[sure], expected[sure])
    assert sure.mean() > 0.8
    assert len(np.unique(expected)) > 50
    # and they did move: some steps along x go back, and no two are alike
    steps = np.diff(at[-1], axis=-1)
    assert steps.min() < -0.5
    assert steps.max() > 0.5


@pytest.mark.parametrize(
    ("shape", "output", "halo"),
    [
        ((10, 13), (16, 17), (6, 3)),
        ((4, 3), (8, 9), (20, 0)),
        ((1, 11), (3, 11), (4, 4)),
        ((4, 5, 6), (6, 5, 8), (1, 7, 2)),
        ((1, 9, 9), (1, 9, 9), (0, 4, 4)),
    ],
)
def test_images_are_mirrored_at_borders_and_labels_end_there(
    shape: tuple[int, ...],
    output: tuple[int, ...],
    halo: tuple[int, ...],
    rng: np.random.Generator,
) -> None:
    # The output covers the field, so the patch is centred on it.
    data = rng.random(shape)
    classes = rng.integers(0, 5, shape)
    border = rng.random(shape)
    draws = sampler(example(data, classes, border), output=output, halo=halo)
    batch = draws.draw(0, 1)
    beyond = [((o - n) // 2,) * 2 for o, n in zip(output, shape, strict=True)]
    window = [(b + h, b + h) for (b, _), h in zip(beyond, halo, strict=True)]
    np.testing.assert_allclose(
        batch.image[0, 0], np.pad(data, window, mode="reflect"), atol=1e-4
    )
    np.testing.assert_array_equal(
        batch.classes[0], np.pad(classes, beyond, constant_values=IGNORED)
    )
    np.testing.assert_allclose(batch.border[0], np.pad(border, beyond), atol=1e-4)


def test_patches_have_the_shapes_and_types_of_a_batch() -> None:
    batch = sampler(places((50, 40)), output=(8, 12), halo=(3, 5)).draw(0, 5)
    assert (batch.image.shape, batch.image.dtype) == ((5, 2, 14, 22), torch.float32)
    assert (batch.classes.shape, batch.classes.dtype) == ((5, 8, 12), torch.uint8)
    assert (batch.border.shape, batch.border.dtype) == ((5, 8, 12), torch.float32)


def test_patches_stay_inside_a_field_that_is_large_enough() -> None:
    batch = sampler(places((30, 25)), output=(9, 8)).draw(0, 200)
    at = inner(batch.image, (4, 4))
    lowest, highest = at.min(axis=(0, 2, 3)), at.max(axis=(0, 2, 3))
    assert (lowest > -1e-3).all()
    assert (highest < np.array([29, 24]) + 1e-3).all()
    # and reach its edges
    assert (lowest < 0.2).all()
    assert (highest > np.array([29, 24]) - 0.2).all()


def test_ignored_pixels_stay_ignored_however_they_are_moved() -> None:
    classes = np.ones((120, 120), np.uint8)
    classes[:, 60:] = IGNORED
    columns = np.tile(np.arange(120.0), (120, 1))
    draws = sampler(
        example(columns, classes), output=(24, 24), halo=(4, 4), augmentation=MOVING
    )
    batch = draws.draw(3, 20)
    # mirrored beyond the edge, the image shows pixels that no label is of
    column = inner(batch.image, (4, 4))[:, 0]
    found = batch.classes.numpy()
    assert (found[column > 59.51] == IGNORED).all()
    assert (found == IGNORED).any()
    assert (found == 1).any()
    assert set(np.unique(found)) == {1, IGNORED}


def test_what_is_under_ignored_pixels_has_no_gradient(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 2, (40, 40))
    classes[:, 20:] = IGNORED
    weight = np.ones((40, 40))
    draws = sampler(example(weight, classes, weight), augmentation=MOVING)
    batch = draws.draw(0, 8)
    scores = torch.zeros(8, 2, 9, 9, requires_grad=True)
    loss = weighted_cross_entropy(scores, batch.classes, batch.border, torch.ones(2))
    loss.backward()
    moved = scores.grad.abs().sum(dim=1)  # type: ignore[union-attr]
    assert not moved[batch.classes == IGNORED].any()
    assert (moved[batch.classes != IGNORED] > 0).all()


@pytest.mark.parametrize("pixel", [(0, 0), (0, 59), (49, 31), (25, 1), (49, 59)])
def test_patches_are_where_something_is_annotated(pixel: tuple[int, int]) -> None:
    classes = np.full((50, 60), IGNORED)
    classes[pixel] = 0
    batch = sampler(example(np.zeros((50, 60)), classes)).draw(0, 150)
    seen = batch.classes == 0
    assert seen.any(dim=(1, 2)).all()
    if pixel == (25, 1):
        # not always in the middle: any row of the patch shows it
        assert seen.any(dim=(0, 2)).all()


# half of 300 with a standard deviation of 9
@pytest.mark.parametrize(
    ("foreground", "low", "high"), [(1, 300, 300), (0.5, 115, 185), (0, 0, 10)]
)
def test_a_share_of_the_patches_is_placed_on_objects(
    foreground: float, low: int, high: int
) -> None:
    classes = np.zeros((300, 300))
    classes[70:73, 20:23] = 1
    draws = sampler(example(classes, classes), foreground=foreground)
    count = int((draws.draw(0, 300).classes == 1).any(dim=(1, 2)).sum())
    assert low <= count <= high


# half of 300 with a standard deviation of 9, or 4 of 1604 pixels
@pytest.mark.parametrize(("by_cell", "low", "high"), [(True, 115, 185), (False, 0, 6)])
@pytest.mark.parametrize("together", [True, False])
def test_small_cells_are_drawn_as_often_as_large_ones(
    by_cell: bool, low: int, high: int, together: bool
) -> None:
    large, small = np.zeros((2, 100, 100))
    large[10:50, 10:50] = 1
    small[70:72, 70:72] = 2
    fields = [large + small] if together else [large, small]
    examples = [example(grey, grey > 0) for grey in fields]
    draws = sampler(*examples, foreground=1, by_cell=by_cell, output=(5, 5))
    batch = draws.draw(0, 300)
    assert (batch.classes == 1).any(dim=(1, 2)).all()
    count = int((inner(batch.image, (4, 4)) > 1.5).any(axis=(1, 2, 3)).sum())
    assert low <= count <= high


def test_unannotated_pixels_are_no_objects() -> None:
    # 255 is above 0, but no class
    classes = np.full((60, 60), IGNORED)
    classes[10:20, 10:20] = 0
    batch = sampler(example(classes, classes), foreground=1).draw(0, 30)
    assert (batch.classes == 0).any(dim=(1, 2)).all()


def test_fields_are_drawn_by_how_much_of_them_is_annotated() -> None:
    much, little, nothing = (np.full((40, 40), IGNORED) for _ in range(3))
    much[5:35, 5:35], little[5:15, 5:35] = 0, 0
    examples = [
        example(np.full((40, 40), k), c) for k, c in enumerate((much, little, nothing))
    ]
    batch = sampler(*examples, output=(5, 5)).draw(0, 400)
    number = batch.image[:, 0, 4, 4].round().int().tolist()
    assert set(number) == {0, 1}
    # three of four, with a standard deviation of 9
    assert 260 < number.count(0) < 340


def test_fields_of_different_sizes_share_a_batch() -> None:
    examples = [
        places((30, 40)),
        places((200, 7)),
        example(np.zeros((2, 20, 20)), np.zeros((20, 20)), axes="cyx"),
    ]
    batch = sampler(*examples).draw(0, 60)
    assert batch.image.shape == (60, 2, 17, 17)
    highest = inner(batch.image, (4, 4)).max(axis=(2, 3))
    assert (highest[:, 0] > 40).any()
    assert (highest[:, 1] > 10).any()
    assert (highest == 0).all(axis=1).any()


class Spy:
    """An array that notes what is read from it."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data
        self.shape, self.dtype = data.shape, data.dtype
        self.reads: list[tuple[int, ...]] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        block = self._data[key]
        self.reads.append(block.shape)
        return block


def test_only_the_pixels_under_a_patch_are_read() -> None:
    spy = Spy(np.zeros((1000, 1200), np.uint8))
    draws = sampler(example(spy, np.zeros((1000, 1200))), output=(20, 30), halo=(6, 7))
    assert spy.reads == []
    draws.draw(0, 25)
    assert len(spy.reads) == 25
    # a window between pixels shows one more along each axis
    assert all(rows <= 33 and columns <= 45 for rows, columns in spy.reads)
    turned = Augmentation(elastic=0, scale=1, rotation=180)
    sampler(
        example(spy, np.zeros((1000, 1200))),
        output=(20, 30),
        halo=(6, 7),
        augmentation=turned,
    ).draw(0, 25)
    diagonal = (32**2 + 44**2) ** 0.5
    assert all(max(r) <= diagonal + 2 for r in spy.reads)


@pytest.mark.parametrize("kind", ["dask", "zarr"])
def test_arrays_on_disk_give_the_same_patches(
    kind: str, rng: np.random.Generator
) -> None:
    data = rng.integers(0, 4000, (60, 2, 50)).astype(np.uint16)
    classes = rng.integers(0, 3, (60, 50))
    arrays: dict[str, Any] = {"dask": da.from_array(data, chunks=13)}
    if kind == "zarr":
        arrays["zarr"] = zarr.create_array({}, data=data, chunks=(16, 1, 16))
    expected, found = (
        sampler(example(a, classes, axes="ycx"), augmentation=MOVING).draw(0, 6)
        for a in (data, arrays[kind])
    )
    assert equal(expected, found)


def equal(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.image, b.image)
        and torch.equal(a.classes, b.classes)
        and torch.equal(a.border, b.border)
    )


def test_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    everything = Augmentation()
    first = sampler(places((60, 60)), augmentation=everything)
    for step in range(4):
        last = first.draw(step, 3)
    torch.manual_seed(5)
    again = sampler(places((60, 60)), augmentation=everything)
    assert equal(again.draw(3, 3), last)
    assert not equal(again.draw(4, 3), last)
    other = sampler(places((60, 60)), augmentation=everything, seed=1)
    assert not equal(other.draw(3, 3), last)


def test_greys_are_normalised_before_they_are_changed() -> None:
    data = np.full((30, 30), 700, np.uint16)
    plain = example(data, np.zeros((30, 30)))
    scaled = Example(
        plain.field, GreyScale((0,), (600,), (500,), (50,)), plain.classes, plain.border
    )
    assert (sampler(scaled).draw(0, 1).image == 2).all()


def test_greys_change_by_as_many_sds_whatever_the_rule_brings_them_to() -> None:
    data = np.random.default_rng(0).integers(0, 9, (30, 30)).astype(np.uint16)
    unit = example(data, np.zeros((30, 30)))
    changes = Augmentation(gamma=1, blur=0)

    def drawn(sd: float, **spread: object) -> np.ndarray:
        scale = GreyScale((0,), (600,), (4,), (sd,), **spread)
        shown = Example(unit.field, scale, unit.classes, unit.border)
        image = sampler(shown, augmentation=changes).draw(0, 2).image
        found: np.ndarray = image.numpy()
        return found

    # a tenth of the values, with a tenth of the noise and of the shift
    small = drawn(10.0, spread=(0.1,))
    np.testing.assert_allclose(10 * small, drawn(1.0), rtol=1e-4, atol=1e-5)
    assert np.abs(10 * drawn(10.0) - drawn(1.0)).max() > 0.1


def test_a_thick_stack_is_displaced_less_through_its_slices() -> None:
    shape = (60, 60, 60)
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype("f4")
    thick = example(at, np.zeros(shape), axes="czyx", spacing=(5.0, 1.0, 1.0))
    assert thick.spacing == (5, 1, 1)
    bent = STILL.replace(elastic=5)
    batch = sampler(thick, augmentation=bent, output=(9,) * 3).draw(0, 40)
    middle = inner(batch.image, (4, 4, 4))
    stretch = [np.abs(np.diff(middle[:, k], axis=k + 1) - 1).mean() for k in range(3)]
    assert stretch[0] < 0.4 * stretch[1]
    assert stretch[0] < 0.4 * stretch[2]


def test_nothing_annotated_is_refused() -> None:
    empty = example(np.zeros((20, 20)), np.full((20, 20), IGNORED))
    with pytest.raises(ValueError, match="nothing is annotated: paint some cells"):
        sampler(empty, empty)
