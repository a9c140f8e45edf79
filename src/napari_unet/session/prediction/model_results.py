"""The results of each model on each image: made once, then filled further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.io.project_record import ProjectClass
from napari_unet.session.images import layers as roles
from napari_unet.session.prediction.results import ResultLayers, colour_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_unet.core.model import ModelCard
    from napari_unet.io.project_record import Project, ProjectImage
    from napari_unet.session.models import ModelEntry
    from napari_unet.session.session import Session


class ModelResults:
    """Keeps the results of images, by image and model.

    A second prediction of an image with the same model is added to the first, so that
    slices can be predicted one by one. Those of another model are kept beside it, and
    can be seen again.

    `latest` are those of each image, by its id; the last one that was asked for is at
    the end.
    """

    def __init__(self, session: Session) -> None:
        self.latest: dict[str, ResultLayers] = {}
        self._viewer, self._images = session.viewer, session.images
        self._scratch = session.scratch
        # by image and model file; with the time at which that was written
        self._all: dict[tuple[str, str], tuple[ResultLayers, float]] = {}
        # image and run of layers that were deleted
        self._removed: set[tuple[str, str]] = set()
        self._viewer.layers.events.removed.connect(self._on_removed)

    def of(self, image_id: str, entry: ModelEntry, project: Project) -> ResultLayers:
        """Return the results of a model on an image, to be filled and shown.

        ValueError if the image is closed, OSError if the disk is full.
        """
        image = project.image(image_id)
        layers = self._images.layers(image_id)
        if not layers:
            raise ValueError(f"{image.name} is closed: open its file in napari again.")
        key = image_id, str(entry.path)
        results, written = self._all.get(key, (None, 0.0))
        if (
            results is None
            or written != entry.written
            or results.image.shape != image.shape
        ):
            older, results = results, self._new(layers[0], image, entry, project)
            results.written = entry.written
            self._all[key] = results, entry.written
            if older is not None:
                older.close()
        self._choose(results)
        return results

    def of_image(self, image_id: str) -> list[ResultLayers]:
        """Return the results of an image, by all models, oldest first."""
        return [r for (id_, _), (r, _) in self._all.items() if id_ == image_id]

    def show_again(self, results: ResultLayers) -> None:
        """Make results of an earlier model the latest of their image."""
        self._choose(results)
        results.claim()

    def pass_on(self, before: ModelEntry, now: ModelEntry) -> None:
        """Let the results of a model be those of the file that has replaced it."""
        for (image_id, run), (results, _) in list(self._all.items()):
            if run != str(before.path):
                continue
            del self._all[image_id, run]
            other, _ = self._all.pop((image_id, str(now.path)), (None, 0.0))
            if other is not None and other is not results:
                other.remove()
            results.pass_to(str(now.path), now.written)
            self._all[image_id, str(now.path)] = results, now.written

    def drop_deleted(self, busy: str | None = None) -> None:
        """Delete the files of results if the user deleted all their layers.

        Those of the image that is being predicted, `busy`, stay for now.
        """
        removed, self._removed = self._removed, set()
        for image_id, run in removed & self._all.keys():
            results, _ = self._all[image_id, run]
            if results.layers() or not self._images.layers(image_id):
                continue
            if image_id == busy:
                self._removed.add((image_id, run))
                continue
            results.close()
            del self._all[image_id, run]
            if self.latest.get(image_id) is results:
                del self.latest[image_id]

    def close(self) -> None:
        """Delete the files; layers that are still there keep what they show."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for results, _ in self._all.values():
            results.close()
        self._all.clear()
        self.latest.clear()

    def _new(
        self, layer: Layer, image: ProjectImage, entry: ModelEntry, project: Project
    ) -> ResultLayers:
        run = str(entry.path)
        of_others = any(i == image.id and r != run for i, r in self._all)
        return ResultLayers(
            self._viewer,
            layer,
            image,
            _coloured(entry.card, project),
            self._scratch,
            run,
            entry.path.stem if of_others else "",
        )

    def _choose(self, results: ResultLayers) -> None:
        self.latest.pop(results.image.id, None)
        self.latest[results.image.id] = results

    def _on_removed(self, event: Any) -> None:
        noted = roles.noted(event.value)
        self._removed.add((str(noted.get("source")), str(noted.get("run"))))


def _coloured(card: ModelCard, project: Project) -> tuple[ProjectClass, ...]:
    """Give a model's classes colours: the project's for classes of the same name."""
    known = {c.name: c.colour for c in project.classes}
    return tuple(
        ProjectClass(
            name=c.name, kind=c.kind, colour=known.get(c.name, colour_of(c, number))
        )
        for number, c in enumerate(card.classes)
    )
