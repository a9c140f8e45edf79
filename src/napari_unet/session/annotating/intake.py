"""Annotation taken over whole: masks, polygons, or that of another project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.session.annotating import importing
from napari_unet.session.project.store import ProjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import Project, ProjectImage
    from napari_unet.session.project.recovery import FoundProject


class Intake:
    """Takes annotation from elsewhere into the project; each time can be undone.

    Parameters
    ----------
    store : ProjectStore
    images : ImageList
    brush : Brush
    """

    def __init__(self, store: ProjectStore, images: ImageList, brush: Brush) -> None:
        self._store = store
        self._images = images
        self._brush = brush

    def masks(self, image_id: str, array: Any, kind: Kind | None, replace: bool) -> int:
        """Take masks into an annotation, and return how many slices they have.

        Parameters
        ----------
        image_id : str
        array : array of whole numbers or bool, or Imported
            Of the shape of the annotation; or a plane, for the slice in view. Or what
            was read by `reader`.
        kind : {"instances", "binary", "semantic", "annotation"} or None
            What the values mean; guessed if None.
        replace : bool
            Replace what is annotated in the slices of the masks. Otherwise they are
            taken only where nothing is annotated.

        Raises
        ------
        AmbiguousMasksError
            If the kind cannot be told from the values.
        ValueError
            If shape or values do not fit.
        """
        image = self._image(image_id)
        found = array
        if not isinstance(found, importing.Imported):
            found = self.reader(image_id, array, kind, 0)()
        elif found.first < self._brush.fresh_id(image_id):
            raise ValueError(
                "Too many cells came while the masks were read: import them again."
            )
        planes = found.planes
        if found.axes != image.annotation_axes:
            planes = {self._images.place_in_view(image_id): planes[0, 0]}
        what = f"import masks into {image.name}"
        project = self._store.project.replace(classes=found.classes)
        self._take(project, image, planes, found.class_of, what, replace)
        return len(planes)

    def reader(
        self, image_id: str, array: Any, kind: Kind | None, margin: int
    ) -> Callable[[], importing.Imported]:
        """Return what reads masks for `masks`, and may run in another thread.

        As many cells as `margin` may be added meanwhile; see `masks` for the rest.
        """
        image = self._image(image_id)
        axes, shape = image.annotation_axes, image.annotation_shape
        is_plane = len(shape) > 2 and tuple(array.shape) == shape[-2:]
        if not is_plane and tuple(array.shape) != shape:
            raise ValueError(
                f"{image.name} needs masks of shape {shape}, "
                f"found {tuple(array.shape)}."
            )
        free = self._brush.fresh_id(image_id) + margin
        axes = "yx" if is_plane else axes
        classes = self._store.project.classes
        return partial(importing.from_masks, array, axes, kind, classes, free)

    def polygons(
        self, image: ProjectImage, shapes: Shapes, layer: Labels, replace: bool
    ) -> int:
        """Take shapes as cells of the active class, and return the number of slices.

        They take the place of background, as they were drawn on purpose, but of no
        cell unless `replace` is set.

        Raises
        ------
        ValueError
            If there are none in the image, or all of them lie on cells.
        """
        free, number = self._brush.fresh_id(image.id), self._brush.active_class
        view = self._images.place_in_view(image.id)
        planes = importing.from_shapes(shapes, layer, image.annotation_axes, view, free)
        last = max(int(plane.max()) for plane in planes.values())
        of_class = dict.fromkeys(range(free, last + 1), number) if number > 1 else {}
        if image.annotated and not replace:
            file = self._store.annotation(image.id)
            planes = {
                (t, z): importing.drawn_over_background(file.plane(t, z), plane)
                for (t, z), plane in planes.items()
            }
            if not any((plane >= free).any() for plane in planes.values()):
                raise ValueError(
                    f"The polygons of {shapes.name} lie on cells that are annotated."
                )
            replace = True
        what = f"take the polygons of {shapes.name}"
        self._take(self._store.project, image, planes, of_class, what, replace)
        return len(planes)

    def other_project(self, image_id: str, offer: FoundProject) -> None:
        """Copy the annotation of an image from another project, with its classes.

        Raises
        ------
        RuntimeError, ValueError
            If that project is open elsewhere or cannot be read.
        """
        other = ProjectStore.open(offer.folder)
        try:
            theirs = other.project.image(offer.image_id)
            file = other.annotation(offer.image_id)
            planes = {(t, z or 0): file.plane(t, z or 0).copy() for t, z in file.places}
            infos = other.project.classes
        finally:
            other.close()
        image = self._image(image_id).replace(finished=theirs.finished, class_of={})
        own = self._store.project.classes
        classes = infos if len(infos) >= len(own) else own
        blank = np.zeros(image.annotation_shape[-2:], np.int32)
        for t, z in self._images.places(image_id):
            planes.setdefault((t, z or 0), blank)
        self._take(
            self._store.project.replace(classes=classes),
            image,
            planes,
            theirs.class_of,
            f"restore the annotation of {theirs.name}",
            replace=True,
        )

    def _image(self, image_id: str) -> ProjectImage:
        return self._store.project.image(image_id)

    def _take(
        self,
        project: Project,
        image: ProjectImage,
        planes: dict[tuple[int, int], NDArray[np.int32]],
        class_of: dict[int, int],
        what: str,
        replace: bool,
    ) -> None:
        """Write planes into the annotation and the classes of their objects: one step.

        All other annotated planes stay as they are.
        """
        changed = image.begun().replace(class_of={**image.class_of, **class_of})
        if image.annotated:
            file = self._store.annotation(image.id)
            planes = {
                (t, z): importing.merged(file.plane(t, z), plane, replace)
                if file.has(t, z)
                else plane
                for (t, z), plane in planes.items()
            }
        record = project.with_image(changed)
        self._store.replace_annotation(image.id, planes, what, record)
