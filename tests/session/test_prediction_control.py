from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from tifffile import imread

from example_models import random_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.events import (
    FilePredicted,
    FileWritten,
    Notice,
    PredictionFinished,
    TileDone,
)
from napari_unet.core.jobs import (
    ExportJob,
    LoadModelJob,
    MeasureJob,
    PointsJob,
    PredictFolderJob,
    PredictJob,
    RemotePredictFolderJob,
    RemotePredictJob,
    SegmentJob,
)
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.io.model_file import save_model
from napari_unet.session.future import Future
from napari_unet.session.images.layers import find, noted
from napari_unet.session.models import ModelList
from napari_unet.session.preferences import Preferences
from napari_unet.session.worker.client import WORKER_ENDED
from session_bench import SessionBench
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle


class Bench(SessionBench):
    """A control with everything around it."""

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        for ndim in (2, 3):
            table = u_shape(ndim=ndim, channels=1, classes=2, width=2, depth=1)
            save_model(random_model(table), self.model_file(ndim))
        self.models = ModelList(store, Preferences())
        self.models.select(self.model_file(2))
        self.control = self.make_prediction(self.models)
        self.told: list[tuple[str, str]] = []
        self.control.message.connect(lambda *words: self.told.append(words))

    def model_file(self, ndim: int) -> Path:
        return self.store.run_folder / f"model {ndim}d.safetensors"

    @property
    def image(self) -> ProjectImage:
        image = self.images.current
        assert image is not None
        return image

    @property
    def roles(self) -> list[str]:
        return [
            layer.metadata.get("napari-unet", {}).get("role")
            for layer in self.viewer.layers
        ]

    def close(self) -> None:
        self.control.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path, clock: list[float]) -> Iterator[Bench]:
    bench = Bench(tmp_path, lambda call: call())
    yield bench
    bench.close()


def add_stack(bench: Bench, name: str = "stack", frames: int = 0) -> Any:
    shape = (frames, 4, 8, 10) if frames else (4, 8, 10)
    layer = bench.viewer.add_image(np.ones(shape, np.uint8), name=name)
    bench.images.add([layer])
    return layer


def at(bench: Bench, z: int) -> None:
    bench.viewer.dims.set_current_step(bench.viewer.dims.ndim - 3, z)


def test_a_slice_is_predicted_around_the_middle_of_the_view(bench: Bench) -> None:
    add_stack(bench)
    at(bench, 2)
    assert bench.control.predict("slice", averaging="dihedral", tile=64)
    (job,) = bench.worker.jobs(PredictJob)
    assert job.places == ((0, 2),)
    assert job.region is None
    assert job.focus == (4, 5)
    assert job.model == str(bench.models.selected)
    assert (job.settings.averaging, job.settings.tile) == ("dihedral", 64)
    assert job.settings.device == "cpu"
    assert job.entropy is not None
    assert job.image.channels[0].shape == (4, 8, 10)
    assert bench.control.running


def test_pixels_of_the_whole_frame_are_shared_before(bench: Bench) -> None:
    layer = add_stack(bench)
    layer.data[:] = 7
    at(bench, 2)
    bench.control.predict("slice")
    (job,) = bench.worker.jobs(PredictJob)
    assert (job.image.channels[0].open() == 7).all()


def test_of_a_view_only_its_box_is_predicted(bench: Bench) -> None:
    layer = add_stack(bench)
    layer.corner_pixels = np.array([[0, 2, 1], [0, 5, 8]])
    bench.control.predict("view")
    (job,) = bench.worker.jobs(PredictJob)
    assert job.region == (slice(2, 6), slice(1, 9))
    assert job.focus == (4, 5)


def test_the_slice_in_view_is_first_of_an_image_then_its_neighbours(
    bench: Bench,
) -> None:
    add_stack(bench, frames=2)
    bench.viewer.dims.set_current_step(0, 1)
    at(bench, 2)
    bench.control.predict("layer")
    (job,) = bench.worker.jobs(PredictJob)
    assert job.places[:4] == ((1, 2), (1, 1), (1, 3), (1, 0))
    assert job.places[4:] == ((0, 2), (0, 1), (0, 3), (0, 0))


def test_a_network_for_volumes_gets_volumes(bench: Bench) -> None:
    add_stack(bench)
    at(bench, 3)
    bench.models.select(bench.model_file(3))
    bench.control.predict("view")
    (job,) = bench.worker.jobs(PredictJob)
    assert job.places == ((0, None),)
    assert job.region == (slice(0, 4), slice(0, 8), slice(0, 10))
    assert job.focus == (3.5, 4, 5)


def test_cells_follow_each_plane_and_are_linked_at_the_end(bench: Bench) -> None:
    add_stack(bench)
    at(bench, 1)
    bench.control.predict("layer")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle, planes=1)
    (segment,) = bench.worker.running(SegmentJob)
    assert segment.job.places == ((0, 1),)
    assert segment.job.axes == "czyx"
    bench.worker.find_all_cells()
    assert bench.control.cells_in_view() == 5
    assert bench.control.running
    assert not any(job.link for job in bench.worker.jobs(SegmentJob))
    bench.worker.predict(handle)
    bench.worker.end(handle)
    assert not bench.control.running
    bench.worker.find_all_cells()
    done = [p for job in bench.worker.jobs(SegmentJob) for p in job.places]
    assert set(done) == {(0, 0), (0, 1), (0, 2), (0, 3)}
    links = [job for job in bench.worker.jobs(SegmentJob) if job.link]
    assert [job.places for job in links] == [()]
    assert bench.control.segmenter.idle


def test_one_slice_or_volumes_are_not_linked(bench: Bench) -> None:
    add_stack(bench)
    bench.control.predict("slice")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle)
    bench.worker.end(handle)
    bench.worker.find_all_cells()
    assert not any(job.link for job in bench.worker.jobs(SegmentJob))


def movie(bench: Bench) -> PredictJob:
    """Predict a cell that moves by a pixel and divides, beside one that stays."""
    bench.add(np.ones((4, 8, 20), np.uint8), "movie", "tyx", scale=(1, 0.5, 0.5))
    bench.control.predict("layer")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle)
    job: Any = handle.job
    p = job.probabilities.open(writable=True)
    p[1] = 0
    p[1, :, 5:8, 15:18] = 1
    p[1, 0, 1:4, 3:9], p[1, 1, 1:4, 4:10] = 1, 1
    p[1, 2:, 1:4, 3:6], p[1, 2:, 1:4, 9:12] = 1, 1
    bench.worker.end(handle)
    return job


