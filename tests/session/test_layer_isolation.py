from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.session.images.layer_isolation import LayerIsolation
from napari_unet.session.images.layers import METADATA_KEY, note

if TYPE_CHECKING:
    from napari.layers import Layer


@pytest.fixture
def viewer() -> ViewerModel:
    """Return a viewer with two images in one place, and their annotations."""
    viewer = ViewerModel()
    for name in "ab":
        viewer.add_image(np.zeros((8, 9)), name=name, metadata=note("image", name))
        labels, of = np.zeros((8, 9), int), note("annotation", name)
        viewer.add_labels(labels, name=f"{name} labels", metadata=of)
    viewer.add_image(np.zeros((8, 9)), name="someone's")
    return viewer


def source_of(layer: Layer) -> str | None:
    return layer.metadata.get(METADATA_KEY, {}).get("source")


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def test_what_covers_the_image_is_hidden_and_comes_back(viewer: ViewerModel) -> None:
    spotlight = LayerIsolation(viewer, source_of)
    spotlight.turn_to("a")
    assert visible(viewer) == ["a", "a labels", "someone's"]
    spotlight.turn_to("b")
    assert visible(viewer) == ["b", "b labels", "someone's"]


def test_what_people_hid_stays_hidden(viewer: ViewerModel) -> None:
    spotlight = LayerIsolation(viewer, source_of)
    viewer.layers["a labels"].visible = False
    spotlight.turn_to("b")
    spotlight.turn_to("a")
    assert visible(viewer) == ["a", "someone's"]


def test_images_side_by_side_are_left_alone(viewer: ViewerModel) -> None:
    spotlight = LayerIsolation(viewer, source_of)
    for name in ("b", "b labels"):
        # their first pixel lies just behind the last one of the other image
        viewer.layers[name].translate = (0, 9)
    spotlight.turn_to("a")
    assert len(visible(viewer)) == 5
    viewer.layers["b"].translate = (0, 7)
    spotlight.turn_to("a")
    assert "b" not in visible(viewer)


def test_an_image_without_layers_hides_nothing(viewer: ViewerModel) -> None:
    LayerIsolation(viewer, source_of).turn_to("closed")
    assert len(visible(viewer)) == 5
