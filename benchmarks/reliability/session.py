"""What is in napari's process, without its window: a viewer, a workspace, a person."""

from __future__ import annotations

import queue
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel

from napari_unet.core.training.training_settings import Training
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from napari.layers import Labels
    from numpy.typing import NDArray

TINY = Training(
    width=4, depth=2, patch=20, batch=1, steps=60, minutes=0, validation=0.2
)
_TICK_S = 0.05


class Session:
    """A workspace whose main thread is the caller of `until`.

    Attributes
    ----------
    workspace : Workspace
    told : list of str
        Sentences that a person would have read.
    """

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self._ticked = 0.0
        self.told: list[str] = []
        self.workspace = Workspace(
            ViewerModel(), self._calls.put, Preferences(device="cpu")
        )
        self.workspace.message.connect(lambda _, words: self.told.append(words))

    def show(self, pixels: NDArray[Any]) -> tuple[str, Labels]:
        """Open an image, take it into the project; return its id and annotation."""
        layer = self.workspace.viewer.add_image(pixels, name="plate")
        image = self.workspace.images.add([layer], "zyx"[-pixels.ndim :])
        return image.id, self.workspace.annotating.layers.show(image.id)

    def until(self, condition: Callable[[], object], seconds: float = 60) -> bool:
        """Do what the main thread does until something holds; whether it came."""
        end = monotonic() + seconds
        while not condition():
            if monotonic() > end:
                return False
            with suppress(queue.Empty):
                self._calls.get(timeout=0.01)()
            if monotonic() - self._ticked > _TICK_S:
                self._ticked = monotonic()
                self.workspace.tick()
        return True

    def train(self, steps: int = TINY.steps) -> None:
        """Press Train."""
        self.workspace.training.plan.set(training=TINY.replace(steps=steps))
        self.workspace.training.start()

    @property
    def quiet(self) -> bool:
        """Whether nothing goes on."""
        workspace = self.workspace
        return (
            workspace.training.state == "idle"
            and not workspace.prediction.running
            and workspace.prediction.segmenter.idle
            and not workspace.worker.busy
        )


def annotate(labels: Labels) -> None:
    """Paint two squares and the ground around them in the first slice."""
    data = np.asarray(labels.data).copy()
    plane = data.reshape(-1, *data.shape[-2:])[0]
    plane[:] = 1
    plane[20:40, 20:40] = 2
    plane[50:70, 50:74] = 3
    labels.data = data


def squares(slices: int = 2, side: int = 96) -> NDArray[np.float32]:
    """Return what `annotate` fits."""
    pixels = np.random.default_rng(0).normal(20, 5, (slices, side, side))
    pixels[:, 20:40, 20:40] += 80
    pixels[:, 50:70, 50:74] += 80
    return pixels.astype(np.float32)


def stroke(labels: Labels, rng: random.Random) -> bool:
    """Paint, erase, fill or undo something, as napari does it for the mouse.

    Returns whether it was undone, perhaps in another slice than that in view.
    """
    slices, height, width = labels.data.shape
    z = rng.randrange(slices)
    # the plugin's brush may have set it, and this has to be the same in any layer
    labels.preserve_labels = False
    what = rng.random()
    if what < 0.1:
        labels.undo()
    elif what < 0.15:
        # so large that it is recorded before it is written
        labels.fill((z, 0, 0), rng.randrange(2, 2000))
    elif what < 0.3:
        y, x = rng.randrange(height - 30), rng.randrange(width - 30)
        box = np.mgrid[z : z + 1, y : y + 30, x : x + 30].reshape(3, -1)
        labels.data_setitem(tuple(box), rng.randrange(2000))
    else:
        labels.brush_size = rng.randrange(1, 40)
        value = rng.choice((0, 1, rng.randrange(2, 2000)))
        at = np.array([rng.uniform(0, height), rng.uniform(0, width)])
        with labels.block_history():
            for _ in range(rng.randrange(1, 8)):
                at += rng.uniform(-9, 9), rng.uniform(-9, 9)
                labels.paint((z, *at), value)
    return what < 0.1