def test_cells_of_a_movie_are_followed_shown_and_exported(
    bench: Bench, clock: list[float], tmp_path: Path
) -> None:
    settings = Segmentation(min_size=0, ridge=0, track=True)
    bench.control.set_segmentation(settings)
    clock[0] += 1
    movie(bench)
    # what is exported waits until cells are followed
    bench.control.exporter.export(tmp_path, [bench.image.id], masks=False)
    bench.worker.do_all(SegmentJob)
    (tracks,) = find(bench.viewer, "tracks")
    assert tracks.name == "Tracks · movie"
    assert [row[:2] for row in tracks.data.tolist()] == [
        [1, 0], [1, 1], [2, 0], [2, 1], [2, 2], [2, 3], [3, 2], [3, 3], [4, 2], [4, 3]
    ]  # fmt: skip
    assert tracks.data[1].tolist() == [1, 1, 2, 6.5]
    assert tracks.graph == {3: [1], 4: [1]}
    np.testing.assert_allclose(tracks.scale, (1, 0.5, 0.5))
    (cells,) = find(bench.viewer, "cells")
    assert cells.data[:, 2, 5].tolist() == [1, 1, 3, 3]
    (job,) = bench.worker.jobs(ExportJob)
    assert job.parents == {3: 1, 4: 1}
    assert noted(cells)["parents"] == job.parents  # for napari's own Save
    # a threshold that moves follows the cells anew, in the same layer
    bench.control.set_segmentation(settings.replace(threshold=0.6))
    clock[0] += 1
    bench.control.tick()
    bench.worker.do_all(SegmentJob)
    assert find(bench.viewer, "tracks") == [tracks]
    # one that people deleted stays away
    bench.viewer.layers.remove(tracks)
    bench.control.set_segmentation(settings)
    clock[0] += 1
    bench.control.tick()
    bench.worker.do_all(SegmentJob)
    assert not find(bench.viewer, "tracks")


def test_cells_are_not_followed_once_that_is_switched_off(
    bench: Bench, clock: list[float], tmp_path: Path
) -> None:
    settings = Segmentation(min_size=0, ridge=0, track=True)
    bench.control.set_segmentation(settings)
    clock[0] += 1
    movie(bench)
    bench.worker.do_all(SegmentJob)
    assert find(bench.viewer, "tracks")
    bench.control.set_segmentation(settings.replace(track=False))
    assert not find(bench.viewer, "tracks")
    (cells,) = find(bench.viewer, "cells")
    assert noted(cells)["parents"] is None
    clock[0] += 1
    bench.control.tick()
    bench.worker.do_all(SegmentJob)
    (cells,) = find(bench.viewer, "cells")
    assert cells.data.max(axis=(1, 2)).tolist() == [2, 2, 3, 3]
    bench.control.exporter.export(tmp_path, [bench.image.id], masks=False)
    (job,) = bench.worker.jobs(ExportJob)
    assert job.parents is None


def test_a_worker_that_dies_while_it_links_leaves_no_half_linked_cells(
    bench: Bench, clock: list[float]
) -> None:
    bench.control.set_segmentation(Segmentation(min_size=0, ridge=0, track=True))
    clock[0] += 1
    job = movie(bench)
    while not (running := bench.worker.running(SegmentJob))[0].job.link:
        bench.worker.emit(running[0], *bench.worker.compute(running[0]))
        bench.worker.end(running[0])
    running[0].job.cells.open(writable=True)[0] = 77
    bench.worker.fail(running[0], "It was ended.", WORKER_ENDED)
    bench.worker.do_all(SegmentJob)
    (cells,) = find(bench.viewer, "cells")
    assert sorted(set(cells.data[0].ravel().tolist())) == [0, 1, 2]
    assert job.places is not None


def predicted(bench: Bench, what: Any = "layer") -> None:
    """Predict an image and find its cells."""
    bench.control.predict(what)
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle)
    bench.worker.end(handle)
    bench.worker.find_all_cells()


def test_while_a_setting_moves_only_the_slice_in_view_is_done_with_the_newest(
    bench: Bench, clock: list[float]
) -> None:
    add_stack(bench)
    at(bench, 1)
    predicted(bench)
    before = len(bench.worker.handles)
    for threshold in (0.6, 0.7, 0.8):
        bench.control.set_segmentation(Segmentation(threshold=threshold))
    (handle,) = bench.worker.handles[before:]
    assert handle.job.places == ((0, 1),)
    assert handle.job.settings.threshold == 0.6
    bench.worker.find_cells(handle, 9)
    assert bench.control.cells_in_view() == 9
    _, newest = bench.worker.handles[before:]
    assert newest.job.settings.threshold == 0.8
    bench.worker.find_cells(newest)
    assert bench.worker.running(SegmentJob) == []


def test_the_other_slices_follow_when_the_setting_rests(
    bench: Bench, clock: list[float]
) -> None:
    add_stack(bench)
    at(bench, 1)
    predicted(bench)
    bench.control.set_segmentation(Segmentation(threshold=0.6))
    bench.worker.find_all_cells()
    bench.control.tick()
    assert bench.worker.running(SegmentJob) == []
    clock[0] += 1
    bench.control.tick()
    (behind,) = bench.worker.running(SegmentJob)
    assert set(behind.job.places) == {(0, 0), (0, 2), (0, 3)}
    bench.control.set_segmentation(Segmentation(threshold=0.7))
    assert bench.worker.cancelled == [behind]
    assert bench.store.project.segmentation.threshold == 0.6


def test_a_slice_that_comes_into_view_before_its_turn_is_done_at_once(
    bench: Bench,
) -> None:
    add_stack(bench)
    at(bench, 1)
    predicted(bench)
    bench.control.set_segmentation(Segmentation(threshold=0.6))
    bench.worker.find_all_cells()
    at(bench, 3)
    (handle,) = bench.worker.running(SegmentJob)
    assert handle.job.places == ((0, 3),)


def test_cells_of_a_plane_that_is_predicted_again_are_found_again(
    bench: Bench,
) -> None:
    add_stack(bench)
    bench.control.predict("slice")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle)
    (early,) = bench.worker.running(SegmentJob)
    bench.worker.predict(handle)
    bench.worker.find_cells(early)
    (late,) = bench.worker.running(SegmentJob)
    assert late.job.places == early.job.places
    bench.worker.find_cells(late)
    assert bench.worker.running(SegmentJob) == []


def test_settings_are_those_of_the_model_that_is_chosen(bench: Bench) -> None:
    seen: list[Segmentation] = []
    bench.control.segmentation_changed.connect(seen.append)
    folder = bench.store.run_folder
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    own = Segmentation(threshold=0.3, min_size=99)
    tuned = type(model)(model.card.replace(segmentation=own), model.weights)
    save_model(tuned, folder / "tuned.safetensors")
    bench.models.select(folder / "tuned.safetensors")
    assert bench.control.segmentation == own
    assert seen == [own]


