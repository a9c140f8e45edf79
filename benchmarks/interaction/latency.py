"""How long a person waits for what they see: the first tile, the border weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.interaction.material import save_trained, save_untrained
from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.session.images.layers import METADATA_KEY, find

if TYPE_CHECKING:
    import napari

    from benchmarks.interaction.hand import Hand
    from napari_unet.session.workspace import Workspace

_MOVES, _BRUSH, _THRESHOLDS = 60, 40, 12


class Draws:
    """Tells when the canvas has been drawn."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.count = 0
        canvas = viewer.window._qt_viewer.canvas
        canvas._scene_canvas.events.draw.connect(self._drawn, position="last")

    def more_than(self, count: int) -> bool:
        """Whether it has been drawn since."""
        return self.count > count

    def _drawn(self, _event: Any) -> None:
        self.count += 1


def first_tile(
    viewer: napari.Viewer,
    hand: Hand,
    workspace: Workspace,
    preset: Literal["quick", "paper"],
) -> float:
    """Return the seconds from pressing Predict to the drawing of the first tile.

    The model is loaded, its layers are not there yet.
    """
    path = save_untrained(workspace.store.run_folder / f"{preset}.safetensors", preset)
    workspace.models.add(path)
    workspace.models.select(path)
    workspace.prediction.warm_up()
    hand.wait_until(lambda: not workspace.worker.busy, 60)
    hand.wait(1)
    draws = Draws(viewer)
    began = perf_counter()
    workspace.prediction.predict("slice")
    hand.wait_until(lambda: _shown(viewer, path.stem), 60)
    drawn = draws.count
    hand.wait_until(partial(draws.more_than, drawn), 60)
    seconds = perf_counter() - began
    hand.wait_until(lambda: not workspace.prediction.running, 300)
    hand.wait(2)
    return seconds


def overlay_moves(
    viewer: napari.Viewer, hand: Hand, workspace: Workspace, layer: Any
) -> dict[str, float]:
    """Paint over a dense annotation with the overlay on.

    Returns
    -------
    dict of float
        Milliseconds from a mouse move to the drawing of the weights it changed: the
        median, and the longest but one. `wrong` is the largest error of the weights.
    """
    for shown in list(viewer.layers):
        if shown is not layer and shown.ndim == layer.ndim:
            shown.visible = shown.name == "stack"
    workspace.overlay.set_enabled(True)
    hand.wait_until(lambda: _overlay(viewer).any(), 60)
    hand.wait(3)
    viewer.layers.selection.active = layer
    layer.mode, layer.brush_size, layer.preserve_labels = "paint", _BRUSH, False
    side = layer.data.shape[-1]
    draws, times, wrong = Draws(viewer), [], 0.0
    places = [(side // 2 + 3 * n, side // 3 + 5 * n) for n in range(_MOVES)]
    hand.press(places[0], layer)
    hand.wait(0.5)
    for number, place in enumerate(places[1:]):
        drawn, began = draws.count, perf_counter()
        hand.move(place, layer)
        hand.wait_until(partial(draws.more_than, drawn), 10)
        times.append(1000 * (perf_counter() - began))
        if number % 10 == 0:
            wrong = max(wrong, _error(viewer, workspace, layer))
    hand.release(places[-1], layer)
    times.sort()
    return {"median": median(times), "longest": times[-2], "wrong": wrong}


def threshold_moves(
    viewer: napari.Viewer, hand: Hand, workspace: Workspace, folder: Path
) -> dict[str, float]:
    """Move the threshold over a predicted slice; a network has nothing to do then.

    Returns
    -------
    dict of float
        Milliseconds from a move to the drawing of the new cells: the median, and the
        longest. `cells` is how many there were at the last.
    """
    path = save_trained(folder / "model" / "trained.safetensors")
    workspace.models.add(path)
    workspace.models.select(path)
    workspace.prediction.predict("slice")
    hand.wait_until(lambda: bool(_with_cells(viewer)), 120)
    hand.wait_until(lambda: not workspace.worker.busy, 120)
    hand.wait(2)
    draws, times = Draws(viewer), []
    layer = find(viewer, "cells")[-1]
    # how many pictures there were when the layer got the new cells
    renewed: list[int] = []
    layer.events.set_data.connect(lambda: renewed.append(draws.count))
    for number in range(_THRESHOLDS):
        settings = workspace.prediction.segmentation
        moved = settings.replace(threshold=0.35 + 0.03 * number)
        renewed.clear()
        began = perf_counter()
        workspace.prediction.set_segmentation(moved)
        hand.wait_until(lambda: renewed and draws.more_than(renewed[0]), 10)
        times.append(1000 * (perf_counter() - began))
        hand.wait(1)
    cells = workspace.prediction.cells_in_view() or 0
    return {"median": median(times), "longest": max(times), "cells": float(cells)}


def _with_cells(viewer: napari.Viewer) -> list[Any]:
    return [
        layer
        for layer in find(viewer, "cells")
        if np.asarray(layer.data[viewer.dims.current_step[0]]).any()
    ]


def _shown(viewer: napari.Viewer, model: str) -> bool:
    """Whether a tile of the model is in the pixels that the layer of cells displays."""
    return any(
        layer._slice.image.raw.any()
        for layer in find(viewer, "cells")
        if layer.visible and Path(layer.metadata[METADATA_KEY]["run"]).stem == model
    )


def _overlay(viewer: napari.Viewer) -> Any:
    layers = find(viewer, "weights")
    return np.asarray(layers[0].data) if layers else np.zeros(1)


def _error(viewer: napari.Viewer, workspace: Workspace, layer: Any) -> float:
    """Largest difference of the overlay from the weights of the whole plane."""
    plane = np.asarray(layer.data[viewer.dims.current_step[0]]).astype(np.int32)
    targets = Annotation(plane).targets()
    expected = border_weights(
        targets.instances, workspace.overlay.settings, background=targets.classes == 0
    )
    return float(np.abs(_overlay(viewer) - expected).max())
