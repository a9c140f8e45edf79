from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from napari_unet.core.images.grey_steps import (
    Clip,
    ClipPercentiles,
    Fixed,
    GreySteps,
    Maximum,
    MinMax,
    ZScore,
)
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import frame_of, in_words, measure

# two channels of four pixels
TWO = np.array([[[0, 2], [4, 10]], [[-3, 1], [1, 5]]], np.int16)


def grey(data: np.ndarray, *steps: Any, axes: str = "cyx", t: int = 0) -> np.ndarray:
    """A frame as a network sees it."""
    image = Image(data, axes)
    planes = [f.read() for f in image.fields(2) if f.t == t]
    return measure(image, t, GreySteps(steps=steps)).apply(np.stack(planes, 1))[:, 0]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Clip(low=0, high=4), [[[0, 2], [4, 4]], [[0, 1], [1, 4]]]),
        (Fixed(mean=2, sd=-4), [[[0.5, 0], [-0.5, -2]], [[1.25, 0.25], [0.25, -0.75]]]),
        # the second channel is divided, too, or not at all
        (Fixed(sd=2, above=9), [[[0, 1], [2, 5]], [[-1.5, 0.5], [0.5, 2.5]]]),
        (Fixed(sd=2, above=10), TWO),
        (MinMax(), [[[0, 0.2], [0.4, 1]], [[0, 0.5], [0.5, 1]]]),
        (
            MinMax(eps=6),
            [[[0, 2 / 16], [4 / 16, 10 / 16]], [[0, 4 / 14], [4 / 14, 8 / 14]]],
        ),
        (MinMax(together=True), [[[3, 5], [7, 13]], [[0, 4], [4, 8]]]),
        # median 3 and 1: to 0; maximum to 1
        (MinMax(low=50), [[[-3 / 7, -1 / 7], [1 / 7, 1]], [[-1, 0], [0, 1]]]),
        (ZScore(), [[[-4, -2], [0, 6]], [[-4, 0], [0, 4]]]),
        (Maximum(), [[[0, 0.2], [0.4, 1]], [[-0.6, 0.2], [0.2, 1]]]),
        (Maximum(together=True), [[[0, 2], [4, 10]], [[-3, 1], [1, 5]]]),
        # halfway between the first two and the last two sorted values
        (
            ClipPercentiles(low=100 / 6, high=500 / 6),
            [[[1, 2], [4, 7]], [[-1, 1], [1, 3]]],
        ),
        (Clip(low=0, high=4, channels=(1,)), [[[0, 2], [4, 10]], [[0, 1], [1, 4]]]),
    ],
)
def test_each_step_by_hand(step: Any, expected: Any) -> None:
    expected = np.array(expected, float)
    if step == MinMax(together=True):
        expected /= 13
    if step == ZScore():
        # variances 14 and 8
        expected /= np.sqrt([14, 8]).reshape(2, 1, 1)
    if step == Maximum(together=True):
        expected /= np.sqrt(125)
    np.testing.assert_allclose(grey(TWO, step), expected, atol=1e-6)


def test_no_step_changes_nothing() -> None:
    np.testing.assert_array_equal(grey(TWO), TWO)


@pytest.mark.parametrize("seed", range(20))
def test_steps_are_one_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.normal(50, 20, (3, 17, 23)).astype(np.float32)
    makers = [
        lambda: Clip(low=rng.uniform(-1, 0), high=rng.uniform(0, 1)),
        lambda: Clip(low=rng.uniform(0, 50), high=rng.uniform(50, 90)),
        lambda: Fixed(mean=rng.uniform(-50, 50), sd=rng.choice([-3.0, 0.2, 255.0])),
        lambda: MinMax(low=1, high=98, together=bool(rng.integers(2)), eps=1e-6),
        lambda: ZScore(together=bool(rng.integers(2)), channels=(2, 0)),
        lambda: ClipPercentiles(low=5, high=90),
        lambda: Maximum(together=True),
    ]
    steps = [makers[k]() for k in rng.integers(0, len(makers), 5)]
    expected = data.astype(float)
    for step in steps:
        expected = by_hand(step, expected)
    rule, values = GreySteps(steps=steps), data.reshape(3, -1).astype(float)
    # in parts, and in float64, as some of the steps enlarge what float32 rounds
    found = rule.scale(3, lambda: np.array_split(values, 4, axis=1)).apply(values)
    np.testing.assert_allclose(found, expected.reshape(3, -1), rtol=1e-6, atol=1e-9)


def by_hand(step: Any, values: np.ndarray) -> np.ndarray:
    """What a step says, in plain numpy."""
    done, chosen = values.copy(), list(step.channels) or [0, 1, 2]
    some = values[chosen]
    axes = None if getattr(step, "together", False) else (1, 2)
    if isinstance(step, Clip):
        some = np.clip(some, step.low, step.high)
    elif isinstance(step, Fixed):
        some = (some - step.mean) / step.sd
    elif isinstance(step, ZScore):
        mean, sd = (f(axis=axes, keepdims=True) for f in (some.mean, some.std))
        some = (some - mean) / (np.where(sd > 1e-12, sd, 1) + step.eps)
    elif isinstance(step, Maximum):
        length = np.sqrt((some**2).sum(axis=0)).max()
        some = some / (length if length else 1)
    else:
        low, high = np.percentile(some, (step.low, step.high), axis=axes, keepdims=True)
        if isinstance(step, ClipPercentiles):
            some = np.clip(some, low, high)
        else:
            span = np.where(high - low > 1e-12, high - low, 1)
            some = (some - low) / (span + step.eps)
    done[chosen] = some
    return done


