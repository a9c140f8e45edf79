"""Cells as a layer of points, with their classes and confidences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import PointsFound
from napari_unet.core.jobs import PointsJob
from napari_unet.session.images import layers as roles
from napari_unet.session.prediction.cell_follower import CellFollower
from napari_unet.session.prediction.results import colour_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.messages import Failed
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.session import Session

_ROLE = "points"
# Of a point, in pixels of the image, and the least and most on the screen.
_SIZE, _ON_SCREEN = 8, (6, 40)


class PointLayers(CellFollower):
    """Makes layers of points, and updates each until it is deleted."""

    def __init__(
        self,
        session: Session,
        results: dict[str, ResultLayers],
        segmenter: Segmenter,
    ) -> None:
        super().__init__(session, results, segmenter)
        self._viewer = session.viewer
        self._wanted: set[str] = set()

    def show(self, image_id: str) -> None:
        """Make the layer of an image, as soon as its cells are found."""
        self._wanted.add(image_id)
        self._asked.pop(image_id, None)
        self._segmenter.wake()
        self.go_on()

    def _is_wanted(self, image_id: str) -> bool:
        return image_id in self._wanted or bool(
            roles.find(self._viewer, _ROLE, image_id)
        )

    def _job(self, results: ResultLayers) -> PointsJob:
        image = results.image
        return PointsJob(
            cells=results.files["cells"],
            axes=image.annotation_axes,
            probabilities=results.files["probability"],
            classes=plain_classes(results.classes),
            spacing_um=image.spacing_um,
            name=image.name,
        )

    def _take(self, results: ResultLayers, event: object) -> None:
        if isinstance(event, PointsFound):
            self._show(results, event.points)

    def _on_failed(self, image_id: str, failed: Failed) -> None:
        self._wanted.discard(image_id)
        super()._on_failed(image_id, failed)

    def _show(self, results: ResultLayers, points: Columns) -> None:
        """Update the layer of an image, which is made if requested."""
        image = results.image
        axes = image.annotation_axes
        places = np.stack([points[axis] for axis in axes], axis=1).astype(float)
        colours = {c.name: colour_of(c, k) for k, c in enumerate(results.classes)}
        looks = {
            "features": {k: v for k, v in points.items() if k not in axes},
            "face_color": [colours[name] for name in points["class"].tolist()],
        }
        found = roles.find(self._viewer, _ROLE, image.id)
        if found:
            _fill(found[0], places, looks)
        elif image.id in self._wanted:
            with roles.selection_kept(self._viewer):
                self._viewer.add_points(
                    places,
                    **results.attributes,
                    **looks,
                    name=roles.name_for(image.name, "Points"),
                    metadata=roles.note(_ROLE, image.id),
                    size=_SIZE,
                    canvas_size_limits=_ON_SCREEN,
                    border_color="white",
                )
        self._wanted.discard(image.id)


def _fill(layer: Layer, places: Any, looks: dict[str, Any]) -> None:
    layer.selected_data = set()
    layer.data = places
    for name, value in looks.items():
        setattr(layer, name, value)
