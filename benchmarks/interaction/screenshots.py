"""Make the pictures of the docks in docs/images: `make screenshots`.

A person's session in a real window: paint, train, watch, predict, export. Of some of
its moments the animation `loop.gif` is made.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from benchmarks.interaction.annotator import mistakes, painted
from benchmarks.interaction.scene import open_viewer
from napari_unet.core.annotation.annotations import FIRST_OBJECT
from napari_unet.core.training.training_settings import Training
from napari_unet.io import samples
from napari_unet.session.images.layers import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from numpy.typing import NDArray

    from benchmarks.interaction.hand import Hand
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.workspace import Workspace

_IMAGES = Path("docs/images")
# About a minute on two idle cores; not minutes, for a picture on a busy computer.
_STEPS = 250
# The part of a slice that is annotated (y, x).
_WINDOW = (slice(150, 330), slice(180, 440))
# Nuclei of fewer pixels are debris, and how much closer one looks at a correction.
_SMALLEST, _CLOSE = 60, 3.0


def main() -> None:
    """Play the session and write a picture of each stage."""
    os.environ["NAPARI_UNET_HOME"] = tempfile.mkdtemp()
    from qtpy.QtWidgets import QApplication

    theme = sys.argv[1] if len(sys.argv) > 1 else "dark"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else _IMAGES
    viewer, hand, workspace, _ = open_viewer(_stack(), "nuclei")
    film = Film(viewer)
    viewer.theme = theme
    # strokes follow one another faster than any hand's: none is a double click
    QApplication.setDoubleClickInterval(1)
    film.take()
    _annotate(viewer, hand, workspace, film)
    _shoot(viewer, folder / "annotate.png")
    workspace.overlay.set_enabled(True)
    # the first weights come when the worker has started
    hand.wait_until(lambda: any(o.data.any() for o in find(viewer, "weights")))
    hand.wait(1)
    _shoot(viewer, folder / "weights.png")
    workspace.overlay.drop()
    _train(viewer, hand, workspace, film)
    _shoot(viewer, folder / "train.png")
    hand.wait_until(lambda: workspace.training.state == "idle")
    hand.wait(3)
    film.take(2)
    _predict(viewer, hand, workspace)
    _shoot(viewer, folder / "predict.png")
    film.take(3)
    _correct(viewer, hand, workspace)
    _shoot(viewer, folder / "correct.png")
    film.take(3)
    film.save(folder / "loop.gif")
    viewer.close()


class Film:
    """Pictures of the window, one after the other, small enough for a page."""

    _WIDTH, _FRAME_MS = 900, 600

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._frames: list[PIL.Image.Image] = []

    def take(self, times: int = 1) -> None:
        """Add the window as it is now, shown for as many frames."""
        pixels = self._viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        picture = PIL.Image.fromarray(pixels)
        height = round(picture.height * self._WIDTH / picture.width)
        small = picture.resize((self._WIDTH, height), PIL.Image.Resampling.LANCZOS)
        self._frames += [small] * times

    def save(self, path: Path) -> None:
        """Write a GIF that repeats; all frames have the colours of the last."""
        colours = self._frames[-1].quantize(128)
        first, *others = (
            frame.quantize(palette=colours, dither=PIL.Image.Dither.NONE)
            for frame in self._frames
        )
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self._FRAME_MS,
            loop=0,
            optimize=True,
        )
        print(path)


def _stack() -> np.ndarray:
    return np.stack([np.asarray(image.data) for image, _ in samples.nuclei()[:6]])


def _annotate(
    viewer: napari.Viewer, hand: Hand, workspace: Workspace, film: Film
) -> None:
    """Paint nuclei as their truth has them, and background, in two slices."""
    image = workspace.images.current
    if image is None:
        raise RuntimeError("the workspace took no image")
    layer = workspace.images.annotation_layer(image.id)
    for z in (0, 1):
        viewer.dims.set_current_step(0, z)
        hand.wait(0.2)
        _paint(hand, workspace, layer, z, film)
    viewer.dims.set_current_step(0, 0)
    hand.wait(2)


def _paint(hand: Hand, workspace: Workspace, layer: Any, z: int, film: Film) -> None:
    """Paint all nuclei that lie in the window, then the background between them."""
    truth = np.asarray(samples.nuclei()[z][1].data)
    rows, columns = _WINDOW
    inside = set(np.unique(truth[rows, columns]).tolist()) - {0}
    whole = [
        n for n in inside if (truth[rows, columns] == n).sum() == (truth == n).sum()
    ]
    layer.brush_size = 5
    for count, number in enumerate(sorted(whole)):
        if z == 0 and count % 3 == 0:
            film.take()
        workspace.annotating.brush.next_cell()
        for stroke in _strokes(truth == number, _WINDOW, step=3, margin=1):
            hand.drag(stroke, layer)
    workspace.annotating.brush.background()
    for stroke in _strokes(truth == 0, _WINDOW, step=3, margin=2):
        hand.drag(stroke, layer)
    workspace.annotating.brush.next_cell()
    if z == 0:
        film.take(2)


def _strokes(
    mask: NDArray[np.bool_], window: tuple[slice, slice], step: int, margin: int
) -> Iterator[list[tuple[int, int]]]:
    """Horizontal strokes that fill a mask in a window, as ends (y, x)."""
    rows, columns = (range(n)[part] for part, n in zip(window, mask.shape, strict=True))
    for y in rows[::step]:
        line = np.concatenate([[False], mask[y, window[1]], [False]])
        for start, stop in np.flatnonzero(np.diff(line)).reshape(-1, 2):
            if stop - start > 2 * margin:
                left, right = int(start) + margin, int(stop) - 1 - margin
                yield [(y, columns[left]), (y, columns[right])]


def _train(viewer: napari.Viewer, hand: Hand, workspace: Workspace, film: Film) -> None:
    _raise(viewer, "Train")
    workspace.training.plan.set(
        training=Training.quick().replace(minutes=0, steps=_STEPS)
    )
    viewer.dims.set_current_step(0, 3)
    workspace.training.start()
    for share in np.linspace(0.1, 0.7, 7):
        hand.wait_until(partial(_is_trained, workspace, float(share)))
        film.take()


def _is_trained(workspace: Workspace, share: float) -> bool:
    return workspace.training.progress.share > share


def _predict(viewer: napari.Viewer, hand: Hand, workspace: Workspace) -> None:
    """Predict the whole stack, as the dock says then."""
    from napari_unet.gui.predict.run_panel import RunPanel

    _raise(viewer, "Predict")
    hand.wait(0.5)
    panel = viewer.window._qt_window.findChild(RunPanel)
    panel.extent.setCurrentIndex(panel.extent.findData("layer"))
    panel.predict.click()
    hand.wait_until(lambda: not workspace.prediction.running)
    hand.wait(3)


def _correct(viewer: napari.Viewer, hand: Hand, workspace: Workspace) -> None:
    """Paint over what is predicted wrong; wait until it is shown, and learnt or not."""
    image = workspace.images.current
    if image is None:
        raise RuntimeError("the workspace has no image")
    on = workspace.preferences.replace(learn_corrections=True)
    workspace.set_preferences(on)
    z, masks = _wrong(workspace.prediction.results[image.id])
    viewer.dims.set_current_step(0, z)
    camera = viewer.scene.camera
    y, x = np.argwhere(np.any([mask for mask, _ in masks], axis=0)).mean(axis=0)
    camera.center, camera.zoom = (0, y, x), _CLOSE * camera.zoom
    hand.wait(2)
    layer = workspace.images.annotation_layer(image.id)
    viewer.layers.selection.active = layer
    brush = workspace.annotating.brush
    for mask, is_cell in masks:
        (brush.next_cell if is_cell else brush.background)()
        for stroke in _strokes(mask, (slice(None), slice(None)), step=3, margin=1):
            hand.drag(stroke, layer)
    learning, segmenter = workspace.learning, workspace.prediction.segmenter
    hand.wait(1)
    hand.wait_until(lambda: not learning.busy and segmenter.idle)
    hand.wait(2)


def _wrong(results: ResultLayers) -> tuple[int, list[tuple[NDArray[np.bool_], bool]]]:
    """Return a slice, and what is to be painted there: masks, and which are cells."""
    found = []
    for z in range(2, len(_stack())):
        truth = np.asarray(samples.nuclei()[z][1].data).astype(np.int32)
        seen = results.plane("cells", 0, z)
        for mistake in mistakes(seen, truth, _SMALLEST):
            # of all that may be wrong, what anyone sees at a glance
            size = int(np.isin(truth, mistake.cells).sum())
            found.append(((mistake.kind == "merged", size), z, mistake))
    if not found:
        raise RuntimeError("nothing is wrong that could be corrected")
    _, z, mistake = max(found, key=lambda one: one[0])
    truth = np.asarray(samples.nuclei()[z][1].data).astype(np.int32)
    seen, nothing = results.plane("cells", 0, z), np.zeros_like(truth)
    strokes = painted(mistake, seen, truth, nothing, FIRST_OBJECT)
    return z, [(mask, value >= FIRST_OBJECT) for mask, value in strokes]


def _raise(viewer: napari.Viewer, name: str) -> None:
    from napari_unet.gui import docks

    docks.show_dock(viewer, getattr(docks, f"{name}Dock"))


def _shoot(viewer: napari.Viewer, path: Path) -> None:
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


if __name__ == "__main__":
    main()
