from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from psygnal import Signal

from fake_worker import FakeWorker
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.events import TileDone
from napari_unet.core.images.array_reference import ArrayReference, ImageReference
from napari_unet.core.jobs import LIVE
from napari_unet.core.messages import Failed
from napari_unet.session import throttle
from napari_unet.session.images.layers import find
from napari_unet.session.preferences import Preferences
from napari_unet.session.project.record import ImageSource, ProjectImage
from napari_unet.session.training.preview import (
    FIRST_LOOK,
    LivePreview,
    View,
    round_out,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHAPE = (4, 30, 40)
CLASSES = (ClassInfo(),)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Images:
    """Stands in for an image list with one image of four slices."""

    current_changed = Signal()
    full = False

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.layer = viewer.add_image(np.zeros(SHAPE, np.uint8), name="cells")
        self.current: ProjectImage | None = ProjectImage(
            id="a",
            name="cells",
            sources=(ImageSource(),),
            axes="zyx",
            shape=SHAPE,
            fingerprint="",
        )
        self.box = (slice(0, 30), slice(0, 40))

    def layers(self, id_: str) -> list[Any]:
        there = id_ == "a" and self.layer in self._viewer.layers
        return [self.layer] if there else []

    def place_in_view(self, _: str) -> tuple[int, int]:
        return 0, self._viewer.dims.current_step[0]

    def box_in_view(self, _: str) -> tuple[slice, slice]:
        return self.box

    def stored(self, _: str) -> ImageReference:
        return ImageReference(
            (ArrayReference("a.raw", SHAPE, "uint8"),), "zyx", None, "cells"
        )

    def ensure(self, _: str, places: object) -> Images:
        self.asked = places
        return self

    def then(self, callback: Callable[[], None], failed: Callable[[str], None]) -> None:
        if self.full:
            failed("The disk is full.")
        else:
            callback()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "monotonic", clock)
    return clock


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def images(viewer: ViewerModel) -> Images:
    return Images(viewer)


@pytest.fixture
def jobs() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def preview(
    clock: Clock, viewer: ViewerModel, images: Images, jobs: FakeWorker, tmp_path: Path
) -> Iterator[LivePreview]:
    preview = LivePreview(viewer, images, jobs, tmp_path, Preferences())  # type: ignore[arg-type]
    yield preview
    preview.close()


def begin(preview: LivePreview, trained: bool = True, **changes: Any) -> None:
    settings: dict[str, Any] = {"ndim": 2, "channels": 1, "trained": trained} | changes
    preview.begin(CLASSES, **settings)
    if trained:
        preview.step()


def test_the_first_preview_waits_until_there_is_something_to_see(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel
) -> None:
    begin(preview, trained=False)
    for _ in range(FIRST_LOOK - 1):
        preview.step()
    assert not jobs.handles
    assert find(viewer, "preview-classes")  # made while nothing moves yet
    preview.step()
    assert jobs.last.what.model == LIVE
    assert jobs.last.what.preview


def test_where_steps_are_slow_the_first_preview_comes_after_five_seconds(
    preview: LivePreview, jobs: FakeWorker, clock: Clock
) -> None:
    begin(preview, trained=False)
    clock.now += 60  # until the first step, the worker prepares
    preview.step()
    clock.now += 4.9
    preview.step()
    assert not jobs.handles
    clock.now += 0.2
    preview.step()
    assert len(jobs.handles) == 1


def test_the_slice_in_view_is_predicted_from_its_centre(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel, images: Images
) -> None:
    viewer.dims.set_current_step(0, 2)
    begin(preview)
    what = jobs.last.what
    assert what.places == ((0, 2),)
    assert what.region == (slice(0, 30), slice(0, 40))
    assert what.focus == (15.0, 20.0)
    assert images.asked == ((0, None),)


def test_a_network_for_volumes_predicts_only_the_slice_in_view(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel
) -> None:
    viewer.dims.set_current_step(0, 2)
    begin(preview, ndim=3)
    what = jobs.last.what
    assert what.places == ((0, None),)
    assert what.region == (slice(2, 3), slice(0, 30), slice(0, 40))
    assert what.focus == (2.5, 15.0, 20.0)


