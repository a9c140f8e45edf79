"""One scene in a napari window; prints what it measured as a line of JSON.

`python -m benchmarks.interaction.scene NAME` needs a screen; see `__main__`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.interaction.first_contact import with_own_training, with_starter
from benchmarks.interaction.hand import Hand
from benchmarks.interaction.headless import Headless
from benchmarks.interaction.latency import first_tile, overlay_moves, threshold_moves
from benchmarks.interaction.material import annotation, settings, stack
from benchmarks.interaction.steps import watch_steps
from benchmarks.interaction.user import Heartbeat, User
from napari_unet.session.images.layers import find

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from numpy.typing import NDArray

    from benchmarks.interaction.corrections import Material, Tally
    from napari_unet.session.workspace import Workspace

# Long enough for a 99.9th percentile of gaps of some milliseconds.
_SECONDS = 25.0


def open_viewer(
    images: NDArray[Any], name: str = "stack", first_axis: str = "z"
) -> tuple[napari.Viewer, Hand, Workspace, float]:
    """Open napari with a stack and the three docks; say how long the docks took."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.add_image(images, name=name, axis_labels=(first_axis, "y", "x"))
    hand = Hand(viewer)
    hand.wait(1)
    # what a person who opens it for the first time since napari started waits for
    began = perf_counter()
    from napari_unet.gui.docks import open_workspace
    from napari_unet.gui.workspaces import host_of

    open_workspace()
    seconds = perf_counter() - began
    hand.wait_until(lambda: find(viewer, "annotation"), 60)
    hand.wait(3)
    workspace = host_of(viewer).workspace
    # nobody is there to answer
    workspace.preferences = workspace.preferences.replace(ask_before_closing=False)
    return viewer, hand, workspace, seconds


def painted(workspace: Workspace, labels: NDArray[np.int32]) -> Any:
    """Put an annotation into the layer that the workspace made."""
    image = workspace.images.current
    layer = workspace.images.annotation_layer(image.id) if image else None
    if layer is None:
        raise RuntimeError("the workspace made no annotation for the image")
    layer.data = labels.astype(layer.data.dtype)
    return layer


class Steps:
    """Counts the steps of a training in this napari, by its events."""

    def __init__(self, workspace: Workspace) -> None:
        self.times: list[float] = []
        self._handles: list[Any] = []
        workspace.worker.started.connect(self._follow)

    def _follow(self, handle: Any) -> None:
        self._handles.append(handle)
        handle.event.connect(self._count)

    def _count(self, event: Any) -> None:
        if type(event).__name__ == "StepDone":
            self.times.append(perf_counter())


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
    """Let the user act in a napari that has no job."""
    viewer, hand, workspace, _ = open_viewer(stack()[0])
    gaps = watch_user(viewer, hand, painted(workspace, annotation()))
    viewer.close()
    return {"gaps": gaps}


def headless() -> dict[str, Any]:
    """Let the user act in a napari without a job, beside a training of its own."""
    viewer, hand, workspace, _ = open_viewer(stack()[0])
    layer = painted(workspace, annotation())
    with tempfile.TemporaryDirectory() as folder:
        training = Headless(Path(folder), stack()[0], annotation())
        hand.wait_until(lambda: training.count() > 20, 120)
        began, count = perf_counter(), training.count()
        gaps = watch_user(viewer, hand, layer)
        rate = (training.count() - count) / (perf_counter() - began)
        training.stop()
    viewer.close()
    return {"gaps": gaps, "steps_per_second": rate}


def training() -> dict[str, Any]:
    """Let the user act while the plugin trains with its live preview, and after it."""
    viewer, hand, workspace, _ = open_viewer(stack()[0])
    layer = painted(workspace, annotation())
    steps = Steps(workspace)
    workspace.training.plan.set(training=settings())
    workspace.training.start()
    hand.wait_until(lambda: len(steps.times) > 20, 120)
    began, count = perf_counter(), len(steps.times)
    gaps = watch_user(viewer, hand, layer)
    rate = (len(steps.times) - count) / (perf_counter() - began)
    workspace.training.stop()
    hand.wait_until(lambda: workspace.training.state == "idle", 120)
    after = watch_user(viewer, hand, layer)
    viewer.close()
    return {"gaps": gaps, "after": after, "steps_per_second": rate}


