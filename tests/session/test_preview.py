from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.events import TileDone
from napari_unet.core.jobs import LIVE
from napari_unet.core.messages import Failed
from napari_unet.session import throttle
from napari_unet.session.future import Future
from napari_unet.session.images.layers import find
from napari_unet.session.prediction.results import ResultLayers
from napari_unet.session.preferences import Preferences
from napari_unet.session.training.preview import (
    FIRST_LOOK,
    LivePreview,
    View,
    round_out,
)
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.session.project.store import ProjectStore

SHAPE = (4, 30, 40)
CLASSES = (ClassInfo(),)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench(SessionBench):
    """A preview of an image of four slices."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, lambda call: call())
        self.show(SHAPE)

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.session.preferences = Preferences()
        self.preview = LivePreview(self.session)

    def show(self, shape: tuple[int, ...]) -> None:
        """Add an image, which is the current one then."""
        rng = np.random.default_rng(0)
        self.image = self.add(rng.integers(0, 9, shape, np.uint8), "cells")
        self.layer = self.images.layers(self.image.id)[0]

    def look_at(self, top: int, bottom: int, left: int, right: int) -> None:
        """Have the canvas show a box."""
        self.layer.corner_pixels = np.array(
            [[0, top, left], [0, bottom - 1, right - 1]]
        )

    def begin(self, trained: bool = True, **changes: Any) -> None:
        settings: dict[str, Any] = {"ndim": 2, "channels": 1, "trained": trained}
        self.preview.begin(CLASSES, **(settings | changes))
        if trained:
            self.preview.step()

    def close(self) -> None:
        self.preview.close()
        super().close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "monotonic", clock)
    return clock


@pytest.fixture
def bench(tmp_path: Path, clock: Clock) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_the_first_preview_waits_until_there_is_something_to_see(bench: Bench) -> None:
    bench.begin(trained=False)
    for _ in range(FIRST_LOOK - 1):
        bench.preview.step()
    assert not bench.worker.handles
    assert find(bench.viewer, "cells")  # made while nothing moves yet
    bench.preview.step()
    assert bench.worker.last.job.model == LIVE
    assert bench.worker.last.job.preview


def test_where_steps_are_slow_the_first_preview_comes_after_five_seconds(
    bench: Bench, clock: Clock
) -> None:
    bench.begin(trained=False)
    clock.now += 60  # until the first step, the worker prepares
    bench.preview.step()
    clock.now += 4.9
    bench.preview.step()
    assert not bench.worker.handles
    clock.now += 0.2
    bench.preview.step()
    assert len(bench.worker.handles) == 1


def test_the_slice_in_view_is_predicted_from_its_centre(bench: Bench) -> None:
    bench.viewer.dims.set_current_step(0, 2)
    bench.begin()
    job = bench.worker.last.job
    assert job.places == ((0, 2),)
    assert job.region == (slice(0, 30), slice(0, 40))
    assert job.focus == (15.0, 20.0)
    # grey values are normalised over the whole stack
    np.testing.assert_array_equal(job.image.open().data, bench.layer.data)


def test_a_network_for_volumes_predicts_only_the_slice_in_view(bench: Bench) -> None:
    bench.viewer.dims.set_current_step(0, 2)
    bench.begin(ndim=3)
    job = bench.worker.last.job
    assert job.places == ((0, None),)
    assert job.region == (slice(2, 3), slice(0, 30), slice(0, 40))
    assert job.focus == (2.5, 15.0, 20.0)


def test_the_next_preview_waits_for_the_last_and_for_two_seconds(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    clock.now += 3
    bench.preview.step()
    assert len(bench.worker.handles) == 1
    bench.worker.end(bench.worker.last)
    bench.preview.step()
    assert len(bench.worker.handles) == 1  # looked at less than 0.1 s ago
    clock.now += 0.2
    bench.preview.step()
    assert len(bench.worker.handles) == 2
    bench.worker.end(bench.worker.last)
    clock.now += 1.9
    bench.preview.step()
    assert len(bench.worker.handles) == 2
    clock.now += 0.2
    bench.preview.step()
    assert len(bench.worker.handles) == 3


def test_scrolling_cancels_and_predicts_the_other_slice_at_once(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    clock.now += 0.2
    bench.viewer.dims.set_current_step(0, 3)
    first, second = bench.worker.handles
    assert bench.worker.cancelled == [first]
    assert second.job.places == ((0, 3),)


def test_a_far_move_of_the_camera_is_followed_and_a_small_one_is_not(
    bench: Bench, clock: Clock
) -> None:
    bench.show((4, 1000, 1000))
    bench.look_at(100, 300, 100, 300)
    bench.begin()
    assert bench.worker.last.job.region == (slice(64, 320), slice(64, 320))
    for box, count in (
        ((110, 310, 90, 290), 1),
        ((140, 190, 140, 190), 2),  # zoomed in far
        ((500, 700, 500, 700), 3),
    ):
        clock.now += 0.2
        bench.look_at(*box)
        bench.preview.step()
        assert len(bench.worker.handles) == count


def test_previews_fill_the_layer_of_cells(bench: Bench) -> None:
    bench.begin()
    (layer,) = find(bench.viewer, "cells", bench.image.id)
    assert layer.visible
    assert layer.contour > 0
    job = bench.worker.last.job
    assert job.classes is not None
    assert job.entropy is None
    job.classes.open(writable=True)[:, 3, 4] = 1
    bench.worker.emit(
        bench.worker.last, TileDone(0, 0, (slice(0, 30), slice(0, 40)), 1.0, True)
    )
    assert layer.data[0, 3, 4] == 1


def test_uncertainty_of_the_preview_is_computed_where_it_is_shown(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    results = bench.preview.results_of(bench.image.id)
    assert results is not None
    results.show("entropy")
    bench.worker.end(bench.worker.last)
    clock.now += 3
    bench.preview.step()
    assert bench.worker.last.job.entropy is not None


def test_a_preview_leaves_the_layer_to_who_predicts_meanwhile(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    (layer,) = find(bench.viewer, "cells")
    predicted = ResultLayers(
        bench.viewer, bench.layer, bench.image, CLASSES, bench.scratch, "model"
    )
    predicted.claim()
    bench.worker.end(bench.worker.last)
    clock.now += 3
    bench.preview.step()
    assert predicted.in_cells_layer
    bench.preview.finish(None)
    assert predicted.in_cells_layer
    # the next training is worth a look
    bench.begin()
    assert not predicted.in_cells_layer
    assert find(bench.viewer, "cells") == [layer]


def test_each_run_shows_its_preview_in_the_same_layers(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    bench.preview.finish(None)
    bench.begin()
    bench.preview.finish(None)
    bench.preview.begin(
        (*CLASSES, ClassInfo(name="other")), ndim=2, channels=1, trained=True
    )
    bench.preview.step()
    for _ in range(2):
        clock.now += 1
        bench.preview.predict_if_due()
    assert len(find(bench.viewer, "cells")) == 1
    assert bench.worker.last.job.probabilities.shape == (3, *SHAPE)


def test_who_deletes_the_preview_does_not_want_it(bench: Bench, clock: Clock) -> None:
    bench.begin()
    told = []
    bench.preview.changed.connect(lambda: told.append(bench.preview.enabled))
    bench.viewer.layers.remove(find(bench.viewer, "cells")[0])
    bench.preview.predict_if_due()
    assert told == [False]
    assert bench.worker.last in bench.worker.cancelled
    assert not find(bench.viewer, "probability")
    clock.now += 5
    bench.preview.step()
    assert len(bench.worker.handles) == 1
    bench.preview.set_enabled(True)
    assert len(bench.worker.handles) == 2
    assert find(bench.viewer, "cells")


def test_layers_made_for_another_image_begin_no_second_preview(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    first = bench.worker.last
    clock.now += 5
    bench.show((4, 20, 20))
    bench.preview.step()
    assert bench.worker.cancelled == [first]
    assert len(bench.worker.handles) == 2
    assert len(find(bench.viewer, "cells")) == 2


def test_who_closes_all_layers_still_wants_previews(bench: Bench) -> None:
    bench.begin()
    bench.viewer.layers.clear()
    bench.preview.predict_if_due()
    assert bench.preview.enabled


def test_a_deleted_probability_layer_changes_nothing(bench: Bench) -> None:
    bench.begin()
    results = bench.preview.results_of(bench.image.id)
    assert results is not None
    results.show("probability")
    bench.viewer.layers.remove(find(bench.viewer, "probability")[0])
    bench.worker.emit(
        bench.worker.last, TileDone(0, 0, (slice(0, 30), slice(0, 40)), 1.0, True)
    )
    bench.worker.end(bench.worker.last)
    assert bench.preview.enabled


def test_the_final_model_is_shown_once_and_in_slices_looked_at_later(
    bench: Bench, clock: Clock, tmp_path: Path
) -> None:
    bench.begin()
    bench.preview.finish(tmp_path / "m.safetensors")
    assert bench.worker.handles[0] in bench.worker.cancelled
    assert bench.worker.last.job.model == str(tmp_path / "m.safetensors")
    bench.worker.end(bench.worker.last)
    clock.now += 10
    bench.preview.predict_if_due()
    assert len(bench.worker.handles) == 2
    clock.now += 0.2
    bench.viewer.dims.set_current_step(0, 3)
    assert len(bench.worker.handles) == 3


def test_nothing_is_previewed_after_a_run_without_a_model(
    bench: Bench, clock: Clock
) -> None:
    bench.begin()
    bench.preview.finish(None)
    clock.now += 10
    bench.viewer.dims.set_current_step(0, 3)
    assert len(bench.worker.handles) == 1


def test_an_image_with_other_channels_is_not_previewed(bench: Bench) -> None:
    bench.begin(channels=2)
    assert not bench.worker.handles


def test_a_failed_preview_is_told_once_and_not_tried_again(
    bench: Bench, clock: Clock
) -> None:
    told: list[tuple[str, str]] = []
    bench.preview.message.connect(lambda *words: told.append(words))
    bench.begin()
    bench.worker.fail(bench.worker.last, "It broke.", "RuntimeError")
    clock.now += 10
    bench.preview.step()
    bench.preview.step()
    assert told == [("warning", "The live preview stopped: It broke.")]
    assert len(bench.worker.handles) == 1


def test_a_preview_without_pixels_is_told_once(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    bench.preview.message.connect(lambda _, words: told.append(words))
    full = Future(bench.post)
    full.finish("The disk is full.")
    with monkeypatch.context() as patched:
        patched.setattr(bench.images, "share_frames", lambda *_: full)
        bench.begin()
        clock.now += 10
        bench.preview.step()
    assert told == ["The live preview stopped: The disk is full."]
    bench.begin()
    assert len(bench.worker.handles) == 1


def test_a_live_preview_that_comes_too_late_is_no_matter(
    bench: Bench, tmp_path: Path
) -> None:
    told: list[str] = []
    bench.preview.message.connect(lambda _, words: told.append(words))
    bench.begin()
    late = bench.worker.last
    failed = Failed(late.number, "ValueError", "No training goes on.", "", False)
    late.failed.emit(failed)
    bench.preview.finish(tmp_path / "m.safetensors")
    late.failed.emit(failed)
    assert not told
    assert bench.worker.last is not late


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
        return View("a", (0, z), (slice(0, stop), slice(0, 100)))

    assert view(100).covers(view(100))
    assert view(100).covers(view(25))
    assert not view(100).covers(view(24))
    assert not view(100).covers(view(101))
    assert not view(100).covers(view(100, z=1))