def test_the_next_preview_waits_for_the_last_and_for_two_seconds(
    preview: LivePreview, jobs: FakeWorker, clock: Clock
) -> None:
    begin(preview)
    clock.now += 3
    preview.step()
    assert len(jobs.handles) == 1
    jobs.end(jobs.last)
    preview.step()
    assert len(jobs.handles) == 1  # looked at less than 0.1 s ago
    clock.now += 0.2
    preview.step()
    assert len(jobs.handles) == 2
    jobs.end(jobs.last)
    clock.now += 1.9
    preview.step()
    assert len(jobs.handles) == 2
    clock.now += 0.2
    preview.step()
    assert len(jobs.handles) == 3


def test_scrolling_cancels_and_predicts_the_other_slice_at_once(
    preview: LivePreview, jobs: FakeWorker, clock: Clock, viewer: ViewerModel
) -> None:
    begin(preview)
    clock.now += 0.2
    viewer.dims.set_current_step(0, 3)
    first, second = jobs.handles
    assert jobs.cancelled == [first]
    assert second.what.places == ((0, 3),)


def test_a_far_move_of_the_camera_is_followed_and_a_small_one_is_not(
    preview: LivePreview,
    jobs: FakeWorker,
    clock: Clock,
    images: Images,
    viewer: ViewerModel,
) -> None:
    shape = (4, 1000, 1000)
    images.layer = viewer.add_image(np.zeros(shape, np.uint8))
    assert images.current is not None
    images.current = images.current.replace(shape=shape)
    images.box = (slice(100, 300), slice(100, 300))
    begin(preview)
    assert jobs.last.what.region == (slice(64, 320), slice(64, 320))
    for box, count in (
        ((slice(110, 310), slice(90, 290)), 1),
        ((slice(140, 190), slice(140, 190)), 2),  # zoomed in far
        ((slice(500, 700), slice(500, 700)), 3),
    ):
        clock.now += 0.2
        images.box = box
        preview.step()
        assert len(jobs.handles) == count


def test_previews_fill_two_layers_of_which_one_is_shown(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel
) -> None:
    begin(preview)
    (classes,) = find(viewer, "preview-classes", "a")
    (probability,) = find(viewer, "preview-probability", "a")
    assert classes.visible
    assert not probability.visible
    what = jobs.last.what
    assert what.classes is not None
    what.classes.open(writable=True)[:, 3, 4] = 1
    jobs.emit(jobs.last, TileDone(0, 0, (slice(0, 30), slice(0, 40)), 1.0, True))
    assert classes.data[0, 3, 4] == 1


def test_each_run_shows_its_preview_in_the_same_layers(
    preview: LivePreview, viewer: ViewerModel, jobs: FakeWorker, clock: Clock
) -> None:
    begin(preview)
    preview.finish(None)
    begin(preview)
    preview.finish(None)
    preview.begin((*CLASSES, ClassInfo(name="other")), ndim=2, channels=1, trained=True)
    preview.step()
    for _ in range(2):
        clock.now += 1
        preview.look()
    assert len(find(viewer, "preview-classes")) == 1
    assert len(find(viewer, "preview-probability")) == 2
    assert jobs.last.what.probabilities.shape == (3, *SHAPE)


def test_who_deletes_the_preview_does_not_want_it(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel, clock: Clock
) -> None:
    begin(preview)
    told = []
    preview.changed.connect(lambda: told.append(preview.enabled))
    viewer.layers.remove(find(viewer, "preview-classes")[0])
    preview.look()
    assert told == [False]
    assert jobs.last in jobs.cancelled
    assert not find(viewer, "preview-probability")
    clock.now += 5
    preview.step()
    assert len(jobs.handles) == 1
    preview.set_enabled(True)
    assert len(jobs.handles) == 2
    assert find(viewer, "preview-classes")


def test_who_closes_all_layers_still_wants_previews(
    preview: LivePreview, viewer: ViewerModel
) -> None:
    begin(preview)
    viewer.layers.clear()
    preview.look()
    assert preview.enabled