def predicting() -> dict[str, Any]:
    """Let the user act while the plugin predicts a long stack, and when it does not."""
    from benchmarks.interaction.material import save_untrained

    viewer, hand, workspace, _ = open_viewer(np.tile(stack()[0], (40, 1, 1)))
    layer = painted(workspace, np.tile(annotation(), (40, 1, 1)))
    path = save_untrained(workspace.store.run_folder / "quick.safetensors", "quick")
    workspace.models.add(path)
    workspace.models.select(path)
    workspace.prediction.predict("layer")
    hand.wait_until(lambda: workspace.prediction.progress > 0, 60)
    gaps = watch_user(viewer, hand, layer)
    running = workspace.prediction.running
    workspace.prediction.cancel()
    hand.wait_until(lambda: not workspace.worker.busy, 120)
    after = watch_user(viewer, hand, layer)
    viewer.close()
    return {"gaps": gaps, "after": after, "outlasted": running}


def latency() -> dict[str, Any]:
    """Open the docks, press Predict on a large image, paint with the overlay on."""
    images, truth = stack(side=2048)
    viewer, hand, workspace, opening = open_viewer(images)
    layer = painted(workspace, truth)
    measured: dict[str, Any] = {"docks": opening}
    for width in ("quick", "paper"):
        measured[f"tile_{width}"] = first_tile(viewer, hand, workspace, width)
    measured["overlay"] = overlay_moves(viewer, hand, workspace, layer)
    viewer.close()
    return measured


def threshold() -> dict[str, Any]:
    """Move the threshold over the cells of a large image."""
    viewer, hand, workspace, _ = open_viewer(stack(side=2048)[0])
    with tempfile.TemporaryDirectory() as folder:
        measured = threshold_moves(viewer, hand, workspace, Path(folder))
    viewer.close()
    return measured


def steps() -> dict[str, Any]:
    """Do what people do with large images; say what held the GUI thread longest."""
    return watch_steps(open_viewer)


def contact() -> dict[str, Any]:
    """Come to a first mask with real presses of mouse and keys, and count them."""
    return {"starter": with_starter(), "own": with_own_training()}


def learn() -> dict[str, Any]:
    """Correct predictions one by one; the model in use learns each at once."""
    from benchmarks.interaction import corrections

    tally, left = corrections.Tally(), corrections.MOST
    with tempfile.TemporaryDirectory() as folder:
        for material in corrections.materials(Path(folder)):
            before = corrections.average_precision(material.model, material.untouched)
            left -= _correct(material, tally, min(left, corrections.OF_A_SET), before)
    return tally.measured()


def _correct(material: Material, tally: Tally, most: int, before: float) -> int:
    """Correct the images of a set in a window of its own; return how often."""
    from benchmarks.interaction import corrections

    stacked = np.stack([image for image, _ in material.corrected])
    # time points, as grey values of slices would be measured over all of them
    viewer, hand, workspace, _ = open_viewer(stacked, material.name, "t")
    workspace.set_preferences(workspace.preferences.replace(learn_corrections=True))
    workspace.models.select(material.model)
    annotator = corrections.Annotator(viewer, hand, workspace, tally)
    done = 0
    for number, (_, truth) in enumerate(material.corrected):
        of_image = min(most - done, corrections.OF_AN_IMAGE)
        done += annotator.correct(number, truth, of_image)
    path = workspace.models.selected
    if path is not None:
        after = corrections.average_precision(path, material.untouched)
        tally.ap[material.name] = before, after
    viewer.close()
    return done


SCENES: dict[str, Callable[[], dict[str, Any]]] = {
    "script": script,
    "headless": headless,
    "training": training,
    "predicting": predicting,
    "latency": latency,
    "threshold": threshold,
    "steps": steps,
    "contact": contact,
    "learn": learn,
}


def main() -> None:
    """Play the scene named on the command line, in a home of its own."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_UNET_HOME"] = home
        print(json.dumps(SCENES[sys.argv[1]]()), flush=True)


if __name__ == "__main__":
    main()
