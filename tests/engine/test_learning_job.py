from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_models import random_model
from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.events import CorrectionsLearnt
from napari_unet.core.images.array_reference import (
    AnnotationReference,
    ArrayReference,
    ImageReference,
)
from napari_unet.core.jobs import Correction, LearnJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Segmentation
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.learning_job import run, with_classes
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.model_file import load_model, read_card, save_model

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (2, 40, 48)
BOX = (slice(10, 18), slice(20, 28))


class Bench:
    """An image, its annotation, a model, and the worker's cache."""

    def __init__(self, folder: Path, spacing: tuple[float, ...] | None = None) -> None:
        self.model = folder / "cells.safetensors"
        self.copy = folder / "cells + corrections.safetensors"
        table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
        save_model(random_model(table), self.model)
        pixels = ArrayReference.create(folder / "image.raw", SHAPE, "uint8")
        noise = np.random.default_rng(0).integers(0, 255, SHAPE)
        pixels.open(writable=True)[:] = noise
        self.image = ImageReference((pixels,), "zyx", spacing, "cells")
        labels = ArrayReference.create(folder / "labels.raw", SHAPE, "int32")
        self.labels = labels.open(writable=True)
        self.annotation = AnnotationReference(labels, "zyx", (ClassInfo(),), {})
        self.cache = ModelCache()

    def learn(self, *corrected: int, learnt: int = 0) -> list[CorrectionsLearnt]:
        """Learn what is painted in some slices; without any, get ready."""
        in_use = self.copy if self.copy.exists() else self.model
        job = LearnJob(
            model=str(in_use),
            output=str(self.copy),
            images=(self.image,),
            annotations=(self.annotation,),
            places=(((0, 0), (0, 1)),),
            corrections=tuple(
                Correction(0, 0, z, BOX, self.annotation) for z in corrected
            ),
            segmentation=Segmentation(threshold=0.4),
            learnt=learnt,
            device="cpu",
        )
        context = Context(Task(1, job), self.cache)
        return [e for e in run(job, context) if isinstance(e, CorrectionsLearnt)]


@pytest.fixture(autouse=True)
def three_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is judged here is what happens after steps."""
    monkeypatch.setattr("napari_unet.engine.training.learner.STEPS", 3)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def weights(path: Path) -> bytes:
    found = load_model(path).weights
    return b"".join(found[name].tobytes() for name in sorted(found))


def test_a_copy_learns_and_says_what_it_has_learnt(bench: Bench) -> None:
    before = bench.model.read_bytes()
    assert bench.learn() == []
    bench.labels[0][BOX] = 2
    (learnt,) = bench.learn(0)
    assert (learnt.path, learnt.count) == (str(bench.copy), 1)
    assert learnt.steps > 0
    assert bench.model.read_bytes() == before
    card = read_card(bench.copy)
    assert card.parent == "cells"
    assert card.score is None
    assert card.segmentation == Segmentation(threshold=0.4)
    assert "1 correction was learnt" in card.notes[-1]
    assert [record.name for record in card.images] == ["cells z=0"]
    assert weights(bench.copy) != weights(bench.model)


def test_undone_to_the_first_no_copy_is_left(bench: Bench) -> None:
    bench.learn()
    bench.labels[0][BOX] = 2
    bench.learn(0)
    bench.labels[1][BOX] = 1
    bench.learn(1)
    two = weights(bench.copy)
    bench.labels[1][BOX] = 0
    assert bench.learn(1)[0].count == 1
    one = weights(bench.copy)
    assert one != two
    bench.labels[0][BOX] = 0
    assert bench.learn(0)[0].count == 0
    assert not bench.copy.exists()
    bench.labels[0][BOX] = 2
    (again,) = bench.learn(0)
    assert (again.count, again.steps) == (1, 0)
    assert weights(bench.copy) == one


def test_a_stroke_that_came_before_it_was_ready_is_a_correction_too(
    bench: Bench,
) -> None:
    bench.labels[0][BOX] = 2
    assert bench.learn(0)[0].count == 1
    bench.labels[0][BOX] = 0
    assert bench.learn(0)[0].count == 0


def test_strokes_that_another_job_read_along_are_corrections_too(bench: Bench) -> None:
    # painted between sending and reading of what gets ready, and of the first
    bench.labels[0][BOX] = 2
    bench.learn()
    bench.labels[1][BOX] = 1
    assert bench.learn(0)[0].count == 1
    (learnt,) = bench.learn(1)
    assert learnt.count == 2
    assert learnt.steps > 0
    bench.labels[1][BOX] = 0
    assert bench.learn(1)[0].count == 1
    bench.labels[0][BOX] = 0
    assert bench.learn(0)[0].count == 0
    assert not bench.copy.exists()


def test_a_worker_that_begins_anew_goes_on_with_the_copy(bench: Bench) -> None:
    bench.labels[0][BOX] = 2
    bench.learn(0)
    one = weights(bench.copy)
    bench.cache.free()
    bench.labels[1][BOX] = 2
    assert bench.learn(1, learnt=1)[0].count == 2
    card = read_card(bench.copy)
    assert "2 corrections were learnt" in card.notes[-1]
    assert [record.name for record in card.images] == ["cells z=0", "cells z=1"]
    bench.labels[1][BOX] = 0
    assert bench.learn(1, learnt=2)[0].count == 1
    assert weights(bench.copy) == one


def test_what_broke_off_is_begun_anew(bench: Bench) -> None:
    bench.learn()
    bench.labels[0][BOX] = 2
    job_before = bench.cache.corrected
    assert job_before is not None
    job_before.learner._seconds = 1e9
    steps = job_before.learner.learn
    job_before.learner.learn = lambda _: (_ for _ in [1 / 0])  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        bench.learn(0)
    assert bench.cache.corrected is None
    job_before.learner.learn = steps  # type: ignore[method-assign]
    assert bench.learn(0)[0].count == 1


def test_objects_of_a_class_that_the_model_does_not_know_are_not_learnt() -> None:
    table = u_shape(ndim=2, channels=1, classes=3, width=2, depth=1)
    model = random_model(table)
    classes = tuple(ClassInfo(name=name) for name in ("b", "a"))
    card = model.card.replace(classes=classes)
    painted = Annotation(
        np.array([[2, 3, 4, 1]]),
        tuple(ClassInfo(name=name) for name in ("a", "b", "other")),
        {2: 1, 3: 2, 4: 3},
    )
    found = with_classes(painted, card)
    assert found.class_image().tolist() == [[2, 1, 255, 0]]
