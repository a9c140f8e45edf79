from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.session.images.layers import spacing_um_of
from napari_unet.session.images.pixel_size import ScaleBar, set_pixel_size
from napari_unet.session.images.side_by_side import SideBySide
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SessionBench]:
    bench = SessionBench(tmp_path, lambda call: call())
    yield bench
    bench.close()


def test_a_size_that_no_file_tells_is_given_and_taken_back(bench: SessionBench) -> None:
    image = bench.add(np.zeros((3, 8, 10), np.uint8), axes="zyx")
    assert image.spacing_um is None
    set_pixel_size(bench.store, image.id, (2.0, 0.5, 0.5))
    known = bench.store.project.image(image.id)
    assert known.spacing_um == (2.0, 0.5, 0.5)
    assert "pixel size as you gave it" in " ".join(known.notes)
    # what the worker gets
    bench.images.share_frames(image.id)
    assert bench.images.reference(image.id).spacing_um == (2.0, 0.5, 0.5)
    bench.annotating.undo()
    assert bench.store.project.image(image.id).spacing_um is None


@pytest.fixture
def side_by_side(bench: SessionBench) -> Iterator[SideBySide]:
    side_by_side = SideBySide(bench.viewer, bench.images)
    yield side_by_side
    side_by_side.close()


@pytest.fixture
def bar(bench: SessionBench, side_by_side: SideBySide) -> Iterator[ScaleBar]:
    bar = ScaleBar(bench.viewer, bench.images, side_by_side)
    yield bar
    bar.close()


def test_what_a_file_tells_gives_way_to_what_a_person_gives(
    bench: SessionBench,
) -> None:
    pixels = np.zeros((3, 8, 10), np.uint8)
    image = bench.add(pixels, axes="zyx", scale=(2, 1, 1), units=("um", "um", "um"))
    assert image.notes[0] == "Axes z, y, x as you chose; pixel size from the layer."
    set_pixel_size(bench.store, image.id, (1.0, 0.5, 0.5))
    given = "Axes z, y, x as you chose; pixel size as you gave it."
    assert bench.store.project.image(image.id).notes == (given,)
    set_pixel_size(bench.store, image.id, None)
    unknown = "Axes z, y, x as you chose."
    assert bench.store.project.image(image.id).notes == (unknown,)
    # both from one source
    bench.store.change_image(
        image.id, notes=("Axes z, y, x and pixel size from the file.", "Other.")
    )
    set_pixel_size(bench.store, image.id, (1.0, 0.5, 0.5))
    given = "Axes z, y, x from the file; pixel size as you gave it."
    assert bench.store.project.image(image.id).notes == (given, "Other.")


def test_the_scale_bar_goes_by_the_pixel_size(
    bench: SessionBench, bar: ScaleBar
) -> None:
    image = bench.add(np.zeros((3, 8, 10), np.uint8), axes="zyx")
    annotation = bench.annotating.layers.show(image.id)
    other = bench.viewer.add_image(np.zeros((8, 10)), name="other")
    set_pixel_size(bench.store, image.id, (2.0, 0.5, 0.5))
    bench.viewer.dims.set_current_step(0, 1)
    assert not bar.shown
    bar.set_shown(True)
    assert bar.shown
    (own,) = bench.images.layers(image.id)
    assert spacing_um_of(own, "zyx") == (2.0, 0.5, 0.5)
    # what lies on it stays on it, and nothing else moves
    np.testing.assert_allclose(annotation.scale, (2.0, 0.5, 0.5))
    np.testing.assert_allclose(other.scale, (1, 1))
    # nor does what is looked at
    assert bench.images.place_in_view(image.id) == (0, 1)
    # again: it has its scale already
    bar.set_shown(True)
    np.testing.assert_allclose(own.scale, (2.0, 0.5, 0.5))
    # it follows the pixel size, also where that is taken back
    set_pixel_size(bench.store, image.id, (2.0, 0.25, 0.25))
    bar.tick()
    np.testing.assert_allclose(annotation.scale, (2.0, 0.25, 0.25))
    set_pixel_size(bench.store, image.id, None)
    bar.tick()
    assert spacing_um_of(own, "zyx") is None
    np.testing.assert_allclose(annotation.scale, (1, 1, 1))
    assert bench.images.place_in_view(image.id) == (0, 1)
    bar.set_shown(False)
    assert not bar.shown


def test_where_the_scale_bar_has_no_micrometres_it_is_told(
    bench: SessionBench, bar: ScaleBar
) -> None:
    told: list[str] = []
    bar.message.connect(lambda _level, sentence: told.append(sentence))
    image = bench.add(np.zeros((8, 10), np.uint8), name="wing")
    bar.set_shown(True)
    assert told.pop() == (
        "The scale bar is in pixels: the pixel size of “wing” is not known."
    )
    set_pixel_size(bench.store, image.id, (0.5, 0.5))
    bar.set_shown(True)
    assert told == []
    bench.viewer.add_image(np.ones((8, 10)), name="eye")
    bar.tick()
    bench.images.changed.emit()
    bar.tick()
    # once
    assert told == ["The scale bar has no unit: the pixel size of “eye” is not known."]


def test_the_scale_bar_is_of_all_images_also_side_by_side(
    bench: SessionBench, bar: ScaleBar, side_by_side: SideBySide
) -> None:
    first = bench.add(np.zeros((8, 10), np.uint8), name="first")
    second = bench.add(np.ones((8, 10), np.uint8), name="second")
    for image in (first, second):
        set_pixel_size(bench.store, image.id, (0.5, 0.5))
    side_by_side.set_shown(True)
    bar.set_shown(True)
    own = [bench.images.layers(image.id)[0] for image in (first, second)]
    for layer in own:
        np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    left, right = (layer.extent.world for layer in own)
    # beside each other, not apart by what was their width in pixels
    assert 0 < right[0, -1] - left[1, -1] < 1
    side_by_side.set_shown(False)
    for layer in own:
        np.testing.assert_allclose(layer.translate, 0, atol=1e-9)
    # an image that comes later gets its own
    scaled = bench.viewer.add_image(np.full((8, 10), 2, np.uint8), name="third")
    third = bench.images.add([scaled])
    set_pixel_size(bench.store, third.id, (0.25, 0.25))
    bar.tick()
    np.testing.assert_allclose(scaled.scale, (0.25, 0.25))


def test_the_pixel_size_is_that_of_the_level_in_use(
    bench: SessionBench, bar: ScaleBar
) -> None:
    levels = [np.zeros((16, 20), np.uint8), np.zeros((8, 10), np.uint8)]
    layer = bench.viewer.add_image(levels, multiscale=True, name="slide")
    image = bench.images.add([layer], level=1)
    set_pixel_size(bench.store, image.id, (0.5, 0.5))
    bar.set_shown(True)
    assert spacing_um_of(layer, "yx", level=1) == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(layer.scale, (0.25, 0.25))


def test_volumes_cannot_be_painted_and_it_is_said(bench: SessionBench) -> None:
    told: list[tuple[str, str]] = []
    bench.annotating.message.connect(lambda *words: told.append(words))
    image = bench.add(np.zeros((3, 8, 10), np.uint8), axes="zyx")
    layer = bench.annotating.layers.show(image.id)
    bench.viewer.layers.selection.active = layer
    bench.annotating.brush.next_cell()
    bench.viewer.dims.ndisplay = 3
    assert bench.annotating.in_3d
    ((level, sentence),) = told
    assert level == "warning"
    assert "Ctrl+Y" in sentence
    bench.viewer.dims.ndisplay = 2
    assert not bench.annotating.in_3d
    assert len(told) == 1
