from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.image_outputs import ImageOutputs, unclipped
from napari_unet.core.images.normalisation import GreyScale, measure
from napari_unet.core.training.image_pairs import (
    check_alignment,
    image_example,
    paired_fields,
    target_statistics,
    with_scale,
)


def image(values: object, axes: str = "yx", name: str = "a") -> Image:
    return Image(np.asarray(values), axes, name=name)


def examples(*targets: Image):
    pairs = [
        (field, Field(target, field.t, field.z))
        for target in targets
        for field in Image(np.ones(target.field_shape(2)), "yx").fields(2)
    ]
    return [image_example(f, target, measure(f.image)) for f, target in pairs]


def test_fields_are_paired_plane_by_plane_or_as_volumes() -> None:
    stack = image(np.zeros((3, 8, 9)), "zyx")
    colours = image(np.zeros((3, 2, 8, 9)), "zcyx")
    planes = paired_fields([stack], [colours], 2)
    assert [(f.z, t.z) for f, t in planes] == [(0, 0), (1, 1), (2, 2)]
    assert all(t.read().shape == (2, 8, 9) for _, t in planes)
    assert [f.z for f, _ in paired_fields([stack], [colours], 3)] == [None]


def test_pairs_that_do_not_fit_are_one_sentence() -> None:
    one, other = image(np.zeros((8, 9)), name="a"), image(np.zeros((9, 8)), name="b")
    with pytest.raises(ValueError, match=r"a and its target b must have equal sizes"):
        paired_fields([one], [other], 2)
    with pytest.raises(ValueError, match=r"target b must .*target c must have equal"):
        paired_fields([one, one], [other, image(np.zeros((9, 9)), name="c")], 2)
    with pytest.raises(ValueError, match="found 1 image and 2 targets"):
        paired_fields([one], [one, one], 2)
    colours = image(np.zeros((2, 8, 9)), "cyx", "c")
    with pytest.raises(ValueError, match=r"number of channels, found 1 \(a\) and 2"):
        paired_fields([one, one], [one, colours], 2)


def test_the_scale_of_targets_is_that_of_all_of_them() -> None:
    first, second = image([[0.0, 2.0]]), image([[4.0, np.nan]])
    found = target_statistics(examples(first, second))
    # 0, 2 and 4
    assert found.mean == pytest.approx((2.0,))
    assert found.sd == pytest.approx((np.sqrt(8 / 3),))


def test_a_large_offset_costs_no_digits() -> None:
    values = np.array([[1e5, 1e5 + 2]])
    found = target_statistics(examples(image(values)))
    assert found.mean == (1e5 + 1,)
    assert found.sd == (1.0,)


@pytest.mark.parametrize(
    ("values", "said"),
    [([[3, 3]], "channel 1 of the targets is 3 everywhere"), ([[np.nan]], "no number")],
)
def test_targets_that_teach_nothing_are_refused(values: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        target_statistics(examples(image(values)))


def test_what_is_no_number_is_not_learnt() -> None:
    target = image([[[1.0, np.nan, np.inf], [2, 3, 4]]], "cyx")
    (example,) = examples(target)
    assert example.classes.tolist() == [[0, IGNORED, IGNORED], [0, 0, 0]]


def test_values_are_restored_to_what_they_were() -> None:
    rng = np.random.default_rng(0)
    target = image(rng.normal(50, 7, (2, 6, 5)).astype(np.float32), "cyx")
    (example,) = examples(target)
    outputs = target_statistics([example])
    scaled = with_scale(example, outputs)
    assert scaled.target is not None
    values = scaled.target.scale.apply(target.read())
    assert values.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-5)
    assert values.std(axis=(1, 2)) == pytest.approx(1, abs=1e-5)
    back = outputs.restore(values, scaled.scale)
    np.testing.assert_allclose(back, target.read(), rtol=1e-5)


def test_without_statistics_of_targets_the_image_lends_its_own() -> None:
    scale = GreyScale((0.0,), (1.0,), (20.0,), (3.0,))
    found = ImageOutputs().restore(np.ones((1, 2, 2), np.float32), scale)
    assert found.tolist() == [[[23, 23], [23, 23]]]


def test_no_value_of_a_target_is_cut_off() -> None:
    found = unclipped((1.0,), (2.0,)).apply(np.array([[[-1e6, 1e6]]]))
    np.testing.assert_allclose(found, [[[(-1e6 - 1) / 2, (1e6 - 1) / 2]]])


@pytest.mark.parametrize(
    ("mean", "sd"), [((1.0,), ()), ((1.0,), (0.0,)), ((1.0,), (-1.0,))]
)
def test_a_scale_of_no_width_is_refused(
    mean: tuple[float, ...], sd: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="positive standard deviation"):
        ImageOutputs(mean=mean, sd=sd)


def fields(ndim: int, y: int, x: int) -> list[tuple[Field, Field]]:
    scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 0.7)
    planes = [scene[20:116, 20:116], scene[20 - y : 116 - y, 20 - x : 116 - x]]
    made = [image(np.stack([p] * 3), "zyx", n) for p, n in zip(planes, "ab")]  # noqa: B905
    return list(zip(*(list(i.fields(ndim)) for i in made), strict=True))


@pytest.mark.parametrize("ndim", [2, 3])
def test_shifted_pairs_are_refused_or_told(ndim: int) -> None:
    assert check_alignment(fields(ndim, 0, 0)) == ()
    (note,) = check_alignment(fields(ndim, -1, 2))
    assert note.startswith("b is shifted against a by 1 pixel up and 2 pixels right")
    with pytest.raises(ValueError, match="by 3 pixels down; the two must lie on one"):
        check_alignment(fields(ndim, 3, 0))
