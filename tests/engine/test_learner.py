from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from benchmarks.speed.networks import untrained
from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.cells.edited import with_annotation
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.events import PredictionFinished
from napari_unet.core.geometry.boxes import around
from napari_unet.core.images.image import Field, Image
from napari_unet.core.training.training_set import make_example
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.learner import KEEP, STEPS, Learner
from napari_unet.io import samples
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import pretrained_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.model import Model

CROP = (slice(150, 330), slice(180, 360))


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(pretrained_model("nuclei"))


@pytest.fixture(scope="module")
def image() -> Image:
    return Image(np.asarray(samples.nuclei()[0][0].data)[CROP], "yx")


class Corrector:
    """Someone who paints on one image, and a model that learns from it."""

    def __init__(self, model: Model, image: Image) -> None:
        self.learner = Learner(model, "cpu", seconds=1e9)
        self.image = image
        self.labels = np.zeros(image.data.shape, np.int32)
        self.know()
        self.learner.begin()

    def know(self) -> None:
        card = self.learner.card
        annotation = Annotation(self.labels.copy(), card.classes)
        field = Field(self.image, 0, 0)
        self.learner.know(
            0, make_example(field, annotation, card.training.border, card.normalisation)
        )

    def paint(self, mask: NDArray[np.bool_], value: int) -> None:
        self.labels[mask] = value
        self.know()
        box = around(mask)
        assert box is not None
        for _ in self.learner.learn([(0, box)]):
            pass

    def probabilities(self) -> NDArray[np.float32]:
        last = list(predict(prepare(self.learner.model(), "cpu"), self.image))[-1]
        assert isinstance(last, PredictionFinished)
        return np.asarray(last.probabilities)

    def cells(self) -> NDArray[np.int32]:
        settings = self.learner.card.segmentation
        return segment_instances(self.probabilities(), settings)


def weights(learner: Learner) -> dict[str, NDArray[np.generic]]:
    return dict(learner.model().weights)


def same(
    one: dict[str, NDArray[np.generic]], two: dict[str, NDArray[np.generic]]
) -> bool:
    return all(np.array_equal(one[name], two[name]) for name in one)


def test_what_is_no_cell_is_none_any_more_and_the_others_stay(
    model: Model, image: Image
) -> None:
    corrector = Corrector(model, image)
    before = corrector.cells()
    numbers, sizes = np.unique(before[before > 0], return_counts=True)
    wrong = before == numbers[sizes.argmax()]
    corrector.paint(wrong, 1)
    assert corrector.learner.count == 1
    after = with_annotation(corrector.cells(), corrector.labels)
    assert not after[wrong].any()
    others = (before > 0) & ~wrong
    assert (after[others] > 0).mean() > 0.8
    assert (after[~others & ~wrong] > 0).mean() < 0.02


def test_what_was_missed_is_more_probable_here_and_elsewhere(image: Image) -> None:
    """Of a model that knows nothing of such cells yet, one is painted."""
    model = untrained(Training.quick())
    corrector = Corrector(model, image)
    truth = np.asarray(samples.nuclei()[0][1].data)[CROP]
    numbers, sizes = np.unique(truth[truth > 0], return_counts=True)
    cell = truth == numbers[sizes.argmax()]
    others = (truth > 0) & ~cell
    before = corrector.probabilities()[1]
    around_it = binary_dilation(cell, iterations=4) & (truth == 0)
    corrector.labels[around_it] = 1
    corrector.paint(cell, 2)
    after = corrector.probabilities()[1]
    assert corrector.learner.steps == STEPS
    gain = (after - before)[cell].mean() - (after - before)[around_it].mean()
    assert gain > 0.1
    elsewhere = (after - before)[others].mean() - (after - before)[truth == 0].mean()
    assert elsewhere > 0.05


def test_what_nobody_painted_is_held(image: Image) -> None:
    """Beside a correction the rest stays more as it was."""
    model = untrained(Training.quick().replace(width=8, depth=2, patch=64))
    truth = np.asarray(samples.nuclei()[0][1].data)[CROP]
    cell = truth == truth.max()
    found = []
    for keep in (0.0, KEEP):
        corrector = Corrector(model, image)
        before = corrector.probabilities()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("napari_unet.engine.training.learner.KEEP", keep)
            corrector.paint(cell, 1)
        change = np.abs(corrector.probabilities()[1] - before)[~cell].mean()
        found.append(float(change))
    assert found[1] < 0.7 * found[0], found


def test_the_model_goes_with_the_annotation_back_and_forth(
    model: Model, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.engine.training.learner.STEPS", 3)
    corrector = Corrector(model, image)
    first, *_, last = sorted(np.unique(corrector.cells()[20:-20, 20:-20])[1:].tolist())
    cells = corrector.cells()
    states = [weights(corrector.learner)]
    for number in (first, last):
        corrector.paint(cells == number, 1)
        states.append(weights(corrector.learner))
    assert corrector.learner.count == 2
    assert not same(states[0], states[1])
    assert not same(states[1], states[2])
    corrector.paint(cells == last, 0)
    assert corrector.learner.count == 1
    assert same(weights(corrector.learner), states[1])
    corrector.paint(cells == first, 0)
    assert corrector.learner.count == 0
    assert same(weights(corrector.learner), states[0])
    corrector.paint(cells == first, 1)
    assert same(weights(corrector.learner), states[1])
    assert corrector.learner.steps == 0


def test_what_a_model_has_learnt_for_long_changes_little(image: Image) -> None:
    model = untrained(Training.quick().replace(width=8, depth=2, patch=64))
    cell = np.asarray(samples.nuclei()[0][1].data)[CROP] > 0
    found = []
    for steps in (0, 100, 10_000):
        corrector = Corrector(
            replace(model, card=model.card.replace(steps=steps)), image
        )
        before = corrector.probabilities()
        corrector.paint(cell, 2)
        found.append(float(np.abs(corrector.probabilities() - before).mean()))
    assert found[0] == found[1]
    assert found[2] < 0.3 * found[1], found


@pytest.mark.parametrize(("free", "goes_back"), [(0, True), (1e9, False)])
def test_the_rest_may_change_by_so_much(
    free: float,
    goes_back: bool,
    model: Model,
    image: Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_unet.engine.training.learner.STEPS", 3)
    monkeypatch.setattr("napari_unet.engine.training.learner._FREE", free)
    corrector = Corrector(model, image)
    before = weights(corrector.learner)
    corrector.paint(corrector.cells() > 0, 1)
    assert same(weights(corrector.learner), before) is goes_back
