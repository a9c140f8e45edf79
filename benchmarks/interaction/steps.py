"""What people do with large images, step by step, while the GUI thread is watched."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.interaction.material import save_untrained, settings, stack
from benchmarks.interaction.watchdog import Watchdog
from napari_unet.session.images.layers import find

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from benchmarks.interaction.hand import Hand
    from napari_unet.session.workspace import Workspace

_SIDE, _REPEATED, _PROJECTS = 2048, 4, 6
# Key of what has no code of the plugin.
NAPARI_ALONE = "napari alone"


def watch_steps(
    open_viewer: Callable[..., tuple[napari.Viewer, Hand, Workspace, float]],
) -> dict[str, Any]:
    """Return for each step how long code of ours held the event loop in one turn.

    Returns
    -------
    dict
        By the step's name: what `Longest` has.
    """
    images, truth = (np.tile(a, (_REPEATED, 1, 1)) for a in stack(side=_SIDE))
    _earlier_projects(images, truth)
    viewer, hand, workspace, _ = open_viewer(images[:1])
    watchdog = Watchdog()
    with TemporaryDirectory() as folder:
        _play(viewer, hand, workspace, watchdog, images, truth, Path(folder))
    watchdog.close()
    found: dict[str, Any] = {
        step: asdict(one) for step, one in watchdog.longest.items()
    }
    found[NAPARI_ALONE] = _napari_alone(viewer, hand)
    viewer.close()
    return found


def _napari_alone(viewer: napari.Viewer, hand: Hand) -> dict[str, float]:
    """Return how long napari itself takes to add and remove labels, in milliseconds."""
    from napari.layers import Labels

    layer = Labels(np.zeros((_SIDE, _SIDE), np.int32))
    took = {}
    for what in ("append", "remove"):
        hand.wait(1)
        began = perf_counter()
        getattr(viewer.layers, what)(layer)
        took[what] = 1000 * (perf_counter() - began)
    return took


def _earlier_projects(images: Any, truth: Any) -> None:
    """Leave projects in which the images are annotated, as after weeks of work."""
    from napari.components import ViewerModel

    from napari_unet.session.preferences import Preferences
    from napari_unet.session.workspace import Workspace

    for _ in range(_PROJECTS):
        viewer = ViewerModel()
        workspace = Workspace(viewer, lambda call: call(), Preferences())
        image = workspace.images.add([viewer.add_image(images, name="stack")])
        workspace.store.replace_annotation(image.id, truth, "annotate")
        workspace.close()


def _play(
    viewer: napari.Viewer,
    hand: Hand,
    workspace: Workspace,
    watchdog: Watchdog,
    images: Any,
    truth: Any,
    folder: Path,
) -> None:
    _annotate(viewer, hand, workspace, watchdog, images, truth)
    path = save_untrained(folder / "quick.safetensors", "quick")
    workspace.models.add(path)
    workspace.models.select(path)
    _predict(hand, workspace, watchdog)
    for role in ("cells", "annotation"):
        viewer.layers.selection.active = find(viewer, role)[-1]
        with watchdog.watching(f"going to the next cell, {role}"):
            for _ in range(3):
                workspace.editor.step(1)
                hand.wait(1)
    _train(viewer, hand, workspace, watchdog)


def _annotate(
    viewer: napari.Viewer,
    hand: Hand,
    workspace: Workspace,
    watchdog: Watchdog,
    images: Any,
    truth: Any,
) -> None:
    from napari_unet.gui.annotate.page import AnnotatePage

    layer = viewer.add_image(images, name="large")
    hand.wait(2)
    earlier = workspace.annotating.earlier_work
    with watchdog.watching("looking for earlier work"):
        image = workspace.images.add([layer])
        workspace.images.set_current(image.id)
        hand.wait_until(lambda: earlier.of(image.id) is not None)
        hand.wait(1)
    earlier.decline(image.id)
    masks = viewer.add_labels(truth - 1, name="masks", visible=False)
    hand.wait(2)
    page = hand.window.findChildren(AnnotatePage)[0]
    with watchdog.watching("importing masks"):
        page.import_.import_masks(masks.data, masks, "instances", image)
        hand.wait_until(lambda: len(workspace.images.places(image.id)) == len(images))
        hand.wait(3)
    viewer.layers.remove(masks)
    with watchdog.watching("scrolling"):
        for z in range(len(images)):
            viewer.dims.set_current_step(0, z)
            hand.wait(0.5)
    with watchdog.watching("checking the data"):
        page.check_fold.button.click()
        hand.wait_until(lambda: not workspace.worker.busy)
        hand.wait(1)
    page.check_fold.button.click()


def _predict(hand: Hand, workspace: Workspace, watchdog: Watchdog) -> None:
    with watchdog.watching("predicting"):
        workspace.prediction.predict("slice")
        hand.wait_until(lambda: not workspace.prediction.running)
        hand.wait_until(lambda: workspace.prediction.segmenter.idle)
        hand.wait(1)
    with watchdog.watching("moving the threshold"):
        for number in range(4):
            moved = workspace.prediction.segmentation
            moved = moved.replace(threshold=0.3 + 0.1 * number)
            workspace.prediction.set_segmentation(moved)
            hand.wait(1)
    for key in ("probability", "entropy", "weights"):
        with watchdog.watching(f"showing {key}"):
            workspace.showing.set_shown(key, True)
            hand.wait(2)
            workspace.showing.set_shown(key, False)
            hand.wait(1)


def _train(
    viewer: napari.Viewer, hand: Hand, workspace: Workspace, watchdog: Watchdog
) -> None:
    with watchdog.watching("beginning to train"):
        workspace.training.plan.set(training=settings())
        workspace.training.start()
        hand.wait_until(lambda: find(viewer, "cells") and _steps(workspace) > 5)
        hand.wait(3)
    with watchdog.watching("ending the training"):
        workspace.training.stop()
        hand.wait_until(lambda: workspace.training.state == "idle")
        hand.wait(2)


def _steps(workspace: Workspace) -> int:
    return len(workspace.training.progress.curve.points)
