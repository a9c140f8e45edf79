"""The annotations of a project: their files, and replacing them.

A replaced annotation is a new file under a new name, so that the old one stays for
undo, and a worker that has it open reads on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_unet.session.project.annotation_file import (
    AnnotationFile,
    delete_annotation,
    plane_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.project.places_log import PlaneIndex

    Planes = NDArray[Any] | Mapping[PlaneIndex, NDArray[Any]]


class AnnotationSet:
    """Annotation files of a folder, opened when needed.

    `names` are the files of the images that have one, by the image's id; `notes` are
    messages for the user, a sentence each.
    """

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self._folder = folder
        self.names = dict(names)
        self.opened: dict[str, AnnotationFile] = {}
        self.notes: list[str] = []
        # files being made, not in use yet
        self._prepared: set[str] = set()

    def get(self, image: ProjectImage) -> AnnotationFile | None:
        """Return the annotation of an image, or None; ValueError if it does not fit."""
        if image.id not in self.names:
            return None
        if image.id not in self.opened:
            path = self._folder / self.names[image.id]
            missing = not path.exists()
            self.opened[image.id] = self._open(image, path.name)
            if missing:
                self.notes.append(
                    f"{path}: the annotation of {image.name} is not there any "
                    "more; it begins empty."
                )
        return self.opened[image.id]

    def make(self, image: ProjectImage) -> AnnotationFile:
        """Make an empty annotation for an image that has none."""
        name = f"annotation-{image.id}.raw"
        # A removed file may still be there, for undo.
        if (self._folder / name).exists():
            name = _new_name(image.id)
        self.use(image.id, self._open(image, name))
        return self.opened[image.id]

    def prepare(self, image: ProjectImage, planes: Planes) -> AnnotationFile:
        """Make another annotation of an image, complete on disk but not in use yet.

        `planes` are as in `ProjectStore.replace_annotation`. ValueError or OSError if
        they do not fit, or the disk is full; then nothing stays of it.
        """
        return self.preparing(image, lambda: planes)()

    def preparing(
        self, image: ProjectImage, planes: Callable[[], Planes]
    ) -> Callable[[], AnnotationFile]:
        """Return what `prepare` does, which may run in another thread.

        Nothing may be painted until it is done.
        """
        old, name = self.get(image), _new_name(image.id)
        if old is not None:
            old.catch_up()
        self._prepared.add(name)

        def prepare() -> AnnotationFile:
            wanted = planes()
            new = self._open(image, name)
            try:
                for (t, z), plane in _all_planes(new, wanted, old):
                    new.load(t, z, plane)
                if old is not None:
                    new.raise_highest(old.highest)
                new.flush()
            except BaseException:
                new.close()
                delete_annotation(new.path)
                raise
            new.touched = {}
            return new

        return prepare

    def drop(self, prepared: AnnotationFile) -> None:
        """Delete a file that was prepared."""
        self._prepared.discard(prepared.path.name)
        prepared.close()
        delete_annotation(prepared.path)

    def bring_back(
        self,
        image: ProjectImage,
        name: str | None,
        touched: dict[PlaneIndex, NDArray[Any]] | None,
    ) -> AnnotationFile | None:
        """Open an earlier annotation and add what was painted since; not in use yet.

        `name` is that of its file, None if there was none; `touched` is what was
        tracked of it, see `AnnotationFile`.
        """
        present = self.get(image)
        since = {}
        if present is not None:
            present.catch_up()
            tracked = (present.touched or {}).items()
            since = {plane: mask for plane, mask in tracked if mask.any()}
        if name is None and not since:
            return None
        old = self._open(image, name or _new_name(image.id))
        old.touched = touched
        if present is not None:
            for (t, z), mask in since.items():
                plane = old.plane(t, z).copy()
                plane[mask] = present.plane(t, z)[mask]
                old.write(t, z, (slice(None), slice(None)), plane)
            old.raise_highest(present.highest)
        if old.dirty:
            old.flush()
        return old

    def use(self, image_id: str, file: AnnotationFile | None) -> None:
        """Replace the present file, which is closed; None removes it."""
        present = self.opened.pop(image_id, None)
        self.names.pop(image_id, None)
        if present is not None:
            present.close()
        if file is not None:
            self.opened[image_id] = file
            self.names[image_id] = file.path.name
            self._prepared.discard(file.path.name)

    def dirty(self) -> list[AnnotationFile]:
        """Return the files with something to flush."""
        return [file for file in self.opened.values() if file.dirty]

    def tidy(self, needed: Iterable[str]) -> Callable[[], None]:
        """Return a function that deletes unused files; it may take long."""
        keep = {*self.names.values(), *needed, *self._prepared}
        paths = self._folder.glob("annotation-*.raw")
        superfluous = [path for path in paths if path.name not in keep]

        def delete() -> None:
            for path in superfluous:
                delete_annotation(path)

        return delete

    def close(self) -> None:
        """Close all files."""
        for file in self.opened.values():
            file.close()

    def _open(self, image: ProjectImage, name: str) -> AnnotationFile:
        file = AnnotationFile(
            self._folder / name, image.annotation_axes, image.annotation_shape
        )
        self.notes += file.notes
        return file


def _new_name(image_id: str) -> str:
    return f"annotation-{image_id}-{uuid4().hex[:8]}.raw"


def _all_planes(
    new: AnnotationFile, planes: Planes, old: AnnotationFile | None
) -> Iterable[tuple[PlaneIndex, NDArray[Any]]]:
    """Yield the planes of a new annotation, all but those that are empty."""
    if isinstance(planes, Mapping):
        if old is not None:
            for plane in set(old.places) - planes.keys():
                yield plane, old.plane(*plane)
        yield from planes.items()
        return
    if tuple(planes.shape) != new.shape:
        raise ValueError(
            f"the annotation has the shape {new.shape}, found {tuple(planes.shape)}."
        )
    for t, z in new.planes:
        yield (t, z), plane_of(planes, new.axes, t, z)