def own_settings(bench: Bench, name: str, **changes: Any) -> Path:
    """Write a model that finds cells in its own way."""
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    card = model.card.replace(segmentation=Segmentation(**changes))
    path = bench.store.run_folder / f"{name}.safetensors"
    save_model(type(model)(card, model.weights), path)
    return path


def begun_anew(bench: Bench) -> Segmentation:
    """Return the settings that the project is opened with the next time."""
    bench.control.close()
    bench.models = ModelList(bench.store, Preferences())
    bench.control = bench.make_prediction(bench.models, Preferences())
    return bench.control.segmentation


def test_the_model_that_is_chosen_to_begin_with_has_the_settings_of_its_card(
    bench: Bench,
) -> None:
    first = own_settings(bench, "first", threshold=0.3, min_size=99)
    bench.models.select(first)
    bench.models.note_use()
    assert begun_anew(bench) == Segmentation(threshold=0.3, min_size=99)
    assert bench.models.selected == first
    # also where another model was looked at in between
    second = own_settings(bench, "second", threshold=0.8)
    bench.models.refresh()
    bench.models.select(second)
    assert begun_anew(bench) == Segmentation(threshold=0.3, min_size=99)
    assert bench.models.selected == first


def test_settings_that_people_changed_come_back_with_their_model(bench: Bench) -> None:
    first = own_settings(bench, "first", threshold=0.3)
    second = own_settings(bench, "second", threshold=0.8)
    for path in (first, second):
        bench.models.select(path)
        bench.models.note_use()
    bench.models.select(first)
    changed = Segmentation(threshold=0.35)
    bench.control.set_segmentation(changed)
    assert begun_anew(bench) == changed
    assert bench.models.selected == first
    assert begun_anew(bench) == changed
    # the file went: they are not those of another model
    first.unlink()
    assert begun_anew(bench) == Segmentation(threshold=0.8)
    assert bench.models.selected == second


def test_a_second_prediction_fills_the_same_layers(bench: Bench) -> None:
    add_stack(bench)
    at(bench, 1)
    predicted(bench, "slice")
    at(bench, 2)
    predicted(bench, "slice")
    bench.control.tick()
    assert bench.roles == [None, "cells"]
    one, two = bench.worker.jobs(PredictJob)
    assert one.probabilities == two.probabilities
    assert bench.control.cells_in_view() == 5


def test_another_model_is_seen_in_the_same_layer(bench: Bench) -> None:
    add_stack(bench)
    predicted(bench)
    bench.models.select(bench.model_file(3))
    predicted(bench)
    (layer,) = find(bench.viewer, "cells")
    assert layer.name == "Cells (model 3d) · stack"
    first, second = bench.control.model_results.of_image(bench.image.id)
    assert layer.data is second.files.arrays["cells"]
    # who looks at the first again exports and edits that
    bench.control.model_results.show_again(first)
    assert layer.data is first.files.arrays["cells"]
    assert bench.control.results_in_view() is first


def test_a_model_written_anew_takes_over_its_layers(bench: Bench) -> None:
    add_stack(bench)
    predicted(bench)
    (cells,) = find(bench.viewer, "cells")
    cells.opacity = 0.9
    path = bench.models.selected
    assert path is not None
    save_model(
        random_model(u_shape(ndim=2, channels=1, classes=2, width=3, depth=1)), path
    )
    bench.models.refresh()
    predicted(bench)
    assert find(bench.viewer, "cells") == [cells]
    assert cells.opacity == 0.9
    one, two = bench.worker.jobs(PredictJob)
    assert one.probabilities != two.probabilities


def test_a_renamed_model_keeps_its_results_and_settings(bench: Bench) -> None:
    add_stack(bench)
    predicted(bench, "slice")
    bench.control.set_segmentation(Segmentation(threshold=0.35))
    (results,) = bench.control.results.values()
    before = bench.models.entry
    assert before is not None
    path = before.path.rename(before.path.with_name("figure 2.safetensors"))
    bench.control.use_instead(before, path)
    assert bench.models.selected == path
    assert bench.control.segmentation == Segmentation(threshold=0.35)
    at(bench, 2)
    predicted(bench, "slice")
    assert list(bench.control.results.values()) == [results]
    assert len(results.made) == 2


def test_tables_are_made_of_an_image_that_was_opened_again(bench: Bench) -> None:
    layer = add_stack(bench)
    predicted(bench)
    bench.control.tables.watch()
    bench.worker.find_all_cells()
    (first,) = bench.worker.jobs(MeasureJob)
    bench.worker.end(bench.worker.running(MeasureJob)[0])
    # other pixels, in another array
    layer.data = layer.data + 1
    bench.control.tick()
    (second,) = bench.worker.running(MeasureJob)
    assert second.job.image.channels != first.image.channels
    assert (second.job.image.open().data == 2).all()


def test_without_a_model_or_an_image_it_says_what_to_do(bench: Bench) -> None:
    assert not bench.control.predict("slice")
    add_stack(bench)
    bench.models.select(None)
    assert not bench.control.predict("slice")
    assert bench.told == [
        ("error", "Open an image first."),
        ("error", "Choose a model first: train one, or drop a model file here."),
    ]


def test_channels_must_be_those_of_the_model(bench: Bench) -> None:
    layer = bench.viewer.add_image(np.ones((8, 10, 3), np.uint8), rgb=True, name="rgb")
    bench.images.add([layer])
    assert not bench.control.predict("slice")
    assert bench.told == [
        (
            "error",
            "model 2d was trained on images with 1 channel, rgb has 3 channels: "
            "choose another model or image.",
        )
    ]
    assert bench.worker.handles == []


def test_a_new_image_with_other_channels_is_refused_before_it_is_taken_in(
    bench: Bench,
) -> None:
    add_stack(bench)
    layer = bench.viewer.add_image(np.ones((8, 10, 3), np.uint8), rgb=True, name="rgb")
    bench.viewer.layers.selection.active = layer
    assert "rgb has 3 channels" in bench.control.targets.problem()
    assert not bench.control.predict("slice")
    assert [image.name for image in bench.store.project.images] == ["stack"]
    assert bench.control.predict("images")


