from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.session.annotating.shortcuts import BLINK_KEY
from napari_unet.session.images.layers import find, role_of
from napari_unet.session.prediction.results import LIVE_RUN, ResultLayers
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.components import ViewerModel


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Return a workspace with an annotated image of three slices."""
    from napari.components import ViewerModel

    viewer = ViewerModel()
    workspace = Workspace(
        viewer, lambda call: call(), Preferences(device="cpu"), tmp_path / "projects"
    )
    pixels = np.random.default_rng(0).integers(0, 9, (3, 30, 40), np.uint8)
    image = workspace.images.add([viewer.add_image(pixels, name="embryo")])
    workspace.annotating.layers.show(image.id)
    yield workspace
    workspace.close()


def results_of(workspace: Workspace, run: str) -> ResultLayers:
    """Return results of the image, as if the run had predicted it."""
    image = workspace.images.current
    assert image is not None
    (layer,) = workspace.images.layers(image.id)
    results = ResultLayers(
        workspace.viewer, layer, image, (ClassInfo(),), workspace.scratch, run, run
    )
    if run == LIVE_RUN:
        workspace.training.preview._results[image.id] = results
    else:
        workspace.prediction.model_results._all[image.id, run] = results, 0.0
        workspace.prediction.results[image.id] = results
    results.claim()
    return results


def roles(viewer: ViewerModel) -> list[str | None]:
    return [role_of(layer) for layer in viewer.layers]


def shown(workspace: Workspace) -> list[str]:
    return [item.key for item in workspace.showing.items() if item.shown]


def test_before_there_is_anything_it_says_what_to_do(workspace: Workspace) -> None:
    problems = {item.key: item.problem for item in workspace.showing.items()}
    assert list(problems) == ["cells", "probability", "classes", "entropy", "weights"]
    assert problems.pop("weights") == ""
    assert set(problems.values()) == {"Predict this image first."}
    workspace.showing.set_shown("probability", True)
    workspace.showing.blink()
    assert roles(workspace.viewer) == [None, "annotation"]


def test_layers_come_when_they_are_asked_for_and_go_again(workspace: Workspace) -> None:
    results_of(workspace, "model")
    three = [None, "annotation", "cells"]
    assert roles(workspace.viewer) == three
    told: list[list[str]] = []
    workspace.showing.changed.connect(lambda: told.append(shown(workspace)))
    for key in ("probability", "classes", "entropy"):
        workspace.showing.set_shown(key, True)
        assert told[-1] == ["cells", key]
        assert roles(workspace.viewer) == [None, key, "annotation", "cells"]
        workspace.showing.set_shown(key, False)
        assert roles(workspace.viewer) == three
    workspace.showing.set_shown("weights", True)
    assert workspace.overlay.enabled
    assert shown(workspace) == ["cells", "weights"]


def test_border_weights_go_again(workspace: Workspace) -> None:
    workspace.showing.set_shown("weights", True)
    assert find(workspace.viewer, "weights")
    workspace.showing.set_shown("weights", False)
    assert not find(workspace.viewer, "weights")
    assert not workspace.overlay.enabled


def test_one_key_blinks_the_prediction(workspace: Workspace) -> None:
    results_of(workspace, "model")
    (cells,) = find(workspace.viewer, "cells")
    keys = {str(key): call for key, call in workspace.viewer.keymap.items()}
    press = keys[BLINK_KEY]
    press(workspace.viewer)
    assert not cells.visible
    workspace.tick()
    assert not cells.visible
    press(workspace.viewer)
    assert cells.visible


def test_what_several_models_found_can_be_seen_in_turn(workspace: Workspace) -> None:
    first, second = results_of(workspace, "first"), results_of(workspace, "second")
    live = results_of(workspace, LIVE_RUN)
    items = {item.key: item for item in workspace.showing.items()}
    assert items["first"].text == "Cells of first"
    assert items[LIVE_RUN].shown
    workspace.showing.set_shown("first", True)
    assert first.in_cells_layer
    assert workspace.prediction.results_in_view() is first
    workspace.showing.set_shown("entropy", True)
    workspace.showing.set_shown(LIVE_RUN, True)
    assert live.in_cells_layer
    assert live.shows("entropy")
    assert not second.in_cells_layer
    assert len(find(workspace.viewer, "cells")) == 1


def test_without_previews_what_was_predicted_is_seen(workspace: Workspace) -> None:
    results = results_of(workspace, "model")
    results_of(workspace, LIVE_RUN)
    workspace.training.preview.set_enabled(False)
    assert results.in_cells_layer


def test_layers_of_an_image_go_with_it_and_come_back(workspace: Workspace) -> None:
    viewer = workspace.viewer
    results = results_of(workspace, "model")
    workspace.showing.set_shown("weights", True)
    results.files.arrays["classes"][:] = 1
    (image,) = workspace.images.layers(results.image.id)
    viewer.layers.remove(image)
    workspace.tick()
    assert roles(viewer) == []
    viewer.add_image(np.array(image.data), name="again")
    workspace.tick()
    assert roles(viewer) == [None, "annotation", "cells", "weights"]
    assert results.in_cells_layer
    assert results.files.arrays["classes"].all()


def test_so_they_do_when_it_leaves_the_project(workspace: Workspace) -> None:
    results = results_of(workspace, "model")
    workspace.images.remove(results.image.id)
    workspace.tick()
    assert roles(workspace.viewer) == [None]
    workspace.annotating.undo()
    workspace.tick()
    assert roles(workspace.viewer) == [None, "annotation", "cells"]