def test_all_slices_of_a_time_point_are_one_frame() -> None:
    data = np.zeros((2, 3, 4, 4), np.uint8)
    data[0, 1, 2, 2], data[1, 0, 0, 0] = 200, 100
    for t, most in enumerate((200, 100)):
        scale = measure(Image(data, "tzyx"), t, GreySteps(steps=(MinMax(),)))
        assert (scale.mean, scale.sd) == ((0.0,), (most,))


def test_each_slice_may_be_a_frame_of_its_own() -> None:
    data = np.zeros((3, 4, 4), np.uint8)
    data[1, 2, 2], data[2, 0, 0] = 200, 100
    image = Image(data, "zyx")
    rule = GreySteps(steps=(MinMax(),), each_slice=True)
    frames = [frame_of(field, rule) for field in image.fields(2)]
    assert frames == [(0, 0), (0, 1), (0, 2)]
    assert [measure(image, t, rule, z).sd for t, z in frames] == [(1,), (200,), (100,)]
    (volume,) = image.fields(3)
    assert frame_of(volume, rule) == (0, None)
    together = rule.replace(each_slice=False)
    assert {frame_of(f, together) for f in image.fields(2)} == {(0, None)}
    assert {frame_of(f, "structure") for f in image.fields(2)} == {(0, None)}


def test_the_sd_that_a_rule_leads_to_is_told_if_asked_for() -> None:
    rule = GreySteps(steps=(Fixed(mean=3, sd=-2), Clip(low=-3, high=9)))
    assert measure(Image(TWO, "cyx"), 0, rule).spread == ()
    found = measure(Image(TWO, "cyx"), 0, rule, spread=True)
    # (x - 3) / -2, not below -3: 1.5, 0.5, -0.5, -3 and 3, 1, 1, -1
    expected = np.std([1.5, 0.5, -0.5, -3]), np.std([3, 1, 1, -1])
    assert found.spread == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_all_of_a_large_frame_is_measured(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(1000, 2000, (2100, 2200)).astype(dtype)
    data[2099, 2199], data[5, 2100] = 9000, 1
    rule = GreySteps(steps=(MinMax(), ZScore()))
    scale = measure(Image(data, "yx"), 0, rule)
    plain = (data.astype(float) - data.mean()) / data.std()
    found = scale.apply(data[None])[0]
    np.testing.assert_allclose(found, plain, atol=1e-5)
    lowest = measure(Image(data, "yx"), 0, GreySteps(steps=(MinMax(),)))
    assert (lowest.mean, lowest.sd) == ((1.0,), (8999.0,))
    middle = measure(Image(data, "yx"), 0, GreySteps(steps=(MinMax(low=10, high=90),)))
    assert middle.mean[0] == pytest.approx(1100, abs=3)
    assert middle.sd[0] == pytest.approx(800, abs=5)


@pytest.mark.parametrize("step", [MinMax(), ZScore(), MinMax(low=1, high=99)])
@pytest.mark.parametrize("value", [0, 0.1, -7e7])
def test_a_constant_channel_becomes_0(step: Any, value: float) -> None:
    data = np.full((1, 9, 11), value)
    np.testing.assert_allclose(grey(data, step), 0, atol=1e-6)


@pytest.mark.parametrize("steps", [(), (ZScore(),), (Fixed(sd=255),)])
def test_values_that_are_no_numbers_are_refused(steps: Any) -> None:
    data = np.ones((2100, 2100), np.float32)
    data[2099, 3] = np.nan
    for part in (data, data[2000:, :50]):
        with pytest.raises(ValueError, match="image has NaN or infinite values"):
            measure(Image(part, "yx"), 0, GreySteps(steps=steps))


def test_a_rule_for_more_channels_is_refused() -> None:
    step = Fixed(mean=1, sd=2, channels=(0, 2))
    with pytest.raises(
        ValueError, match="for channel 2, counted from 0, the image has 2"
    ):
        grey(TWO, step)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "clip", "low": 2, "high": 2},
        {"step": "clip", "low": 0, "high": 1e300},
        {"step": "clip_percentiles", "low": -1, "high": 50},
        {"step": "min_max", "low": 90, "high": 10},
        {"step": "fixed", "sd": 0},
        {"step": "fixed", "sd": float("nan")},
        {"step": "z_score", "channels": [-1]},
        {"step": "other"},
        {},
    ],
)
def test_wrong_steps_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GreySteps.model_validate({"steps": [wrong]})


def test_rules_are_said_in_words() -> None:
    rule = GreySteps(steps=(ClipPercentiles(low=0.1, high=99.9), ZScore(channels=(1,))))
    words = "clip 0.1 and 99.9 percentiles, then mean 0, sd 1 (channel 1)"
    assert in_words(rule) == words
    eight_bits = GreySteps(steps=(Fixed(sd=255, above=1),))
    assert in_words(eight_bits) == "subtract 0, divide by 255 if any is above 1"
    assert in_words(GreySteps()) == "as they are in the file"
    assert in_words("frame").startswith("frame: clip 0.1")
    again = GreySteps.model_validate_json(rule.model_dump_json())
    assert again == rule
    assert hash(again) == hash(rule)