@pytest.mark.parametrize(
    ("pixel", "remark", "warned", "smallest"),
    [
        (0.5, "", False, 40),
        (0.52, "", False, 40),
        (0.25, "it is resampled for the network", False, 160),
        (9.0, "one of the two must be wrong", True, 40),
    ],
)
def test_an_image_of_another_pixel_size_is_resampled(
    bench: Bench, pixel: float, remark: str, warned: bool, smallest: int
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    card = model.card.replace(
        spacing_um=(0.5, 0.5), segmentation=Segmentation(min_size=40)
    )
    save_model(
        type(model)(card, model.weights), bench.store.run_folder / "a.safetensors"
    )
    bench.models.select(bench.store.run_folder / "a.safetensors")
    layer = bench.viewer.add_image(
        np.ones((8, 10), np.uint8),
        name="image",
        scale=(pixel, pixel),
        units=("um", "um"),
    )
    bench.images.add([layer])
    bench.images.set_current(bench.store.project.images[-1].id)
    told = bench.control.targets.resampling()
    assert remark in told if remark else not told
    assert bench.control.predict("slice")
    assert [level for level, _ in bench.told] == (["warning"] if warned else [])
    (job,) = bench.worker.jobs(PredictJob)
    assert job.settings.rescale != warned
    # settings in pixels of the model, cells in those of the image
    bench.worker.predict(bench.worker.running(PredictJob)[0])
    (cells,) = bench.worker.jobs(SegmentJob)
    assert cells.settings.min_size == smallest


@pytest.mark.parametrize(("ndim", "warned"), [(2, False), (3, True)])
def test_a_single_plane_for_a_network_of_volumes_is_told_once(
    bench: Bench, ndim: int, warned: bool
) -> None:
    bench.models.select(bench.model_file(ndim))
    layer = bench.viewer.add_image(np.ones((8, 10), np.uint8), name="flat")
    bench.images.add([layer])
    bench.images.set_current(bench.store.project.images[-1].id)
    for _ in range(2):
        assert bench.control.predict("slice")
        bench.control.cancel()
        bench.worker.end(bench.worker.running(PredictJob)[0], cancelled=True)
    assert [level for level, _ in bench.told] == ["warning"] * warned
    assert all(text.startswith("flat: it has one slice") for _, text in bench.told)


def test_an_image_that_is_not_in_the_project_is_added_unticked(bench: Bench) -> None:
    layer = bench.viewer.add_image(np.ones((8, 10), np.uint8), name="new")
    bench.viewer.layers.selection.active = layer
    assert bench.control.predict("slice")
    (image,) = bench.store.project.images
    assert (image.name, image.use_for_training) == ("new", False)


def test_all_open_images_are_predicted_one_after_the_other(bench: Bench) -> None:
    add_stack(bench, "one")
    two = add_stack(bench, "two")
    two.data[:] = 3
    bench.viewer.add_image(np.ones((8, 10), np.uint8), name="three")
    bench.viewer.add_image(np.ones((8, 10, 3), np.uint8), name="rgb", rgb=True)
    bench.viewer.layers.selection.active = two
    assert bench.control.predict("images")
    names = []
    shares: list[float] = []
    bench.control.progressed.connect(shares.append)
    while bench.control.running:
        (handle,) = bench.worker.running(PredictJob)
        names.append(handle.job.image.name)
        bench.worker.predict(handle)
        bench.worker.end(handle)
    assert names[0] == "two"
    assert sorted(names) == ["one", "three", "two"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(bench.control.results) == 3


def test_an_image_that_fails_does_not_keep_the_others_from_being_done(
    bench: Bench,
) -> None:
    add_stack(bench, "one")
    two = add_stack(bench, "two")
    two.data[:] = 3
    bench.control.predict("images")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.fail(handle, "The image is not finite.")
    assert bench.told == [("error", "The image is not finite.")]
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle)
    bench.worker.end(handle)
    assert not bench.control.running


def test_an_image_that_leaves_while_it_waits_is_told_in_a_sentence(
    bench: Bench,
) -> None:
    add_stack(bench, "one")
    two = add_stack(bench, "two")
    two.data[:] = 3
    last = bench.images.id_of(two)
    assert last is not None
    bench.control.predict("images")
    (handle,) = bench.worker.running(PredictJob)
    waiting = {image.id for image in bench.store.project.images}
    waiting -= {id_ for id_ in waiting if id_ in bench.control.results}
    bench.images.remove(*waiting)
    bench.worker.predict(handle)
    bench.worker.end(handle)
    assert bench.told == [("error", "The image was removed from the project.")]


def test_what_was_done_before_a_cancel_is_kept_and_gets_cells(bench: Bench) -> None:
    add_stack(bench, "one")
    add_stack(bench, "two").data[:] = 3
    bench.control.predict("images")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle, planes=2)
    bench.control.cancel()
    assert bench.worker.cancelled == [handle]
    bench.worker.end(handle, cancelled=True)
    assert not bench.control.running
    assert bench.worker.running(PredictJob) == []
    bench.worker.find_all_cells()
    done = {p for job in bench.worker.jobs(SegmentJob) for p in job.places}
    assert done == set(handle.job.places[:2])
    assert "kept" in bench.control.status


def test_it_does_not_begin_twice(bench: Bench) -> None:
    add_stack(bench)
    bench.control.predict("slice")
    assert not bench.control.predict("slice")
    assert bench.told == [("error", "A prediction is running: cancel it first.")]


def test_every_layer_may_be_deleted_in_mid_prediction(bench: Bench) -> None:
    add_stack(bench)
    bench.control.predict("layer")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle, planes=1)
    bench.viewer.layers.clear()
    bench.worker.predict(handle)
    bench.worker.end(handle)
    bench.worker.find_all_cells()
    bench.control.tick()
    assert not bench.control.running
    assert bench.told == []


def test_uncertainty_is_shown_on_request(bench: Bench) -> None:
    add_stack(bench)
    predicted(bench, "slice")
    assert bench.roles == [None, "cells"]
    results = bench.control.results_in_view()
    assert results is not None
    results.show("entropy")
    (layer,) = find(bench.viewer, "entropy")
    assert layer.data is results.files.arrays["entropy"]


def test_a_worker_that_died_runs_nothing(bench: Bench) -> None:
    add_stack(bench)
    bench.control.predict("layer")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle, planes=1)
    bench.worker.fail(handle, "It died.", WORKER_ENDED)
    assert not bench.control.running
    bench.worker.find_all_cells()
    assert bench.control.cells_in_view() == 5
    assert bench.control.predict("layer")


def test_a_failure_to_find_cells_is_told_once(bench: Bench) -> None:
    add_stack(bench)
    bench.control.predict("slice")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.predict(handle)
    (segment,) = bench.worker.running(SegmentJob)
    bench.worker.fail(segment, "No memory is left.")
    bench.control.tick()
    assert bench.told == [("error", "No memory is left.")]
    assert bench.worker.running(SegmentJob) == []


