from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.cells.edited import with_annotation
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.geometry.boxes import around
from napari_unet.core.images.image import Field, Image
from napari_unet.core.training.training_set import make_example
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.learner import Learner
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

    def cells(self) -> NDArray[np.int32]:
        model = self.learner.model()
        last = list(predict(prepare(model, "cpu"), self.image))[-1]
        return segment_instances(
            np.asarray(last.probabilities),
            model.card.segmentation,  # type: ignore[attr-defined]
        )


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
    assert (after[others] > 0).mean() > 0.98
    assert (after[~others & ~wrong] > 0).mean() < 0.02


def test_steps_that_do_not_bring_it_right_are_taken_back(
    model: Model, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "_is_right", lambda *_: False)
    monkeypatch.setattr("napari_unet.engine.training.learner._MOST", 2)
    corrector = Corrector(model, image)
    before = weights(corrector.learner)
    corrector.paint(np.arange(180 * 180).reshape(180, 180) < 400, 2)
    assert corrector.learner.count == 1
    assert corrector.learner.steps == 0
    assert same(weights(corrector.learner), before)


def test_the_model_goes_with_the_annotation_back_and_forth(
    model: Model, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "_is_right", lambda self, *_: self.steps >= 3)
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
