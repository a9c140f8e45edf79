"""Annotation from elsewhere: masks, polygons, or that of another project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, UNKNOWN, Kind
from napari_unet.session.annotating.brush import current_image
from napari_unet.session.annotating.drawn_shapes import from_shapes
from napari_unet.session.annotating.imported_masks import (
    AmbiguousMasksError,
    Imported,
    from_masks,
)
from napari_unet.session.annotating.label_range import label_dtype, values_in
from napari_unet.session.annotating.object_classes import (
    MaskDetails,
    class_numbers,
    classes_with,
    joined_classes,
)
from napari_unet.session.project.store import ProjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Shapes
    from numpy.typing import NDArray

    from napari_unet.io.project_record import Project, ProjectImage
    from napari_unet.session.annotating.annotation_layers import AnnotationLayers
    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.annotating.imported_masks import Planes
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.annotation_file import AnnotationFile
    from napari_unet.session.project.recovery import FoundProject

    Made = Callable[[], AnnotationFile]
    InThread = Callable[[Made, Callable[[Made], None]], None]

# what masks are read with is had from here, too
__all__ = ["AmbiguousMasksError", "Importer", "from_masks", "merged"]


@dataclass(eq=False)
class Importer:
    """Brings annotation from elsewhere into the project; each time can be undone."""

    _store: ProjectStore
    _images: ImageList
    _brush: Brush
    _layers: AnnotationLayers

    def masks(
        self, image_id: str, array: Any, kind: Kind | None = None, replace: bool = False
    ) -> int:
        """Import masks into an annotation, and return how many slices they have.

        ValueError if shape or values do not fit.

        Parameters
        ----------
        array : array of whole numbers or bool, or Imported
            Of the shape of the annotation; or a plane, for the slice in view. Or what
            was read by `mask_reader`.
        kind : {"instances", "binary", "semantic", "annotation", "sparse"} or None
            What the values mean; guessed if None, or AmbiguousMasksError.
        replace : bool
            Replace what is annotated in the slices of the masks. Otherwise they are
            used only where nothing is annotated.
        """
        image = self._store.project.image(image_id)
        found = array
        if not isinstance(found, Imported):
            found = self.mask_reader(image_id, array, kind, 0)()
        planes = self._planes(image, found)
        project = self._with_classes(found)
        what = _import_into(image)
        self._write(project, image, planes, found.class_of, what, replace)
        return len(planes)

    def begin_masks(
        self,
        image_id: str,
        found: Imported,
        replace: bool,
        in_thread: InThread,
        done: Callable[[Callable[[], int]], None],
    ) -> None:
        """Import masks that were read, without blocking this thread; see `masks`.

        `in_thread` runs a function in another thread, and hands what returns its
        result, or raises, to a second one in this; `done` is called with what returns
        the number of slices, or raises. Nothing can be painted in between; if anything
        changed nevertheless, the masks are imported again.
        """
        image = self._store.project.image(image_id)
        planes = self._planes(image, found)
        file = self._store.annotation(image_id) if image.annotated else None
        prepare = self._store.preparing_annotation(
            image_id, lambda: _joined(file, planes, replace)
        )
        writes = -1 if file is None else file.writes
        rest = self._layers.rest(image_id)

        def work() -> AnnotationFile:
            made = prepare()
            made.copy_ahead(label_dtype(made.highest))
            return made

        def finish(made: Made) -> None:
            rest()
            done(partial(self._use, image, found, replace, planes, file, writes, made))

        in_thread(work, finish)

    def _use(
        self,
        before: ProjectImage,
        found: Imported,
        replace: bool,
        planes: Planes,
        file: AnnotationFile | None,
        writes: int,
        made: Made,
    ) -> int:
        """Use a file that was made of masks, unless its annotation has changed."""
        new = made()
        known = {image.id: image for image in self._store.project.images}
        image = known.get(before.id)
        same = image is not None and image.annotated == before.annotated
        if same and file is not None:
            same = self._store.annotation(before.id) is file and file.writes == writes
        if image is None or not same:
            self._store.drop_prepared(new)
            if image is None:
                raise ValueError(f"{before.name} was removed from the project.")
            return self.masks(before.id, found, replace=replace)
        class_of = {**image.class_of, **found.class_of}
        project = self._with_classes(found)
        project = project.with_image(image.begun().replace(class_of=class_of))
        self._store.use_annotation(before.id, new, _import_into(image), project)
        return len(planes)

    def _with_classes(self, found: Imported) -> Project:
        """Return the project with the new classes of masks.

        Classes that were renamed or recoloured meanwhile stay so; a ValueError says
        that there are more or fewer classes than when the masks were read.
        """
        before, now = found.before, self._store.project.classes
        if len(before) != len(now):
            raise ValueError(
                "Classes were added or removed while the masks were read: import them "
                "again."
            )
        pairs = zip(before, now, found.classes, strict=False)
        changed = [mine if old == new else new for old, new, mine in pairs]
        classes = (*changed, *found.classes[len(now) :])
        return self._store.project.replace(classes=classes)

    def _planes(self, image: ProjectImage, found: Imported) -> Planes:
        """Return the planes of an annotation in which masks were found."""
        if found.first < self._brush.fresh_id(image.id):
            raise ValueError(
                "Too many cells came while the masks were read: import them again."
            )
        if found.axes == image.annotation_axes:
            return found.planes
        return {self._images.slice_in_view(image.id): found.planes[0, 0]}

    def mask_reader(
        self,
        image_id: str,
        array: Any,
        kind: Kind | None,
        margin: int,
        details: MaskDetails | None = None,
    ) -> Callable[[], Imported]:
        """Return what reads masks for `masks`, and may run in another thread.

        As many cells as `margin` may be added meanwhile; see `masks` for the rest.
        """
        project = self._store.project
        image = project.image(image_id)
        axes, shape = image.annotation_axes, image.annotation_shape
        is_plane = len(shape) > 2 and tuple(array.shape) == shape[-2:]
        if not is_plane and tuple(array.shape) != shape:
            raise ValueError(
                f"{image.name} needs masks of shape {shape}, "
                f"found {tuple(array.shape)}."
            )
        free = self._brush.fresh_id(image_id) + margin
        axes = "yx" if is_plane else axes
        annotated = any(self._images.places(one.id) for one in project.images)
        kinds, unknown = details or MaskDetails({})
        classes = classes_with(project.classes, kinds, annotated=annotated)
        numbers = class_numbers(kinds, classes)
        read = partial(from_masks, array, axes, kind, classes, free, numbers, unknown)
        return lambda: replace(read(), before=project.classes)

    def polygons(self, shapes: Shapes) -> int:
        """Import the shapes of a layer as cells; return how many slices have them.

        They are of the active class, and replace background, as they were drawn on
        purpose, but no cell.

        ValueError if there are none in the image, or all of them lie on cells.
        """
        layer = self._layers.show(current_image(self._images).id)
        image = current_image(self._images)
        free, number = self._brush.fresh_id(image.id), self._brush.active_class
        view = self._images.place_in_view(image.id)
        planes = from_shapes(shapes, layer, image.annotation_axes, view, free)
        last = max(int(plane.max()) for plane in planes.values())
        of_class = dict.fromkeys(range(free, last + 1), number) if number > 1 else {}
        file = self._store.annotation(image.id)
        for place, plane in planes.items():
            old = file.plane(*place)
            new = (plane >= FIRST_OBJECT) & (old < FIRST_OBJECT)
            planes[place] = np.where(new, plane, old)
        if not any((plane >= free).any() for plane in planes.values()):
            raise ValueError(
                f"The polygons of {shapes.name} lie on cells that are annotated."
            )
        what = f"take the polygons of {shapes.name}"
        self._write(self._store.project, image, planes, of_class, what, replace=True)
        return len(planes)

    def other_project(self, image_id: str, offer: FoundProject) -> None:
        """Copy the annotation of an image from another project, with its classes.

        RuntimeError or ValueError if that project is open elsewhere or cannot be read,
        or if there would be too many classes.
        """
        other = ProjectStore.open(offer.folder)
        try:
            theirs = other.project.image(offer.image_id)
            file = other.annotation(offer.image_id)
            planes = {(t, z): file.plane(t, z).copy() for t, z in file.places}
            others = other.project.classes
        finally:
            other.close()
        project = self._store.project
        rest = [one.id for one in project.images if one.id != image_id]
        annotated = any(map(self._images.places, rest))
        classes, numbers = joined_classes(project.classes, others, annotated=annotated)
        project = project.replace(classes=classes)
        image = project.image(image_id).replace(finished=theirs.finished, class_of={})
        blank = np.zeros(image.annotation_shape[-2:], np.int32)
        for place in self._images.places(image_id):
            planes.setdefault(place, blank)
        # those that no list names are of the first class there
        painted = {
            id_ for plane in planes.values() for id_ in values_in(plane).tolist()
        }
        class_of = {
            id_: number
            for id_ in painted
            if id_ >= FIRST_OBJECT
            and (number := numbers[theirs.class_of.get(id_, 1)]) > 1
        }
        what = f"restore the annotation of {theirs.name}"
        self._write(project, image, planes, class_of, what, replace=True)
        self._layers.show(image_id)

    def _write(
        self,
        project: Project,
        image: ProjectImage,
        planes: Planes,
        class_of: dict[int, int],
        what: str,
        replace: bool,
    ) -> None:
        """Write planes into the annotation and the classes of their objects: one step.

        All other annotated planes stay as they are.
        """
        changed = image.begun().replace(class_of={**image.class_of, **class_of})
        file = self._store.annotation(image.id) if image.annotated else None
        planes = _joined(file, planes, replace)
        record = project.with_image(changed)
        self._store.replace_annotation(image.id, planes, what, record)


def _import_into(image: ProjectImage) -> str:
    return f"import masks into {image.name}"


def _joined(file: AnnotationFile | None, planes: Planes, replace: bool) -> Planes:
    """Return new planes, merged into existing ones unless these are replaced."""
    if file is None or replace:
        return planes
    return {
        (t, z): merged(file.plane(t, z), plane) if file.has(t, z) else plane
        for (t, z), plane in planes.items()
    }


def merged(old: NDArray[np.integer], new: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return a plane with new annotation where there was none."""
    return np.where(old == UNKNOWN, new, old).astype(np.int32)