def test_warming_up_reads_a_model_once(bench: Bench) -> None:
    bench.control.warm_up()
    bench.control.warm_up()
    assert len(bench.worker.jobs(LoadModelJob)) == 1
    bench.models.select(bench.model_file(3))
    bench.control.warm_up()
    assert len(bench.worker.jobs(LoadModelJob)) == 1


def test_files_of_two_images_have_never_the_same_names(
    bench: Bench, tmp_path: Path
) -> None:
    for name in ("a:b", "a?b"):  # both a_b as files
        layer = add_stack(bench, name)
        bench.viewer.layers.selection.active = layer
        predicted(bench)
    ids = {image.name: image.id for image in bench.store.project.images}
    bench.control.exporter.export(tmp_path, ids.values())
    until(lambda: bench.worker.running(ExportJob))
    (handle,) = bench.worker.running(ExportJob)
    assert (handle.job.name, handle.job.image) == (
        "a_b",
        bench.images.reference(ids["a:b"]),
    )
    bench.worker.end(handle)
    assert not bench.control.exporter.running
    ((level, told),) = bench.told
    assert level == "error"
    assert "a?b: its files would have the names of those of a:b" in told


def test_an_export_of_all_leaves_out_what_is_gone_and_says_so(
    bench: Bench, tmp_path: Path
) -> None:
    layers = {}
    for name in ("kept", "removed", "closed"):
        layers[name] = add_stack(bench, name)
        layers[name].data[:] = len(layers)
        bench.viewer.layers.selection.active = layers[name]
        predicted(bench)
    exporter = bench.control.exporter
    ids = {image.name: image.id for image in bench.store.project.images}
    assert bench.control.unexported() == ["kept", "removed", "closed"]
    bench.images.remove(ids["removed"])
    bench.viewer.layers.remove(layers["closed"])
    assert exporter.existing_files(tmp_path, ids.values()) == []
    for name in ("removed", "closed"):
        with pytest.raises(ValueError, match=f"{name} (was removed|is closed)"):
            exporter.export(tmp_path, [ids[name]])
    assert not exporter.running
    exporter.export(tmp_path, ids.values())
    until(lambda: bench.worker.running(ExportJob))
    (handle,) = bench.worker.running(ExportJob)
    assert handle.job.name == "kept"
    handle.event.emit(FileWritten(str(tmp_path / "kept_cells.tif"), 1.0))
    bench.worker.end(handle)
    assert not exporter.running
    ((level, told),) = bench.told
    assert level == "error"
    assert told.startswith(f"1 file is in {tmp_path} now. Not exported: ")
    assert "removed was removed from the project." in told
    assert "closed is closed: open its file" in told
    assert bench.control.unexported() == ["removed", "closed"]


def test_exports_that_fail_are_told_once_with_those_that_did_not(
    bench: Bench, tmp_path: Path
) -> None:
    ids = []
    for number, name in enumerate(("a", "b", "c")):
        add_stack(bench, name).data[:] = number
        ids.append(bench.store.project.images[-1].id)
        bench.viewer.layers.selection.active = bench.images.layers(ids[-1])[0]
        predicted(bench)
    bench.control.exporter.export(tmp_path, ids)
    until(lambda: len(bench.worker.running(ExportJob)) == 3)
    a, b, c = bench.worker.running(ExportJob)
    bench.worker.fail(a, "The disk is full.")
    b.event.emit(FileWritten(str(tmp_path / "b_cells.tif"), 1.0))
    bench.worker.end(b)
    assert bench.told == []
    bench.worker.fail(c, "It died.", WORKER_ENDED)
    told = (
        f"1 file is in {tmp_path} now. Not exported: a: The disk is full. c: It died."
    )
    assert bench.told == [("error", told)]
    assert bench.control.unexported() == ["a", "c"]


def test_an_export_of_a_part_says_that_the_rest_is_empty(
    bench: Bench, tmp_path: Path
) -> None:
    add_stack(bench, "a")
    predicted(bench, "slice")
    bench.control.exporter.export(tmp_path, [bench.image.id])
    until(lambda: bench.worker.running(ExportJob))
    (handle,) = bench.worker.running(ExportJob)
    handle.event.emit(FileWritten(str(tmp_path / "a_cells.tif"), 1.0))
    bench.worker.end(handle)
    said = "Predicted of a: 1 of 4 slices; the others are empty."
    assert bench.told == [("warning", f"1 file is in {tmp_path} now. {said}")]


def test_an_export_waits_for_cells_that_fit_the_settings(
    bench: Bench, clock: list[float], tmp_path: Path
) -> None:
    add_stack(bench, "a/b")
    predicted(bench)
    bench.control.set_segmentation(Segmentation(threshold=0.7))
    exporter = bench.control.exporter
    exporter.export(tmp_path, [bench.image.id], probabilities=True, format="zarr")
    assert bench.worker.jobs(ExportJob) == []
    assert exporter.running
    clock[0] += 1
    bench.worker.find_all_cells()
    (handle,) = bench.worker.running(ExportJob)
    job: Any = handle.job
    assert (job.folder, job.name, job.format) == (str(tmp_path), "a_b", "zarr")
    assert job.cells is not None
    assert job.probabilities is not None
    handle.event.emit(FileWritten(str(tmp_path / "a_b cells.zarr"), 0.5))
    handle.event.emit(FileWritten(str(tmp_path / "a_b.csv"), 1.0))
    bench.worker.end(handle)
    assert bench.told == [("info", f"2 files are in {tmp_path} now.")]
    assert not exporter.running


def test_files_in_the_way_are_those_that_begin_with_the_name(
    bench: Bench, tmp_path: Path
) -> None:
    add_stack(bench, "cell")
    ours = ["cell_cells.csv", "cell_cells.tif", "cell_cells_RoiSet.zip"]
    for name in (*ours, "cells_cells.tif", "cell.tif"):
        (tmp_path / name).touch()
    found = bench.control.exporter.existing_files(tmp_path, [bench.image.id])
    assert [path.name for path in found] == ours


def test_nothing_to_export_is_told(bench: Bench, tmp_path: Path) -> None:
    add_stack(bench)
    export = bench.control.exporter.export
    with pytest.raises(ValueError, match="stack has not been predicted yet"):
        export(tmp_path, [bench.image.id])
    with pytest.raises(ValueError, match="Choose masks, probabilities, points or the"):
        export(tmp_path, [bench.image.id], masks=False, table=False)


def test_how_long_it_took_is_told(bench: Bench) -> None:
    add_stack(bench)
    bench.control.predict("slice")
    (handle,) = bench.worker.running(PredictJob)
    handle.event.emit(
        PredictionFinished(None, "czyx", (64, 64), "the CPU", "fp32", 1.25)
    )
    bench.worker.end(handle)
    assert bench.control.status == "1.2 s on the CPU, fp32."


