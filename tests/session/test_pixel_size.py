from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.session.images.layers import spacing_um_of
from napari_unet.session.images.pixel_size import (
    is_scale_bar_shown,
    set_pixel_size,
    show_scale_bar,
)
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


def test_the_scale_bar_goes_by_the_pixel_size(bench: SessionBench) -> None:
    image = bench.add(np.zeros((3, 8, 10), np.uint8), axes="zyx")
    annotation = bench.annotating.layers.show(image.id)
    other = bench.viewer.add_image(np.zeros((8, 10)), name="other")
    set_pixel_size(bench.store, image.id, (2.0, 0.5, 0.5))
    image = bench.store.project.image(image.id)
    assert not is_scale_bar_shown(bench.viewer)
    show_scale_bar(bench.viewer, bench.images, image, True)
    assert is_scale_bar_shown(bench.viewer)
    (own,) = bench.images.layers(image.id)
    assert spacing_um_of(own, "zyx") == (2.0, 0.5, 0.5)
    # what lies on it stays on it, and nothing else moves
    np.testing.assert_allclose(annotation.scale, (2.0, 0.5, 0.5))
    np.testing.assert_allclose(other.scale, (1, 1))
    # again: it has its scale already
    show_scale_bar(bench.viewer, bench.images, image, True)
    np.testing.assert_allclose(own.scale, (2.0, 0.5, 0.5))
    show_scale_bar(bench.viewer, bench.images, image, False)
    assert not is_scale_bar_shown(bench.viewer)


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