def test_a_deleted_probability_layer_changes_nothing(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel
) -> None:
    begin(preview)
    viewer.layers.remove(find(viewer, "preview-probability")[0])
    jobs.emit(jobs.last, TileDone(0, 0, (slice(0, 30), slice(0, 40)), 1.0, True))
    jobs.end(jobs.last)
    assert preview.enabled


def test_the_final_model_is_shown_once_and_in_slices_looked_at_later(
    preview: LivePreview,
    jobs: FakeWorker,
    viewer: ViewerModel,
    clock: Clock,
    tmp_path: Path,
) -> None:
    begin(preview)
    preview.finish(tmp_path / "m.safetensors")
    assert jobs.handles[0] in jobs.cancelled
    assert jobs.last.what.model == str(tmp_path / "m.safetensors")
    jobs.end(jobs.last)
    clock.now += 10
    preview.look()
    assert len(jobs.handles) == 2
    clock.now += 0.2
    viewer.dims.set_current_step(0, 3)
    assert len(jobs.handles) == 3


def test_nothing_is_previewed_after_a_run_without_a_model(
    preview: LivePreview, jobs: FakeWorker, viewer: ViewerModel, clock: Clock
) -> None:
    begin(preview)
    preview.finish(None)
    clock.now += 10
    viewer.dims.set_current_step(0, 3)
    assert len(jobs.handles) == 1


def test_an_image_with_other_channels_is_not_previewed(
    preview: LivePreview, jobs: FakeWorker
) -> None:
    begin(preview, channels=2)
    assert not jobs.handles


def test_a_failed_preview_is_told_once_and_not_tried_again(
    preview: LivePreview, jobs: FakeWorker, clock: Clock
) -> None:
    told: list[tuple[str, str]] = []
    preview.message.connect(lambda *words: told.append(words))
    begin(preview)
    jobs.fail(jobs.last, "It broke.", "RuntimeError")
    clock.now += 10
    preview.step()
    preview.step()
    assert told == [("warning", "The live preview stopped: It broke.")]
    assert len(jobs.handles) == 1


def test_a_preview_without_pixels_is_told_once(
    preview: LivePreview, jobs: FakeWorker, images: Images, clock: Clock
) -> None:
    told: list[str] = []
    preview.message.connect(lambda _, words: told.append(words))
    images.full = True
    begin(preview)
    clock.now += 10
    preview.step()
    assert told == ["The live preview stopped: The disk is full."]
    images.full = False
    begin(preview)
    assert len(jobs.handles) == 1


def test_a_live_preview_that_comes_too_late_is_no_matter(
    preview: LivePreview, jobs: FakeWorker, tmp_path: Path
) -> None:
    told: list[str] = []
    preview.message.connect(lambda _, words: told.append(words))
    begin(preview)
    late = jobs.last
    failed = Failed(late.number, "ValueError", "No training goes on.", "", False)
    late.failed.emit(failed)
    preview.finish(tmp_path / "m.safetensors")
    late.failed.emit(failed)
    assert not told
    assert jobs.last is not late


@pytest.mark.parametrize(
    ("box", "shape", "expected"),
    [
        (((3, 5), (7, 9)), (512, 512), ((0, 512), (0, 512))),
        (((64, 128), (65, 129)), (600, 600), ((64, 128), (64, 192))),
        (((63, 599), (590, 600)), (600, 600), ((0, 600), (576, 600))),
        (((-50, -10), (700, 800)), (600, 600), ((0, 64), (576, 600))),
    ],
)
def test_a_region_is_rounded_out_within_the_plane(
    box: Any, shape: tuple[int, int], expected: Any
) -> None:
    found = round_out(tuple(slice(*part) for part in box), shape)
    assert tuple((s.start, s.stop) for s in found) == expected


def test_a_view_serves_for_what_lies_in_it_and_is_not_much_smaller() -> None:
    def view(stop: int, z: int = 0) -> View:
        return View("a", (0, z), (slice(0, stop), slice(0, 100)), (0.0, 0.0))

    assert view(100).covers(view(100))
    assert view(100).covers(view(25))
    assert not view(100).covers(view(24))
    assert not view(100).covers(view(101))
    assert not view(100).covers(view(100, z=1))
