"""One scene in a napari window; prints what it measured as a line of JSON.

`python -m benchmarks.interaction.scene NAME` needs a screen; see `__main__`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.interaction.hand import Hand
from benchmarks.interaction.headless import Headless
from benchmarks.interaction.user import Heartbeat, User
from napari_unet.core.recipe import Training
from napari_unet.io import samples

if TYPE_CHECKING:
    import napari

    from napari_unet.session.workspace import Workspace

# Long enough for a 99.9th percentile of gaps of some milliseconds.
_SECONDS = 25.0
_SLICES = 8


def stack() -> tuple[np.ndarray, np.ndarray]:
    """Return the sample's images of nuclei as a stack, with their labels."""
    pairs = samples.nuclei()[:_SLICES]
    images = np.stack([np.asarray(image.data) for image, _ in pairs])
    return images, np.stack([np.asarray(truth.data) for _, truth in pairs])


def annotation() -> np.ndarray:
    """Return two slices of the truth as annotation, the others empty."""
    _, truth = stack()
    labels = np.zeros(truth.shape, np.int32)
    labels[:2] = truth[:2].astype(np.int32) + 1
    return labels


def open_viewer() -> tuple[napari.Viewer, Hand, Workspace]:
    """Open napari with the stack and the three docks."""
    import napari

    from napari_unet.gui.workspaces import open_workspace, workspace_of

    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.add_image(stack()[0], name="stack")
    open_workspace()
    hand = Hand(viewer)
    hand.wait(1)
    return viewer, hand, workspace_of(viewer)


def painted(workspace: Workspace) -> Any:
    """Put the annotation into the layer that the workspace made."""
    image = workspace.images.current
    if image is None:
        raise RuntimeError("the workspace took no image")
    layer = workspace.annotating.new_annotation(image.id)
    layer.data = annotation()
    return layer


class Steps:
    """Counts the steps of a training in this napari, by its events."""

    def __init__(self, workspace: Workspace) -> None:
        self.times: list[float] = []
        workspace.worker.started.connect(self._follow)

    def _follow(self, handle: Any) -> None:
        handle.event.connect(self._count)

    def _count(self, event: Any) -> None:
        if type(event).__name__ == "StepDone":
            self.times.append(perf_counter())


def settings() -> Training:
    """Return a training that outlasts every scene, all alike."""
    return Training.quick().replace(minutes=0, steps=100_000, validation=0)


def watch_user(viewer: napari.Viewer, hand: Hand, layer: Any) -> dict[str, float]:
    """Let the user act for a while and return the gaps of the event loop."""
    user, heart = User(viewer, hand, layer), Heartbeat()
    user.start()
    hand.wait(3)
    heart.start()
    hand.wait(_SECONDS)
    gaps = heart.stop()
    user.stop()
    return gaps


def script() -> dict[str, Any]:
    """The user alone."""
    viewer, hand, workspace = open_viewer()
    gaps = watch_user(viewer, hand, painted(workspace))
    viewer.close()
    return {"gaps": gaps}


def headless() -> dict[str, Any]:
    """The user in a napari without a job, beside a training of its own."""
    viewer, hand, workspace = open_viewer()
    layer = painted(workspace)
    with tempfile.TemporaryDirectory() as folder:
        training = Headless(Path(folder), *stack()[:1], annotation())
        hand.wait_until(lambda: training.count() > 20, 60)
        begun, count = perf_counter(), training.count()
        gaps = watch_user(viewer, hand, layer)
        rate = (training.count() - count) / (perf_counter() - begun)
        training.stop()
    viewer.close()
    return {"gaps": gaps, "steps_per_second": rate}


def training() -> dict[str, Any]:
    """The user while the plugin trains, with its live preview."""
    viewer, hand, workspace = open_viewer()
    layer = painted(workspace)
    steps = Steps(workspace)
    workspace.training.set_settings(settings())
    workspace.training.start()
    hand.wait_until(lambda: len(steps.times) > 20, 60)
    begun, count = perf_counter(), len(steps.times)
    gaps = watch_user(viewer, hand, layer)
    rate = (len(steps.times) - count) / (perf_counter() - begun)
    viewer.close()
    return {"gaps": gaps, "steps_per_second": rate}


SCENES = {"script": script, "headless": headless, "training": training}


def main() -> None:
    """Play the scene named on the command line."""
    print(json.dumps(SCENES[sys.argv[1]]()), flush=True)


if __name__ == "__main__":
    main()