def test_a_worker_fills_the_layers_and_writes_the_files(
    tmp_path: Path, pump: Any
) -> None:
    from napari_unet.session.workspace import Workspace

    viewer = ViewerModel()
    workspace = Workspace(
        viewer, pump.post, Preferences(device="cpu"), tmp_path / "projects"
    )
    try:
        model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
        save_model(model, tmp_path / "blobs.safetensors")
        pixels = np.random.default_rng(0).integers(0, 255, (2, 40, 50), np.uint8)
        layer = viewer.add_image(pixels, name="blobs")
        viewer.layers.selection.active = layer
        workspace.models.select(tmp_path / "blobs.safetensors")
        control = workspace.prediction
        told: list[str] = []
        control.message.connect(lambda _level, text: told.append(text))
        assert control.predict("layer")
        pump.until(lambda: not control.running and control.segmenter.idle)
        (image,) = workspace.store.project.images
        files = control.results[image.id].files
        np.testing.assert_allclose(files.arrays["probability"].sum(0), 1, atol=1e-5)
        likely = files.arrays["probability"].argmax(0)
        np.testing.assert_array_equal(files.arrays["classes"], likely)
        assert files.arrays["entropy"].max() > 0
        cells = np.array(files.arrays["cells"])
        control.exporter.export(tmp_path, [image.id])
        pump.until(lambda: not control.exporter.running)
        assert told == [f"2 files are in {tmp_path} now."]
        assert (tmp_path / "blobs_cells.csv").exists()
        np.testing.assert_array_equal(imread(tmp_path / "blobs_cells.tif"), cells)
    finally:
        workspace.close()


