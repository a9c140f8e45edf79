"""Results that are computed from the cells of each image, whenever these change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.core.jobs import Job
    from napari_unet.core.messages import Failed
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle


class CellFollower:
    """Runs a job for the cells of each image, one at a time, whenever they changed.

    `results` are the latest of each image, by its id. Subclasses choose the images and
    the job, and use its events.
    """

    def __init__(
        self, session: Session, results: dict[str, ResultLayers], segmenter: Segmenter
    ) -> None:
        self._worker, self._message = session.worker, session.message
        self._results, self._segmenter = results, segmenter
        # of each image, the state of the cells in its last job
        self._asked: dict[str, tuple[Any, ...]] = {}
        self._handle: Handle | None = None
        segmenter.changed.connect(self.go_on)

    def go_on(self) -> None:
        """Submit the job for the next image whose cells have changed, if any."""
        if self._handle is not None or not self._segmenter.idle:
            return
        for image_id, results in self._results.items():
            cells = results.cells
            if cells.growing or not cells.version or not self._is_wanted(image_id):
                continue
            state = results, dict(cells.version), dict(cells.predicted), cells.linked
            if self._asked.get(image_id) != state:
                self._asked[image_id] = state
                self._submit(image_id, results)
                return

    def close(self) -> None:
        """Disconnect from the cells."""
        self._segmenter.changed.disconnect(self.go_on)

    def _is_wanted(self, image_id: str) -> bool:
        raise NotImplementedError

    def _job(self, results: ResultLayers) -> Job:
        raise NotImplementedError

    def _take(self, results: ResultLayers, event: object) -> None:
        raise NotImplementedError

    def _submit(self, image_id: str, results: ResultLayers) -> None:
        self._handle = self._worker.submit(self._job(results))
        self._handle.event.connect(partial(self._on_event, image_id, results))
        self._handle.ended.connect(self._on_ended)
        self._handle.failed.connect(partial(self._on_failed, image_id))

    def _on_event(self, image_id: str, results: ResultLayers, event: object) -> None:
        if self._results.get(image_id) is results:
            self._take(results, event)

    def _on_ended(self, _cancelled: bool) -> None:
        self._handle = None
        self.go_on()

    def _on_failed(self, _image_id: str, failed: Failed) -> None:
        self._handle = None
        self._message.emit("error", failed.sentence)
