"""Where to annotate next: what is asked of the worker, and how people get there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.events import TileSeen, TilesSuggested
from napari_unet.core.jobs import SuggestJob
from napari_unet.core.suggestions.reasons import Suggestion
from napari_unet.core.suggestions.sampling import TilePlace
from napari_unet.session.annotating.suggesting import Suggesting
from napari_unet.session.images.layers import find
from napari_unet.session.models import ModelList
from napari_unet.session.preferences import Preferences
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.session.conftest import Pump

    from napari_unet.session.project.store import ProjectStore


class Bench(SessionBench):
    """A viewer with images, and what looks through them."""

    def __init__(self, pump: Pump, tmp_path: Path) -> None:
        super().__init__(tmp_path, pump.post)
        self.pump = pump

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.session.preferences = Preferences()
        self.models = ModelList(store, Preferences())
        self.suggesting = Suggesting(self.session, self.models)
        self.failures: list[str] = []
        self.session.message.connect(lambda _, words: self.failures.append(words))

    def close(self) -> None:
        self.suggesting.close()
        super().close()

    def begin(self) -> SuggestJob:
        """Begin a search; what the worker is asked."""
        before = len(self.worker.handles)
        self.suggesting.start()
        self.pump.until(lambda: len(self.worker.handles) > before)
        job = self.worker.last.job
        assert isinstance(job, SuggestJob)
        return job


@pytest.fixture
def bench(pump: Pump, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(pump, tmp_path)
    yield bench
    bench.close()


def tile(image: int, z: int = 0, y: int = 0, x: int = 0) -> Suggestion:
    place = TilePlace(image, 0, z, (slice(y, y + 32), slice(x, x + 32)))
    return Suggestion(place, ("looks odd",), np.zeros((8, 8), np.uint8))


def test_all_open_images_are_looked_through(bench: Bench) -> None:
    plane = bench.add(np.zeros((64, 64), np.uint8), "plane")
    stack = bench.add(np.ones((300, 5, 64, 64), np.uint8), "stack", axes="tzyx")
    gone = bench.add(np.full((64, 64), 2, np.uint8), "gone")
    bench.viewer.layers.remove("gone")
    layer = bench.annotating.layers.show(plane.id)
    layer.data_setitem((np.array([3]), np.array([4])), 1)
    bench.annotating.tick()
    job = bench.begin()
    assert [image.name for image in job.images] == ["plane", "stack"]
    assert gone.id not in [image.name for image in job.images]
    assert job.frames[0] == (0,)
    assert len(job.frames[1]) == 99
    assert job.places == (((0, 0),), ())
    assert job.annotations[0] is not None
    assert (job.annotations[1], job.model) == (None, None)
    # what is looked at is where the worker can read it
    assert job.images[1].open().data[298].min() == 1 or 298 not in job.frames[1]
    assert stack.sizes["t"] == 300


def test_suggestions_come_and_go_to_their_tiles(bench: Bench) -> None:
    bench.add(np.zeros((64, 64), np.uint8), "plane")
    stack = bench.add(np.ones((9, 200, 200), np.uint8), "stack", axes="zyx")
    bench.begin()
    found = (tile(0), tile(1, 7, 100, 40))
    bench.worker.emit(bench.worker.last, TileSeen(0.5))
    assert bench.suggesting.running
    assert bench.suggesting.progress == 0.5
    bench.worker.emit(bench.worker.last, TilesSuggested(found, "All compared."))
    bench.worker.end(bench.worker.last)
    assert not bench.suggesting.running
    assert bench.suggesting.suggestions == found
    assert bench.suggesting.sentence == "All compared."
    names = [bench.suggesting.name_of(one) for one in found]
    assert names == ["plane", "stack, slice 7"]

    bench.suggesting.go_to(found[1])
    assert bench.images.current == bench.store.project.image(stack.id)
    assert bench.images.place_in_view(stack.id) == (0, 7)
    camera = getattr(bench.viewer, "scene", bench.viewer).camera
    assert camera.center[-2:] == (116, 56)
    (frame,) = find(bench.viewer, "suggested", stack.id)
    assert np.ptp(frame.data[0], axis=0).tolist() == [0, 32, 32]
    assert set(frame.data[0][:, 0]) == {7}
    # strokes still go where people paint
    active = bench.viewer.layers.selection.active
    assert active is bench.images.annotation_layer(stack.id)
    zoom = camera.zoom
    bench.viewer.reset_view()
    assert zoom > 2 * camera.zoom

    other = tile(1, 2, 0, 0)
    bench.suggesting.go_to(other)
    assert [len(one.data) for one in find(bench.viewer, "suggested", stack.id)] == [1]
    bench.images.remove(stack.id)
    with pytest.raises(ValueError, match="no longer in the project"):
        bench.suggesting.go_to(found[1])


def test_images_with_other_channels_are_left_out_and_named(bench: Bench) -> None:
    bench.add(np.zeros((32, 32, 3), np.uint8), "colour", rgb=True)
    grey = bench.add(np.zeros((40, 40), np.uint8), "grey")
    bench.images.set_current(grey.id)
    job = bench.begin()
    assert [image.name for image in job.images] == ["grey"]
    bench.worker.emit(bench.worker.last, TilesSuggested((), "Compared."))
    assert bench.suggesting.sentence == (
        "Compared. Left out: 1 image with other channels."
    )


def test_failures_and_cancelling(bench: Bench) -> None:
    with pytest.raises(ValueError, match="Open an image first"):
        bench.suggesting.start()
    assert not bench.suggesting.running
    bench.add(np.zeros((40, 40), np.uint8))
    bench.begin()
    handle = bench.worker.last
    bench.begin()
    assert bench.worker.cancelled == [handle]
    bench.worker.fail(bench.worker.last, "the disk is gone.")
    assert bench.failures == ["No tile could be suggested: the disk is gone."]
    assert not bench.suggesting.running
    bench.begin()
    bench.suggesting.cancel()
    assert bench.worker.cancelled == [handle, bench.worker.last]
    assert not bench.suggesting.running
