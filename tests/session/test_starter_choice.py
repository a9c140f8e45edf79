from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.events import StarterChosen
from napari_unet.core.jobs import (
    ChooseStarterJob,
    LoadModelJob,
    PredictFolderJob,
    PredictJob,
)
from napari_unet.core.starters import AUTO, Trial, choose
from napari_unet.io.pretrained import STARTERS, pretrained_model, pretrained_models
from napari_unet.session.models import ModelList
from napari_unet.session.preferences import Preferences
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.session.project.store import ProjectStore

NUCLEI = Trial(STARTERS[0], 40, 0.3, 0.96, 28, 2.0)
PHASE = Trial(STARTERS[-1], 8, 0.1, 0.7, 60, 0.0)


class Bench(SessionBench):
    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.models = ModelList(store, Preferences(), pretrained_models())
        self.control = self.make_prediction(self.models, Preferences())
        self.told: list[tuple[str, str]] = []
        self.control.message.connect(lambda *words: self.told.append(words))

    @property
    def name(self) -> str | None:
        entry = self.models.entry
        return None if entry is None else entry.path.stem

    def answer(self, *trials: Trial) -> None:
        (handle,) = self.worker.running(ChooseStarterJob)
        self.worker.emit(handle, StarterChosen(choose(trials)))
        self.worker.end(handle)

    def close(self) -> None:
        self.control.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, lambda call: call())
    yield bench
    bench.close()


def test_nothing_is_chosen_silently(bench: Bench) -> None:
    assert bench.models.automatic
    assert bench.models.entry is None
    assert bench.control.targets.problem() == "Open an image first."
    bench.viewer.add_image(np.ones((8, 10), np.uint8), name="nuclei")
    assert bench.control.targets.problem() == ""


def test_one_press_chooses_a_model_and_predicts(bench: Bench) -> None:
    bench.viewer.add_image(np.ones((8, 10), np.uint8), name="nuclei")
    assert bench.control.predict("slice", tile=64)
    assert bench.control.running
    assert "which model" in bench.control.status
    (job,) = bench.worker.jobs(ChooseStarterJob)
    assert (job.place, job.focus) == ((0, 0), (4, 5))
    bench.answer(NUCLEI, PHASE)
    (predict,) = bench.worker.jobs(PredictJob)
    assert predict.model == str(pretrained_model("nuclei"))
    assert predict.settings.tile == 64
    choice = bench.control.starter_choice.chosen()
    assert choice is not None
    assert choice.short_reason == "96% sure of its cells here"
    assert bench.control.starter_choice.doubt() == ""
    # the next project chooses by its own image
    assert bench.store.project.models == ()


def test_no_image_is_predicted_in_place_of_the_one_that_was_asked_for(
    bench: Bench,
) -> None:
    first = bench.add(np.ones((8, 10), np.uint8), "nuclei")
    bench.images.set_current(first.id)
    assert bench.control.predict("slice")
    bench.images.set_current(bench.add(np.ones((8, 10), np.uint8), "cells").id)
    bench.answer(NUCLEI, PHASE)
    assert not bench.worker.jobs(PredictJob)
    assert not bench.worker.running(ChooseStarterJob)
    ((level, told),) = bench.told
    assert level == "warning"
    assert told.startswith("nuclei was not predicted, as another image came into view")
    bench.images.set_current(first.id)
    assert bench.control.predict("slice")
    assert len(bench.worker.jobs(PredictJob)) == 1


def test_each_image_has_its_own_choice_and_is_tried_once(bench: Bench) -> None:
    first = bench.add(np.ones((8, 10), np.uint8))
    bench.control.warm_up()
    bench.answer(NUCLEI, PHASE)
    assert bench.name == "nuclei"
    second = bench.add(np.ones((8, 10), np.uint8), "cells")
    bench.images.set_current(second.id)
    assert bench.name is None
    bench.control.warm_up()
    bench.control.warm_up()
    bench.answer(replace(PHASE, sure=0.9), Trial(STARTERS[0], 0))
    assert bench.name == "phase_contrast"
    bench.images.set_current(first.id)
    assert bench.name == "nuclei"
    assert len(bench.worker.jobs(ChooseStarterJob)) == 2


def test_a_starter_that_was_chosen_by_hand_is_doubted_where_it_does_not_suit(
    bench: Bench,
) -> None:
    bench.add(np.ones((8, 10), np.uint8))
    bench.models.select(pretrained_model("phase_contrast"))
    bench.control.warm_up()
    bench.answer(NUCLEI, PHASE)
    assert bench.name == "phase_contrast"
    assert "only 70% sure" in bench.control.starter_choice.doubt()
    assert bench.control.starter_choice.chosen() is None
    bench.control.warm_up()
    assert len(bench.worker.jobs(LoadModelJob)) == 1


def test_no_starter_is_tried_unasked_on_an_image_that_none_can_see(
    bench: Bench,
) -> None:
    bench.add(np.ones((2, 8, 10), np.uint8), axes="cyx")
    bench.control.warm_up()
    assert not bench.worker.jobs(ChooseStarterJob)
    assert "has 2 channels" in bench.control.targets.problem()


def test_what_goes_wrong_is_said_and_cancelling_ends_it(bench: Bench) -> None:
    bench.add(np.ones((8, 10), np.uint8))
    bench.control.predict("slice")
    (handle,) = bench.worker.running(ChooseStarterJob)
    bench.worker.fail(handle, "It is no image.")
    assert not bench.control.running
    assert bench.told == [("error", "It is no image.")]
    bench.control.predict("slice")
    bench.control.cancel()
    (handle,) = bench.worker.running(ChooseStarterJob)
    bench.worker.end(handle, cancelled=True)
    assert not bench.control.running
    assert bench.worker.jobs(PredictJob) == []


def test_a_folder_is_left_to_its_own_first_image(bench: Bench, tmp_path: Path) -> None:
    bench.control.predict_folder(tmp_path, tmp_path / "out")
    (job,) = bench.worker.jobs(PredictFolderJob)
    assert (job.model, job.segmentation) == (AUTO, None)
    (handle,) = bench.worker.running(PredictFolderJob)
    bench.worker.emit(handle, StarterChosen(choose((NUCLEI, PHASE))))
    assert bench.control.folder is not None
    assert bench.control.folder.notes == [
        "Took nuclei: nuclei is 96% sure of its cells here, phase_contrast is 70% sure."
    ]


def test_automatic_is_left_by_a_choice_and_chosen_again(bench: Bench) -> None:
    image = bench.add(np.ones((8, 10), np.uint8))
    bench.control.warm_up()
    bench.answer(NUCLEI, PHASE)
    bench.models.select(pretrained_model("nuclei"))
    assert not bench.models.automatic
    bench.models.propose("phase_contrast")
    assert bench.name == "nuclei"
    bench.models.select_automatic()
    assert bench.name == "nuclei"
    assert bench.models.automatic
    assert bench.control.starter_choice.knows(image.id)
