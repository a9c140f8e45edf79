"""The results of each model on each image: made once, then filled further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.session.prediction.results import ResultLayers
from napari_unet.session.project.record import PALETTE, ProjectClass

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_unet.core.model import ModelCard
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.prediction.models import ModelEntry
    from napari_unet.session.project.record import Project


class ModelResults:
    """Keeps the results of images, by image and model.

    A second prediction of an image with the same model goes into the same layers, so
    that slices can be predicted one by one. Another model gets layers of its own, and
    those of the one before are hidden.

    Parameters
    ----------
    viewer : ViewerModel
    images : ImageList
    scratch : Path
        Folder for the arrays.
    """

    dropped = Signal(object)
    """Results were deleted or replaced by newer ones, and their files are gone."""

    began = Signal(str)
    """Results of an image, by its id, take the place of what was shown of it."""

    def __init__(self, viewer: ViewerModel, images: ImageList, scratch: Path) -> None:
        self.latest: dict[str, ResultLayers] = {}
        self._viewer, self._images, self._scratch = viewer, images, scratch
        self._all: dict[tuple[str, str], tuple[ResultLayers, float]] = {}
        self._removed = False
        viewer.layers.events.removed.connect(self._on_removed)

    def of(self, image_id: str, entry: ModelEntry, project: Project) -> ResultLayers:
        """Return the results of a model on an image, to be filled and shown.

        Raises
        ------
        ValueError
            If the image is closed.
        OSError
            If the disk is full.
        """
        image = project.image(image_id)
        layers = self._images.layers(image_id)
        if not layers:
            raise ValueError(f"{image.name} is closed: open its file in napari again.")
        model, written = entry.path, entry.written
        known, known_written = self._all.get((image_id, str(model)), (None, 0))
        if (
            known is None
            or known_written != written
            or known.image.shape != image.shape
        ):
            fresh = ResultLayers(
                self._viewer,
                layers[0],
                image,
                coloured(entry.card, project),
                self._scratch,
                run=str(model),
                preview=False,
                shown=False,
                label=model.stem if self._has_others(image_id, str(model)) else "",
            )
            if known is not None:
                chosen = known.visibility.chosen_by_people
                fresh.visibility.chosen_by_people.update(chosen)
                known.close()
                self.dropped.emit(known)
            self._all[image_id, str(model)] = fresh, written
            known = fresh
        if self.latest.get(image_id) is not known:
            self._hide_others(image_id, known)
            self.began.emit(image_id)
        self.latest[image_id] = known
        return known

    def drop_deleted(self, busy: str | None = None) -> None:
        """Delete the files of results all of whose layers people deleted.

        Parameters
        ----------
        busy : str, optional
            Id of an image that is being predicted: its results stay for now.
        """
        if not self._removed:
            return
        self._removed = False
        for (image_id, model), (results, _) in list(self._all.items()):
            if results.layers():
                continue
            if image_id == busy:
                self._removed = True
                continue
            results.close()
            del self._all[image_id, model]
            if self.latest.get(image_id) is results:
                del self.latest[image_id]
            self.dropped.emit(results)

    def close(self) -> None:
        """Delete the files; layers that are still there keep what they show."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for results, _ in self._all.values():
            results.close()
        self._all.clear()
        self.latest.clear()

    def _on_removed(self) -> None:
        self._removed = True

    def _has_others(self, image_id: str, run: str) -> bool:
        return any(i == image_id and r != run for i, r in self._all)

    def _hide_others(self, image_id: str, shown: ResultLayers) -> None:
        for (i, _), (results, _) in self._all.items():
            if i == image_id and results is not shown:
                for layer in results.layers():
                    layer.visible = False


def coloured(card: ModelCard, project: Project) -> tuple[ProjectClass, ...]:
    """Give a model's classes colours: the project's for classes of the same name."""
    known = {c.name: c.colour for c in project.classes}
    return tuple(
        ProjectClass(
            name=c.name,
            kind=c.kind,
            colour=known.get(c.name, PALETTE[k % len(PALETTE)]),
        )
        for k, c in enumerate(card.classes)
    )
