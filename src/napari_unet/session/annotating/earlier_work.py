"""Annotation of an image in other projects, searched in the background."""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.session.project.recovery import find_projects

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.session.future import Post
    from napari_unet.session.project.recovery import FoundProject
    from napari_unet.session.project.store import ProjectStore


class EarlierWork:
    """Other projects in which an image is annotated, each image looked up once.

    All projects may have to be read, so the search runs in a thread. Without `post`,
    which runs a function in the main thread, it runs at once.
    """

    found = Signal(str)
    """Id of an image whose earlier work is known now."""
    passed_over = Signal(str)
    """A sentence on a project that cannot be read; once for each."""

    def __init__(self, store: ProjectStore, post: Post | None) -> None:
        self._store, self._post = store, post
        self._known: dict[str, list[FoundProject]] = {}
        self._looking: set[str] = set()
        self._told: set[str] = set()
        self._closed = False

    def of(self, image_id: str) -> list[FoundProject] | None:
        """Return the projects, latest first; None during the search."""
        if image_id in self._known or image_id in self._looking:
            return self._known.get(image_id)
        self._looking.add(image_id)
        mark = self._store.project.image(image_id).fingerprint
        if self._post is None:
            self._finish(image_id, *_look(self._store.folder, mark))
        else:
            Thread(
                target=self._work,
                args=(image_id, self._store.folder, mark, self._post),
                name="napari-unet earlier work",
                daemon=True,
            ).start()
        return self._known.get(image_id)

    def decline(self, image_id: str) -> None:
        """Offer nothing for an image any more."""
        self._known[image_id] = []

    def forget(self) -> None:
        """Search anew at the next request."""
        self._known.clear()

    def close(self) -> None:
        """Emit no more signals."""
        self._closed = True

    def _work(self, image_id: str, folder: Path, mark: str, post: Post) -> None:
        post(partial(self._finish, image_id, *_look(folder, mark)))

    def _finish(
        self, image_id: str, found: list[FoundProject], warnings: list[str]
    ) -> None:
        if self._closed:
            return
        self._looking.discard(image_id)
        # one that was declined meanwhile stays so
        self._known.setdefault(image_id, found)
        for sentence in set(warnings) - self._told:
            self._told.add(sentence)
            self.passed_over.emit(sentence)
        self.found.emit(image_id)


def _look(folder: Path, mark: str) -> tuple[list[FoundProject], list[str]]:
    """Return other projects with an annotated image of a fingerprint, and warnings."""
    warnings: list[str] = []
    found = find_projects(folder.parent, mark, warnings.append)
    return [f for f in found if f.folder != folder and f.slices > 0], warnings
