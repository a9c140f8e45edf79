"""Cells as a layer of points, with their classes and confidences."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import PointsFound
from napari_unet.core.jobs import PointsJob
from napari_unet.session.images import layers as roles
from napari_unet.session.prediction.results import colour_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.messages import Failed
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.worker.client import Handle, Worker

_ROLE = "points"
# Of a point, in pixels of the image, and the least and most on the screen.
_SIZE, _ON_SCREEN = 8, (6, 40)


class PointLayers:
    """Makes layers of points, and keeps each up to date as long as it is there.

    `results` are the latest of each image, by its id.
    """

    failed = Signal(str)
    """Why points could not be found, in a sentence."""

    def __init__(
        self,
        viewer: ViewerModel,
        worker: Worker,
        results: dict[str, ResultLayers],
        segmenter: Segmenter,
    ) -> None:
        self._viewer, self._worker = viewer, worker
        self._results, self._segmenter = results, segmenter
        self._wanted: set[str] = set()
        # of each image, the cells whose points were asked for last
        self._asked: dict[str, tuple[Any, ...]] = {}
        self._handle: Handle | None = None
        segmenter.changed.connect(self.go_on)

    def show(self, image_id: str) -> None:
        """Make the layer of an image, as soon as its cells are found."""
        self._wanted.add(image_id)
        self._asked.pop(image_id, None)
        self._segmenter.wake()
        self.go_on()

    def go_on(self) -> None:
        """Find the points of the next image whose cells are others now, if any is."""
        if self._handle is not None or not self._segmenter.idle:
            return
        for image_id, results in self._results.items():
            cells = results.cells
            shown = roles.find(self._viewer, _ROLE, image_id)
            if (
                cells.growing
                or not cells.version
                or not (shown or image_id in self._wanted)
            ):
                continue
            state = results, dict(cells.version), dict(cells.predicted), cells.linked
            if self._asked.get(image_id) != state:
                self._asked[image_id] = state
                self._submit(image_id, results)
                return

    def close(self) -> None:
        """Follow the cells no more."""
        self._segmenter.changed.disconnect(self.go_on)

    def _submit(self, image_id: str, results: ResultLayers) -> None:
        image = results.image
        job = PointsJob(
            cells=results.files["cells"],
            axes=image.annotation_axes,
            probabilities=results.files["probability"],
            classes=plain_classes(results.classes),
            spacing_um=image.spacing_um,
            name=image.name,
        )
        self._handle = self._worker.submit(job)
        self._handle.event.connect(partial(self._on_event, image_id, results))
        self._handle.ended.connect(self._on_ended)
        self._handle.failed.connect(partial(self._on_failed, image_id))

    def _on_event(self, image_id: str, results: ResultLayers, event: object) -> None:
        if isinstance(event, PointsFound) and self._results.get(image_id) is results:
            self._show(results, event.points)

    def _on_ended(self, _cancelled: bool) -> None:
        self._handle = None
        self.go_on()

    def _on_failed(self, image_id: str, failed: Failed) -> None:
        self._handle = None
        self._wanted.discard(image_id)
        self.failed.emit(failed.sentence)

    def _show(self, results: ResultLayers, points: Columns) -> None:
        """Fill the layer of an image, which is made if it is asked for."""
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
