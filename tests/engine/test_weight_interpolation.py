from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, grey_dilation
from tests.engine.test_training import discs

from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.images.image import Field, Image
from napari_unet.core.metrics.pixels import iou
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.training_set import HeldOut, TrainingSet, make_example
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.train import train
from napari_unet.engine.training.weight_interpolation import (
    SHARES,
    interpolated,
    near_start,
    parts_to_judge,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_unet.core.events import Event
    from napari_unet.core.model import Model

SETTINGS = Training.quick().replace(
    width=8, depth=2, patch=48, steps=120, minutes=0.0, validation=0.0
)


def trained(
    image: np.ndarray,
    labels: np.ndarray,
    settings: Training = SETTINGS,
    start: Model | None = None,
    classes: tuple[ClassInfo, ...] = (ClassInfo(),),
    seen: np.ndarray | bool = True,
) -> Model:
    """Train on an image, annotated where it is `seen`."""
    labels = labels.astype(np.int32)
    known = Annotation(np.where(labels > 0, labels + 1, 1) * seen, classes)
    *_, last = train(
        [Image(image, "yx", name="image")],
        [known],
        settings,
        start=start,
        device="cpu",
    )
    assert isinstance(last, TrainingFinished)
    return last.model


def overlap(model: Model, image: np.ndarray, labels: np.ndarray) -> float:
    *_, last = predict(prepare(model, "cpu"), Image(image, "yx"))
    assert isinstance(last, PredictionFinished)
    return float(iou([last.probabilities[1] > 0.5], [labels > 0]))


@pytest.fixture(scope="module")
def start() -> Model:
    model = trained(*discs(size=128), SETTINGS.replace(steps=250))
    return replace(model, card=model.card.replace(name="discs"))


def test_half_of_a_change_is_in_the_middle_between_the_weights(start: Model) -> None:
    moved = {
        n: w + np.ones((), w.dtype) if w.dtype.kind == "f" else w
        for n, w in start.weights.items()
    }
    half = interpolated(start, replace(start, weights=moved), 0.5)
    for name, weight in half.weights.items():
        expected = start.weights[name]
        if expected.dtype.kind == "f":
            expected = expected + np.float32(0.5)
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
        assert weight.dtype == start.weights[name].dtype


def test_what_the_start_finds_anyway_changes_it_little(start: Model) -> None:
    image, labels = discs(size=96)
    found = trained(image, labels, SETTINGS.replace(steps=60), start)
    assert found.card.learnt_share == SHARES[0]
    assert "10% was added to discs" in found.card.share_in_words
    assert overlap(found, image, labels) > overlap(start, image, labels) - 0.02
    assert any((found.weights[n] != w).any() for n, w in start.weights.items())


def test_more_images_that_say_the_same_change_it_more(
    start: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []

    def twice(*given: Any) -> Generator[Event, None, Model]:
        *models, parts, cells = given
        for count in (1, 20):
            # each of other images
            many = [
                replace(part, example=replace(part.example))
                for _ in range(count)
                for part in parts
            ]
            kept = yield from near_start(*models, many, [*cells] * count)
            shares.append(kept.card.learnt_share)
        return kept

    monkeypatch.setattr("napari_unet.engine.objectives.segmentation.near_start", twice)
    # so high that the gain of a training as short as this is not worth it
    monkeypatch.setattr(
        "napari_unet.engine.training.weight_interpolation._PRICE_CELLS", 1.0
    )
    image, labels = discs(size=96)
    trained(image, grey_dilation(labels, (3, 3)), SETTINGS.replace(steps=60), start)
    assert shares[0] == SHARES[0]
    assert shares[1] > 0.25


def test_what_the_start_does_not_find_is_learnt(start: Model) -> None:
    image, labels = discs(size=96)
    # the very contrary: dark objects on a bright ground
    image = image.max() - image
    assert overlap(start, image, labels) < 0.5
    found = trained(image, labels, SETTINGS.replace(steps=200), start)
    assert overlap(found, image, labels) > 0.8
    assert found.card.learnt_share > SHARES[0]


def test_strokes_are_learnt_too(start: Model) -> None:
    image, labels = discs(size=96)
    image = image.max() - image
    # none shows where a cell ends
    inside = binary_erosion(labels > 0, iterations=3)
    outside = binary_erosion(labels == 0, iterations=3)
    found = trained(
        image, labels, SETTINGS.replace(steps=200), start, seen=inside | outside
    )
    assert overlap(found, image, labels) > 0.6
    assert found.card.learnt_share > SHARES[0]


def test_cells_judge_only_where_there_is_no_other_class(
    start: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges: list[bool] = []

    def noted(*given: Any) -> Generator[Event, None, Model]:
        judges.append(given[-1] is not None)
        return (yield from near_start(*given))

    monkeypatch.setattr("napari_unet.engine.objectives.segmentation.near_start", noted)
    image, labels = discs(size=96)
    short = SETTINGS.replace(steps=3)
    trained(image, labels, short, start)
    # a region on the left, which right cells say nothing of
    two = (ClassInfo(name="discs"), ClassInfo(name="left", kind="regions"))
    ground = np.where(np.arange(96) < 48, 2, 1)
    known = Annotation(np.where(labels > 0, labels + 2, ground).astype(np.int32), two)
    first: Model | None = None
    for seed in (0, 1):
        *_, last = train(
            [Image(image + seed, "yx")], [known], short, start=first, device="cpu"
        )
        assert isinstance(last, TrainingFinished)
        first = last.model
    assert judges == [True, False]


def test_one_class_may_have_another_name(start: Model) -> None:
    image, labels = discs(size=96)
    named = (ClassInfo(name="nuclei"),)
    found = trained(image, labels, SETTINGS.replace(steps=3), start, named)
    assert found.card.learnt_share < 1


def test_going_on_with_the_same_images_forgets_nothing(start: Model) -> None:
    image, labels = discs(size=128)
    found = trained(image, labels, SETTINGS.replace(steps=3), start)
    assert found.card.learnt_share == 1
    # what the start of the start knew is not among these images
    later = replace(start, card=start.card.replace(parent="nuclei"))
    found = trained(image, labels, SETTINGS.replace(steps=3), later)
    assert found.card.learnt_share < 1


def test_parts_are_around_cells_if_there_are_any() -> None:
    labels = np.ones((2000, 600), np.int32)
    labels[1000:1010, 300:310] = 2
    image = Image(np.zeros(labels.shape, np.uint8), "yx")
    field = Field(image, 0, 0)
    one = make_example(field, Annotation(labels), BorderWeights())
    parts = parts_to_judge(TrainingSet((one,), (), ""), seed=0)
    assert parts
    for part in parts:
        assert (one.classes[part.box] == 1).any()


def test_where_nothing_can_be_judged_all_is_kept(start: Model) -> None:
    image, labels = discs(size=96)
    field = Field(Image(image, "yx"), 0, 0)
    blank = Annotation(np.ones(labels.shape, np.int32))
    part = HeldOut(
        make_example(field, blank, BorderWeights()), (slice(0, 96), slice(0, 96))
    )
    judging = near_start(
        start,
        trained(image, labels, SETTINGS.replace(steps=3)),
        lambda model: prepare(model, "cpu"),
        [part],
        [np.zeros(labels.shape, np.int32)],
    )
    found: list[Model] = []

    def keeping() -> Generator[Event, None, None]:
        found.append((yield from judging))

    assert list(keeping())
    assert found[0].card.learnt_share == 1


def test_further_channels_are_learnt_without_bounds(start: Model) -> None:
    image, labels = discs(size=96)
    *_, last = train(
        [Image(np.stack([image, image]), "cyx")],
        [labels],
        SETTINGS.replace(steps=3),
        kind="instances",
        start=start,
        device="cpu",
    )
    assert isinstance(last, TrainingFinished)
    assert last.model.card.learnt_share == 1
    assert not last.model.card.share_in_words
