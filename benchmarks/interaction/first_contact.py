"""How many presses it takes to a first mask, from an image that is open."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QPushButton

from benchmarks.interaction.hand import Hand
from napari_unet.io import samples
from napari_unet.session.images.layers import find

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

_WORKSPACE = ("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
_SEGMENT = ("Layers", "Segment", "Segment the image now (U-Net)")
_CELLS, _PLACES = 4, 6


def with_starter() -> dict[str, float]:
    """Count the presses to the masks of a model that comes with the plugin."""
    return _count(_ask_for_cells)


def with_own_training() -> dict[str, float]:
    """Count the presses to a first preview of a training on one's own strokes."""
    return _count(_paint_and_train)


def _count(act: Callable[[napari.Viewer, Hand], None]) -> dict[str, float]:
    """Open an image, act until a mask is seen, and return presses and seconds."""
    import napari

    # strokes follow one another faster than any hand's: none is a double click
    QApplication.setDoubleClickInterval(1)
    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.add_image(np.asarray(samples.nuclei()[0][0].data), name="nuclei")
    hand = Hand(viewer)
    hand.wait(1)
    began = perf_counter()
    act(viewer, hand)
    hand.wait_until(lambda: _is_seen(viewer), 300)
    seconds = perf_counter() - began
    _end(viewer, hand)
    return {"presses": float(hand.presses), "seconds": seconds}


def _ask_for_cells(_viewer: napari.Viewer, hand: Hand) -> None:
    hand.menu(*_SEGMENT)


def _paint_and_train(viewer: napari.Viewer, hand: Hand) -> None:
    """Paint some cells and background between them, by mouse and keys; train."""
    hand.menu(*_WORKSPACE)
    hand.wait_until(lambda: find(viewer, "annotation"))
    hand.wait(0.5)
    layer = find(viewer, "annotation")[0]
    truth = np.asarray(samples.nuclei()[0][1].data)
    for label in np.unique(truth[truth > 0])[5 : 5 + _CELLS]:
        ys, xs = np.nonzero(truth == label)
        middle = (int(ys.mean()), int(xs.mean()))
        hand.drag([middle, (middle[0] + 3, middle[1] + 3)], layer)
        hand.key(Qt.Key.Key_N)
    hand.key(Qt.Key.Key_G)
    empty = np.argwhere(truth == 0)
    for y, x in empty[5000 :: len(empty) // _PLACES]:
        if (truth[max(y - 12, 0) : y + 12, max(x - 12, 0) : x + 12] == 0).all():
            hand.drag([(int(y), int(x)), (int(y), int(x) + 2)], layer)
    hand.wait_until(lambda: _train_button(hand) is not None)
    hand.click(_train_button(hand))


def _train_button(hand: Hand) -> Any:
    found = hand.window.findChildren(QPushButton)
    able = (b for b in found if b.text() == "Train" and b.isVisible() and b.isEnabled())
    return next(able, None)


def _is_seen(viewer: napari.Viewer) -> bool:
    shown = (layer for layer in find(viewer, "cells") if layer.visible)
    return any(np.asarray(layer.data).any() for layer in shown)


def _end(viewer: napari.Viewer, hand: Hand) -> None:
    from napari_unet.gui.workspaces import host_of

    workspace = host_of(viewer).workspace
    workspace.preferences = workspace.preferences.replace(ask_before_closing=False)
    workspace.prediction.cancel()
    if workspace.training.state != "idle":
        workspace.training.stop()
        hand.wait_until(lambda: workspace.training.state == "idle", 300)
    hand.wait_until(lambda: not workspace.worker.busy, 300)
    viewer.close()
    # what is deleted later is, before the process ends
    hand.wait(1)