def test_pixels_that_cannot_be_had_are_told_once_and_nothing_waits(
    bench: Bench, clock: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_stack(bench)
    predicted(bench)
    refused = Future(lambda call: call())
    refused.finish("The disk is full.")
    monkeypatch.setattr(bench.images, "share_frames", lambda *_: refused)
    bench.control.predict("slice")
    assert not bench.control.running
    assert bench.control.status == "Not done."
    bench.control.exporter.export(tmp_path, [bench.image.id])
    clock[0] += 1
    bench.worker.find_all_cells()
    assert not bench.control.exporter.running
    assert bench.told == [("error", "The disk is full.")] * 2
    assert len(bench.worker.jobs(PredictJob)) == 1
    assert bench.worker.jobs(ExportJob) == []


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_what_ends_while_pixels_are_copied_does_not_begin_after_that(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    add_stack(bench)
    copied = Future(lambda call: call())
    monkeypatch.setattr(bench.images, "share_frames", lambda *_: copied)
    bench.control.predict("slice")
    assert bench.control.running
    if how == "cancelled":
        bench.control.cancel()
        assert bench.control.status == "Cancelled."
    else:
        begun_anew(bench)
    copied.finish()
    assert not bench.control.running
    assert bench.worker.handles == []
    assert results_on_disk(bench) == []
    assert len(bench.viewer.layers) == 1


def test_device_and_memory_are_those_of_the_preferences(bench: Bench) -> None:
    add_stack(bench)
    bench.session.preferences = Preferences(device="cuda:1", memory_gb=3)
    bench.control.predict("slice", averaging="dihedral")
    (job,) = bench.worker.jobs(PredictJob)
    assert job.settings == Prediction(
        device="cuda:1", memory_gb=3, averaging="dihedral"
    )


def test_the_table_knows_the_classes_where_probabilities_are_not_written(
    bench: Bench, clock: list[float], tmp_path: Path
) -> None:
    add_stack(bench)
    predicted(bench)
    bench.control.exporter.export(tmp_path, [bench.image.id])
    clock[0] += 1
    bench.worker.find_all_cells()
    (job,) = bench.worker.jobs(ExportJob)
    assert job.probabilities is not None
    assert (job.masks, job.table, job.maps) == (True, True, False)


def results_on_disk(bench: Bench) -> list[Path]:
    scratch = bench.store.folder.parents[1] / "scratch"
    return [p for p in scratch.iterdir() if not p.name.startswith("pixels-")]


def test_the_files_of_results_that_are_deleted_go(bench: Bench) -> None:
    layer = add_stack(bench)
    bench.control.predict("slice")
    assert len(results_on_disk(bench)) == 4
    bench.control.tick()
    for other in [one for one in bench.viewer.layers if one is not layer]:
        bench.viewer.layers.remove(other)
    # the worker is writing into them
    bench.control.tick()
    assert len(results_on_disk(bench)) == 4
    bench.control.cancel()
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.end(handle)
    for other in [one for one in bench.viewer.layers if one is not layer]:
        bench.viewer.layers.remove(other)
    bench.control.tick()
    assert results_on_disk(bench) == []
    assert bench.control.results == {}
    bench.control.tick()
    # and they come again
    bench.control.predict("slice")
    assert len(results_on_disk(bench)) == 4
    assert len(bench.viewer.layers) > 1


def test_results_of_which_one_layer_is_left_stay(bench: Bench) -> None:
    layer = add_stack(bench)
    bench.control.predict("slice")
    (handle,) = bench.worker.running(PredictJob)
    bench.worker.end(handle)
    for other in [one for one in bench.viewer.layers if one is not layer][1:]:
        bench.viewer.layers.remove(other)
    bench.control.tick()
    assert len(results_on_disk(bench)) == 4
    assert len(bench.control.results) == 1


def folder_job(bench: Bench, folder: Path) -> Handle:
    bench.control.predict_folder(folder / "in", folder / "out")
    (handle,) = bench.worker.running(PredictFolderJob)
    return handle


def told_of(folder: Path, name: str, **more: Any) -> FilePredicted:
    return FilePredicted(str(folder / "in" / name), 3, 0.5, **more)


def test_a_folder_tells_what_became_of_each_of_its_images(
    bench: Bench, tmp_path: Path
) -> None:
    handle, path = folder_job(bench, tmp_path), tmp_path / "in" / "b.tif"
    assert bench.control.folder is not None
    assert bench.control.folder.sentence == ""
    handle.event.emit(told_of(tmp_path, "a.tif", notes=("it has a palette.",)))
    handle.event.emit(told_of(tmp_path, "b.tif", problem=f"{path}: is cut off."))
    handle.event.emit(told_of(tmp_path, "c.tif", there=True))
    handle.event.emit(told_of(tmp_path, "d.tif", problem="has 3 channels."))
    handle.event.emit(told_of(tmp_path, "e.tif"))
    outcome = bench.control.folder
    assert outcome is not None
    assert outcome.running
    bench.control.dismiss_folder()
    assert bench.control.folder is outcome
    bench.worker.end(handle)
    assert outcome.failures == ["b.tif: is cut off.", "d.tif: has 3 channels."]
    assert outcome.notes == ["a.tif: it has a palette."]
    what = "5 images: 2 predicted, 1 there already, 2 not done."
    assert outcome.sentence == f"{what} Results are in {tmp_path / 'out'}."
    assert bench.told == [("warning", outcome.sentence)]
    bench.control.dismiss_folder()
    assert bench.control.folder is None


def test_results_that_are_there_already_are_no_failure(
    bench: Bench, tmp_path: Path
) -> None:
    handle = folder_job(bench, tmp_path)
    handle.event.emit(told_of(tmp_path, "a.tif", there=True))
    bench.worker.end(handle)
    told = f"1 image: 1 there already. Results are in {tmp_path / 'out'}."
    assert bench.told == [("info", told)]


@pytest.mark.parametrize("how", ["cancelled", "failed", "died"])
def test_a_folder_that_was_not_finished_says_so(
    bench: Bench, tmp_path: Path, how: str
) -> None:
    handle = folder_job(bench, tmp_path)
    handle.event.emit(told_of(tmp_path, "a.tif"))
    if how == "cancelled":
        bench.worker.end(handle, cancelled=True)
    elif how == "failed":
        bench.worker.fail(handle, "The disk is full.")
    else:
        bench.worker.fail(handle, "It died.", WORKER_ENDED)
    reason = {
        "cancelled": "It was cancelled: other images were not processed.",
        "failed": "The disk is full.",
        "died": "It died.",
    }[how]
    outcome = bench.control.folder
    assert outcome is not None
    assert not outcome.running
    assert outcome.sentence.startswith(f"1 image: 1 predicted. {reason}")
    assert not bench.control.exporter.running


def test_closing_cancels_no_folder(bench: Bench, tmp_path: Path) -> None:
    # another computer goes on with it; here, it ends with its process
    handle = folder_job(bench, tmp_path)
    bench.control.close()
    assert handle not in bench.worker.cancelled


def one_prediction(bench: Bench) -> None:
    add_stack(bench)
    predicted(bench)
    bench.worker.find_all_cells()


def test_a_folder_does_not_show_how_the_prediction_before_went(
    bench: Bench, tmp_path: Path
) -> None:
    one_prediction(bench)
    before = bench.control.status
    assert before
    handle = folder_job(bench, tmp_path)
    assert bench.control.status == "Predicting the images in in …"
    handle.event.emit(told_of(tmp_path, "a.tif"))
    handle.event.emit(Notice("1 file is left out.", lasting=True))
    assert bench.control.status == "Predicting the images in in …"
    assert bench.control.folder is not None
    assert "1 file is left out." in bench.control.folder.notes
    bench.worker.end(handle)
    # the outcome tells the rest
    assert bench.control.status == ""


def test_nor_do_files_that_are_written(bench: Bench, tmp_path: Path) -> None:
    one_prediction(bench)
    bench.control.exporter.export(tmp_path, [bench.image.id])
    assert bench.control.status == "Writing files …"
    (handle,) = bench.worker.running(ExportJob)
    bench.worker.end(handle)
    assert bench.control.status == ""


def finding(bench: Bench, *kinds: Any) -> None:
    """Choose a model that finds classes of these kinds."""
    table = u_shape(ndim=2, channels=1, classes=len(kinds) + 1, width=2, depth=1)
    model = random_model(table)
    classes = tuple(ClassInfo(name=f"c{k}", kind=kind) for k, kind in enumerate(kinds))
    path = bench.store.run_folder / "kinds.safetensors"
    save_model(Model(model.card.replace(classes=classes), model.weights), path)
    bench.models.select(path)


def shown(bench: Bench) -> set[str]:
    """Return which of classes and cells are seen."""
    found = [
        layer for what in ("classes", "cells") for layer in find(bench.viewer, what)
    ]
    notes = [r.metadata["napari-unet"] for r in found if r.visible]
    return {note.get("shows", note["role"]) for note in notes}


@pytest.mark.parametrize(
    ("kinds", "seen", "files"),
    [
        (["cells"], {"cells"}, ("cells",)),
        (["cells", "cells"], {"cells"}, ("cells",)),
        (["regions"], {"classes"}, ("class_masks",)),
        (["regions", "regions"], {"classes"}, ("class_masks",)),
        (["cells", "regions"], {"cells", "classes"}, ("cells", "class_masks")),
        (["regions", "cells"], {"cells", "classes"}, ("cells", "class_masks")),
    ],
)
def test_cells_are_shown_and_exported_as_objects_and_regions_as_classes(
    bench: Bench,
    clock: list[float],
    tmp_path: Path,
    kinds: Any,
    seen: set[str],
    files: tuple[str, ...],
) -> None:
    add_stack(bench)
    finding(bench, *kinds)
    predicted(bench)
    bench.control.tick()
    assert shown(bench) == seen
    jobs = bench.worker.jobs(SegmentJob)
    assert jobs
    assert {job.class_map is not None for job in jobs} == {"regions" in kinds}
    assert (bench.control.cells_in_view() is None) == ("cells" not in kinds)
    at(bench, 3)
    bench.control.tick()
    assert shown(bench) == seen
    exporter = bench.control.exporter
    assert exporter.kinds([bench.image.id]) == set(kinds)
    exporter.export(tmp_path, [bench.image.id])
    clock[0] += 1
    bench.worker.find_all_cells()
    (job,) = bench.worker.jobs(ExportJob)
    results = bench.control.results[bench.image.id]
    stored = {"cells": job.cells, "class_masks": job.class_masks}
    assert tuple(name for name, file in stored.items() if file is not None) == files
    assert job.class_masks in (None, results.files["classes"])
    assert job.cells in (None, results.files["cells"])


def test_regions_alone_make_no_table(bench: Bench, tmp_path: Path) -> None:
    add_stack(bench)
    finding(bench, "regions")
    predicted(bench)
    with pytest.raises(ValueError, match="stack has regions but no cells"):
        bench.control.exporter.export(tmp_path, [bench.image.id], masks=False)
    assert not bench.control.exporter.running


def test_borders_of_regions_follow_edges_while_the_setting_moves(
    bench: Bench, clock: list[float]
) -> None:
    add_stack(bench)
    finding(bench, "regions")
    predicted(bench)
    # so far no pixel of the image is looked at
    assert {job.image for job in bench.worker.jobs(SegmentJob)} == {None}
    at(bench, 2)
    bench.control.set_segmentation(Segmentation(edge_smoothing=3))
    assert not bench.control.segmenter.idle
    (seen,) = bench.worker.running(SegmentJob)
    job: Any = seen.job
    (results,) = bench.control.results.values()
    assert job.places == ((0, 2),)
    assert job.class_map is results.files["classes"]
    assert job.image.channels[0].shape == (4, 8, 10)
    assert job.settings.edge_smoothing == 3
    # all is foreground: there is nothing to follow, and classes are written anew
    results.files.arrays["classes"][:] = 7
    bench.worker.do_all(SegmentJob)
    assert (results.plane("classes", 0, 2) == 1).all()
    assert (results.plane("classes", 0, 1) == 7).all()
    clock[0] += 1
    bench.control.tick()
    bench.worker.do_all(SegmentJob)
    assert (results.files.arrays["classes"] == 1).all()
    assert bench.control.segmenter.idle
    assert shown(bench) == {"classes"}


def test_class_masks_may_be_in_the_way(bench: Bench, tmp_path: Path) -> None:
    add_stack(bench)
    for name in ("stack_classes.tif", "stack_cells.csv", "stack_other.tif"):
        (tmp_path / name).touch()
    found = bench.control.exporter.existing_files(tmp_path, [bench.image.id])
    assert [p.name for p in found] == ["stack_cells.csv", "stack_classes.tif"]


def with_cells(bench: Bench) -> None:
    """Predict all slices: two cells in the second, of which one is half sure."""
    bench.control.predict("layer")
    (handle,) = bench.worker.running(PredictJob)
    probabilities = handle.job.probabilities.open(writable=True)
    probabilities[1, 1, 1:5, 1:5] = 1
    probabilities[1, 1, 5:8, 6:10] = 0.75
    for t, z in handle.job.places:
        box = (slice(0, 8), slice(0, 10))
        bench.worker.emit(handle, TileDone(t, z, box, 1.0, field_done=True))
    bench.worker.end(handle)
    bench.control.set_segmentation(Segmentation(min_size=0, ridge=0, fill_holes=False))


def test_cells_are_shown_as_points_that_follow_the_threshold(
    bench: Bench, clock: list[float]
) -> None:
    add_stack(bench)
    with_cells(bench)
    bench.control.points.show(bench.image.id)
    # the cells of all slices are found first
    assert bench.worker.jobs(PointsJob) == []
    clock[0] += 1
    bench.worker.do_all(SegmentJob)
    bench.worker.do_all(PointsJob)
    (layer,) = find(bench.viewer, "points", bench.image.id)
    assert layer.name == "Points · stack"
    np.testing.assert_allclose(layer.data, [[1, 2.5, 2.5], [1, 6, 7.5]])
    assert layer.features["class"].tolist() == ["class 1"] * 2
    np.testing.assert_allclose(layer.features["confidence"], [1, 0.75])
    bench.control.set_segmentation(bench.control.segmentation.replace(threshold=0.9))
    clock[0] += 1
    bench.worker.do_all(SegmentJob)
    bench.worker.do_all(PointsJob)
    assert find(bench.viewer, "points") == [layer]
    np.testing.assert_allclose(layer.data, [[1, 2.5, 2.5]])
    assert len(layer.features) == len(layer.face_color) == 1
    # who deletes the layer is not asked again
    bench.viewer.layers.remove(layer)
    asked = len(bench.worker.jobs(PointsJob))
    bench.control.set_segmentation(bench.control.segmentation.replace(threshold=0.5))
    clock[0] += 1
    bench.worker.do_all(SegmentJob)
    assert len(bench.worker.jobs(PointsJob)) == asked


def test_points_are_where_the_image_is(bench: Bench, clock: list[float]) -> None:
    layer = add_stack(bench)
    layer.scale, layer.translate = (2, 0.5, 0.5), (10, 20, 30)
    with_cells(bench)
    clock[0] += 1
    bench.worker.do_all(SegmentJob)
    bench.control.points.show(bench.image.id)
    bench.worker.do_all(PointsJob)
    (points,) = find(bench.viewer, "points")
    np.testing.assert_allclose(points.data_to_world(points.data[0]), [12, 21.25, 31.25])


def test_points_that_cannot_be_found_are_told(bench: Bench, clock: list[float]) -> None:
    add_stack(bench)
    with_cells(bench)
    clock[0] += 1
    bench.worker.do_all(SegmentJob)
    bench.control.points.show(bench.image.id)
    bench.worker.fail(bench.worker.last, "The disk is gone.")
    assert bench.told == [("error", "The disk is gone.")]
    assert find(bench.viewer, "points") == []
    bench.control.points.show(bench.image.id)
    bench.worker.do_all(PointsJob)
    assert len(find(bench.viewer, "points")) == 1


def test_on_another_computer_whole_slices_come_to_the_same_layers(
    bench: Bench,
) -> None:
    layer = add_stack(bench)
    layer.corner_pixels = np.array([[0, 2, 1], [0, 5, 8]])
    bench.control.place.choose("me@lab")
    bench.control.predict("view")
    (job,) = bench.worker.jobs(RemotePredictJob)
    assert job.worker == "cpu"
    assert job.remote is not None
    assert job.remote.where == "me@lab"
    assert job.region is None
    (handle,) = bench.worker.handles[-1:]
    bench.worker.emit(handle, Notice("lab: a GPU."))
    assert bench.control.status == "lab: a GPU."
    ((t, z),) = job.places
    box = (slice(0, 8), slice(0, 10))
    bench.worker.emit(handle, TileDone(t, z, box, 1.0, field_done=True))
    assert bench.control.progress == 1.0
    assert (t, z) in bench.control.results[bench.image.id].made
    bench.worker.end(handle)
    assert not bench.control.running
    # what is renewed is predicted here
    results, target = (
        bench.control.results[bench.image.id],
        bench.control.targets.find("slice")[0],
    )
    renewed = bench.control.renew(results, target)
    assert renewed is not None
    assert type(renewed.job) is PredictJob


def test_a_folder_goes_to_another_computer_too_but_not_to_a_cluster(
    bench: Bench, tmp_path: Path
) -> None:
    bench.control.place.choose("me@lab")
    folders = tmp_path / "in", tmp_path / "out"
    bench.control.predict_folder(*folders, cluster="local")
    assert "not by both" in bench.told[-1][1]
    assert not bench.worker.jobs(PredictFolderJob)
    bench.control.predict_folder(*folders)
    (job,) = bench.worker.jobs(RemotePredictFolderJob)
    assert job.title.endswith(" on me@lab")
    assert job.remote is not None
