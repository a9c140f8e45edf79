"""Border weights of the slice in view: right after each stroke, gone with its slice."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation, FinishedPart
from napari_unet.core.jobs import WeightsJob
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.session.images.layers import find, role_of
from napari_unet.session.overlay import control as module
from napari_unet.session.overlay.box_weights import affected, weights_in
from napari_unet.session.overlay.control import WeightOverlay
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.layers import Image, Labels
    from tests.session.conftest import Pump

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle

SIZE = 96
NARROW = BorderWeights(sigma=2.0)


def expected(labels: Labels, at: Any = ..., **settings: Any) -> np.ndarray:
    """Weights of a whole plane, by the function that training uses."""
    targets = Annotation(np.asarray(labels.data[at])).targets()
    return border_weights(
        targets.instances, BorderWeights(**settings), background=targets.classes == 0
    )


class Bench(SessionBench):
    """A viewer with one annotated image, and all that the overlay works with."""

    def __init__(self, pump: Pump, tmp_path: Path) -> None:
        super().__init__(tmp_path, pump.post)
        self.pump = pump
        self.worker.started.connect(self._is_the_only_one)

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.overlay = self.new_overlay()

    def new_overlay(self) -> WeightOverlay:
        return WeightOverlay(self.session)

    def _is_the_only_one(self, job: Handle) -> None:
        assert self.worker.running(WeightsJob) == [job]

    def add_noise(self, *shape: int, name: str = "nuclei", **more: Any) -> ProjectImage:
        rng = np.random.default_rng(len(name))
        return self.add(rng.integers(0, 99, shape, np.uint16), name, **more)

    def annotate(self, image: ProjectImage) -> Labels:
        """Paint two cells with a gap of 4 pixels, in the last plane of all."""
        labels = self.annotating.layers.show(image.id)
        plane = np.ones((SIZE, SIZE), np.int32)
        plane[30:50, 20:38], plane[30:50, 42:60] = 2, 3
        labels.data_setitem(
            tuple(np.indices((SIZE, SIZE)))
            if labels.ndim == 2
            else (
                np.full((SIZE, SIZE), len(labels.data) - 1),
                *np.indices((SIZE, SIZE)),
            ),
            plane,
        )
        self.annotating.tick()
        return labels

    @property
    def layer(self) -> Image:
        [layer] = find(self.viewer, "weights")
        return layer

    def compute(self) -> None:
        """Let the worker do what it has to."""
        self.worker.do_all(WeightsJob)

    def loaded(self) -> None:
        """Let the boxes be computed in this process from now on."""
        self.compute()
        self.pump.until(lambda: self.overlay._compiler.ready)

    def close(self) -> None:
        self.overlay.close()
        super().close()


@pytest.fixture
def bench(pump: Pump, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(pump, tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def plane(bench: Bench) -> Labels:
    return bench.annotate(
        bench.add_noise(SIZE, SIZE, scale=(0.5, 0.5), translate=(3, 4))
    )


@pytest.fixture
def stack(bench: Bench) -> Labels:
    return bench.annotate(bench.add_noise(4, SIZE, SIZE))


def stroke(labels: Labels, at: tuple[int, ...], label: int) -> None:
    labels.brush_size = 8
    labels.preserve_labels = False
    labels.paint(at, label)


def test_the_weights_of_the_plane_are_shown_over_it(
    bench: Bench, plane: Labels
) -> None:
    bench.viewer.layers.selection.active = plane
    bench.overlay.set_enabled(True)
    bench.compute()
    layer = bench.layer
    assert np.array_equal(layer.data, expected(plane))
    assert layer.data[40, 40] > 4
    assert (layer.dtype, layer.blending) == (np.float32, "additive")
    assert (tuple(layer.contrast_limits), layer.name) == (
        (0, 10),
        "Border weights · nuclei",
    )
    assert layer.scale.tolist() == [0.5, 0.5]
    assert layer.translate.tolist() == [3, 4]
    assert bench.viewer.layers.selection.active is plane


def test_nothing_is_computed_while_it_is_off(bench: Bench, plane: Labels) -> None:
    stroke(plane, (60, 60), 4)
    assert bench.worker.handles == []
    assert find(bench.viewer, "weights") == []
    bench.overlay.set_enabled(True)
    bench.loaded()
    bench.overlay.set_enabled(False)
    before = bench.layer.data.copy()
    stroke(plane, (54, 40), 4)
    assert not bench.layer.visible
    assert len(bench.worker.handles) == 1
    assert np.array_equal(bench.layer.data, before)
    bench.overlay.set_enabled(True)
    bench.compute()
    assert bench.layer.visible
    assert np.array_equal(bench.layer.data, expected(plane))


def test_a_stroke_changes_the_weights_at_once_and_without_the_worker(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.loaded()
    drawn: list[object] = []

    def on_drawn(event: object) -> None:
        drawn.append(event)

    bench.layer.events.set_data.connect(on_drawn)
    for step in range(8):
        stroke(plane, (52 + step, 30 + 4 * step), 4)
        assert np.array_equal(bench.layer.data, expected(plane))
        assert len(drawn) >= step + 1
    stroke(plane, (2, 2), 5)
    stroke(plane, (SIZE - 1, SIZE - 1), 6)
    plane.undo()
    stroke(plane, (40, 29), 1)
    assert np.array_equal(bench.layer.data, expected(plane))
    assert len(bench.worker.handles) == 1


def test_until_the_compiler_is_loaded_the_worker_computes_strokes(
    bench: Bench, plane: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.overlay._compiler, "start", lambda: None)
    bench.overlay.set_enabled(True)
    stroke(plane, (54, 40), 4)
    stroke(plane, (60, 40), 4)
    bench.compute()
    assert len(bench.worker.handles) == 2
    assert np.array_equal(bench.layer.data, expected(plane))


def test_an_edit_of_much_is_left_to_the_worker(
    bench: Bench, plane: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.overlay.set_enabled(True)
    bench.loaded()
    monkeypatch.setattr(module, "_AT_ONCE", 50 * 50)
    stroke(plane, (54, 40), 4)
    assert len(bench.worker.handles) == 2
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane))


def test_a_stroke_that_a_job_at_work_did_not_see_is_not_lost(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.loaded()
    bench.overlay.set_settings(NARROW)
    job = bench.worker.last
    computed = bench.worker.compute(job)
    stroke(plane, (54, 40), 4)
    stroke(plane, (70, 70), 5)
    bench.worker.emit(job, *computed)
    assert np.array_equal(bench.layer.data, expected(plane, sigma=2.0))
    bench.worker.end(job)
    assert not bench.worker.busy


def test_a_slider_has_one_job_at_work_and_one_waiting_and_the_last_value_stays(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.compute()
    for sigma in (1.0, 2.0, 3.0, 4.0):
        bench.overlay.set_settings(BorderWeights(w0=20, sigma=sigma))
    assert bench.overlay.settings.sigma == 4
    # What the slider passed is shown meanwhile.
    job = bench.worker.last
    bench.worker.emit(job, *bench.worker.compute(job))
    assert np.array_equal(bench.layer.data, expected(plane, w0=20, sigma=1.0))
    bench.worker.end(job)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane, w0=20, sigma=4.0))
    assert [j.settings.sigma for j in bench.worker.jobs(WeightsJob)] == [5, 1, 4]
    assert tuple(bench.layer.contrast_limits) == (0, 20)


def test_the_project_keeps_the_settings_once_the_slider_stands_still(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.compute()
    bench.overlay.set_settings(NARROW)
    assert bench.store.project.overlay == BorderWeights()
    bench.compute()
    assert bench.store.project.overlay == NARROW
    bench.overlay.set_enabled(False)
    bench.overlay.set_settings(BorderWeights(w0=3))
    assert bench.store.project.overlay.w0 == 3


def test_settings_that_the_project_got_from_elsewhere_are_used(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.compute()
    bench.store.update(bench.store.project.replace(overlay=NARROW))
    bench.compute()
    assert bench.overlay.settings == NARROW
    assert np.array_equal(bench.layer.data, expected(plane, sigma=2.0))


def test_weights_follow_the_slice_in_view(bench: Bench, stack: Labels) -> None:
    bench.viewer.dims.set_point(0, 3)
    bench.overlay.set_enabled(True)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(stack, 3))
    bench.viewer.dims.set_point(0, 1)
    assert bench.layer.data.max() == 0
    bench.compute()
    # Nothing is annotated there, which needs no worker.
    assert len(bench.worker.handles) == 1
    bench.viewer.dims.set_point(0, 3)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(stack, 3))


def test_a_result_of_another_slice_is_dropped(bench: Bench, stack: Labels) -> None:
    other = np.array(stack.data[3])
    other[30:50] = np.roll(other[30:50], 11, axis=1)
    bench.viewer.dims.set_point(0, 0)
    stack.data_setitem((np.zeros_like(other), *np.indices(other.shape)), other)
    bench.annotating.tick()
    bench.viewer.dims.set_point(0, 3)
    bench.overlay.set_enabled(True)
    first = bench.worker.last
    computed = bench.worker.compute(first)
    bench.viewer.dims.set_point(0, 0)
    assert bench.worker.cancelled == [first]
    bench.worker.emit(first, *computed)
    assert bench.layer.data.max() == 0
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(stack, 0))
    assert bench.layer.data[40, 51] > 4


def test_strokes_in_another_slice_change_nothing(bench: Bench, stack: Labels) -> None:
    bench.viewer.dims.set_point(0, 3)
    bench.overlay.set_enabled(True)
    bench.loaded()
    before = bench.layer.data.copy()
    stack.data_setitem((np.array([2]), np.array([40]), np.array([40])), 9)
    assert np.array_equal(bench.layer.data, before)
    assert len(bench.worker.handles) == 1


def test_finished_parts_and_classes_change_the_weights(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.compute()
    image = bench.images.current
    assert image is not None
    plane.data_setitem(np.nonzero(plane.data == 1), 0)
    bench.annotating.tick()
    bench.compute()
    assert bench.layer.data.max() == 0
    part = FinishedPart(t=0, z=0, box=((0, SIZE), (0, 40)))
    project = bench.store.project
    bench.store.update(project.with_image(image.replace(finished=(part,))))
    bench.compute()
    assert bench.layer.data[40, 39] > 4
    assert bench.layer.data[40, 40] == 0
    bench.loaded()
    # The boxes know of it too.
    stroke(plane, (54, 30), 4)
    assert bench.layer.data[40, 39] > 4
    assert bench.layer.data[:, 40:].max() == 0
    classes = (project.classes[0].replace(kind="regions"),)
    bench.store.update(bench.store.project.replace(classes=classes))
    bench.compute()
    assert bench.layer.data.max() == 0


def test_the_class_of_a_cell_that_is_not_painted_yet_changes_nothing(
    bench: Bench, plane: Labels
) -> None:
    project = bench.store.project
    second = project.classes[0].replace(name="second")
    bench.store.update(project.replace(classes=(*project.classes, second)))
    bench.overlay.set_enabled(True)
    bench.compute()
    image = bench.images.current
    assert image is not None
    for class_of, jobs in (({9: 2}, 1), ({9: 2, 3: 2}, 2), ({9: 1, 3: 2}, 2)):
        changed = image.replace(class_of=class_of)
        bench.store.update(bench.store.project.with_image(changed))
        bench.compute()
        assert len(bench.worker.handles) == jobs


def test_deleting_the_layer_switches_it_off(bench: Bench, plane: Labels) -> None:
    told: list[bool] = []
    bench.overlay.enabled_changed.connect(told.append)
    bench.overlay.set_enabled(True)
    bench.viewer.layers.remove(bench.layer)
    bench.compute()
    stroke(plane, (54, 40), 4)
    assert told == [True, False]
    assert not bench.overlay.enabled
    bench.overlay.set_enabled(True)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane))


def test_hiding_and_showing_the_layer_switches_it_off_and_on(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.compute()
    bench.layer.visible = False
    assert not bench.overlay.enabled
    stroke(plane, (54, 40), 4)
    bench.layer.visible = True
    assert bench.overlay.enabled
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane))


def test_a_layer_that_was_renamed_moved_and_filled_is_still_the_overlay(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.loaded()
    bench.layer.name = "mine"
    bench.viewer.layers.move(bench.viewer.layers.index(bench.layer), 0)
    bench.layer.data = np.full((SIZE, SIZE), 7, np.float32)
    bench.overlay.set_settings(NARROW)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane, sigma=2.0))


def test_the_overlay_of_an_image_is_hidden_where_another_is_current(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.compute()
    other = bench.annotate(bench.add_noise(SIZE, SIZE, name="others"))
    bench.viewer.layers.selection.active = other
    bench.compute()
    first, second = find(bench.viewer, "weights")
    assert (first.visible, second.visible) == (False, True)
    assert bench.overlay.enabled
    bench.viewer.layers.selection.active = plane
    bench.compute()
    assert (first.visible, second.visible) == (True, False)
    assert np.array_equal(first.data, expected(plane))


def test_an_image_without_annotation_has_no_overlay_until_it_gets_one(
    bench: Bench,
) -> None:
    image = bench.add_noise(SIZE, SIZE)
    bench.overlay.set_enabled(True)
    assert find(bench.viewer, "weights") == []
    # the worker starts already
    assert bench.worker.handles == []
    assert list(bench.worker.pids) == ["cpu"]
    labels = bench.annotate(image)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(labels))
    bench.viewer.layers.remove(labels)
    assert bench.overlay.enabled
    assert not bench.layer.visible
    again = bench.annotating.layers.show(image.id)
    bench.compute()
    assert bench.layer.visible
    assert np.array_equal(bench.layer.data, expected(again))


def test_deleting_all_layers_breaks_nothing(bench: Bench, stack: Labels) -> None:
    bench.overlay.set_enabled(True)
    bench.viewer.layers.clear()
    bench.compute()
    assert not bench.overlay.enabled


def test_coloured_images_have_an_overlay(bench: Bench) -> None:
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    image = bench.add(pixels, rgb=True)
    labels = bench.annotate(image)
    bench.overlay.set_enabled(True)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(labels))


def test_pixels_that_are_not_square_weigh_by_length(bench: Bench) -> None:
    image = bench.add_noise(SIZE, SIZE, scale=(0.5, 1.0), units=("um", "um"))
    labels = bench.annotate(image)
    bench.overlay.set_enabled(True)
    bench.loaded()
    targets = Annotation(labels.data).targets()
    background = targets.classes == 0
    weights = border_weights(
        targets.instances, background=background, spacing=(1.0, 2.0)
    )
    assert np.array_equal(bench.layer.data, weights)
    stroke(labels, (4, 40), 4)
    targets = Annotation(labels.data).targets()
    background = targets.classes == 0
    weights = border_weights(
        targets.instances, background=background, spacing=(1.0, 2.0)
    )
    assert np.array_equal(bench.layer.data, weights)


def test_a_failed_job_is_told_and_the_next_one_is_tried(
    bench: Bench, plane: Labels
) -> None:
    said: list[tuple[str, str]] = []
    bench.session.message.connect(lambda *words: said.append(words))
    bench.overlay.set_enabled(True)
    bench.worker.fail(bench.worker.last, "it is gone.", "OSError")
    assert said == [("warning", "No border weights: it is gone.")]
    bench.overlay.set_settings(NARROW)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane, sigma=2.0))


def test_after_the_death_of_the_worker_the_next_change_is_computed(
    bench: Bench, plane: Labels
) -> None:
    bench.overlay.set_enabled(True)
    bench.worker.die("cpu")
    assert not bench.worker.busy
    stroke(plane, (54, 40), 4)
    bench.compute()
    assert np.array_equal(bench.layer.data, expected(plane))


def test_a_closed_overlay_follows_nothing(bench: Bench, stack: Labels) -> None:
    bench.viewer.dims.set_point(0, 3)
    bench.overlay.set_enabled(True)
    bench.loaded()
    bench.overlay.close()
    stroke(stack, (3, 54, 40), 4)
    bench.viewer.dims.set_point(0, 0)
    bench.layer.visible = False
    assert not list(bench.scratch.glob("weights-*"))
    assert len(bench.worker.handles) == 1
    assert role_of(bench.layer) == "weights"
    bench.overlay = bench.new_overlay()


@pytest.mark.parametrize(
    "settings", [BorderWeights(), BorderWeights(w0=0), BorderWeights.fiji()]
)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 2.0)])
def test_a_box_around_an_edit_has_all_that_changes(
    settings: BorderWeights, spacing: tuple[float, float]
) -> None:
    rng = np.random.default_rng(3)
    labels = np.ones((220, 230), np.int32)
    for cell in range(2, 60):
        y, x = rng.integers(0, 215, 2)
        labels[y : y + 12, x : x + 12] = cell
    for box in ((slice(0, 7), slice(100, 130)), (slice(213, 220), slice(223, 230))):
        whole = (slice(0, 220), slice(0, 230))
        before = weights_in(whole, labels, settings, spacing)
        labels[box] = rng.integers(1, 99)
        after = weights_in(whole, labels, settings, spacing)
        changed = affected(box, labels.shape, settings, spacing)
        assert np.array_equal(
            weights_in(changed, labels, settings, spacing), after[changed]
        )
        after[changed] = before[changed]
        assert np.array_equal(after, before)


def test_the_box_around_an_edit_ends_at_the_plane() -> None:
    reach = 27  # 5 sqrt(2 ln(10 / 1e-5)) = 26.3
    box = (slice(30, 40), slice(5, 10))
    assert affected(box, (200, 30), BorderWeights()) == (
        slice(30 - reach, 40 + reach),
        slice(0, 30),
    )
    # Ridges change by themselves.
    assert affected(box, (200, 30), BorderWeights(w0=0)) == (
        slice(28, 42),
        slice(3, 12),
    )


def test_the_overlay_loads_no_compiler_and_no_torch_before_it_is_used() -> None:
    code = (
        "import sys, napari_unet.session.overlay.control; "
        "print({'numba', 'torch', 'napari', 'qtpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
