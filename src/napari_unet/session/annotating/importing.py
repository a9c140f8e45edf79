"""Annotation from elsewhere: masks, polygons, or that of another project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    UNKNOWN,
    Kind,
)
from napari_unet.core.annotation.conversion import convert, from_polygons, whole_numbers
from napari_unet.core.annotation.label_kind import (
    UnclearLabelsError,
    check_no_grey_levels,
    guess,
)
from napari_unet.core.cells.label_ids import distinct, numbered
from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.images.image import Image
from napari_unet.session.annotating.brush import current_image
from napari_unet.session.annotating.label_range import label_dtype
from napari_unet.session.annotating.object_classes import (
    Told,
    class_numbers,
    classes_with,
)
from napari_unet.session.project.record import PALETTE, ProjectClass
from napari_unet.session.project.store import ProjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

    from napari_unet.session.annotating.annotation_layers import AnnotationLayers
    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.annotation_file import AnnotationFile
    from napari_unet.session.project.record import Project, ProjectImage
    from napari_unet.session.project.recovery import FoundProject

    Planes = dict[tuple[int, int], NDArray[np.int32]]
    Made = Callable[[], AnnotationFile]
    InThread = Callable[[Made, Callable[[Made], None]], None]

# Vertices that an ellipse is drawn with.
_CORNERS = 64


class AmbiguousMasksError(ValueError):
    """What the values of masks mean has to be asked: one of `choices`."""

    choices: tuple[Kind, ...] = ("instances", "semantic", "annotation", "sparse")

    def __init__(self) -> None:
        super().__init__(
            "The values of these masks may be cells or classes: say which."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """Planes (y, x) for an annotation, and what is to be known of them."""

    planes: Planes
    class_of: dict[int, int]  # class number of each new object that is not of class 1
    # those of the project, and those that the masks brought
    classes: tuple[ProjectClass, ...]
    first: int  # lowest id that an object may have
    axes: str  # of the masks
    kind: Kind
    empty: int  # planes left out, as they have no value above 0
    unclear: int = 0  # cells left out, as others have a class and they have none
    before: tuple[ProjectClass, ...] = ()  # of the project when the masks were read


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
        """Import what was read without holding this thread; see `masks`.

        `in_thread` runs a function in another thread, and hands what returns its
        result, or raises, to a second one in this; `done` is called with what returns
        the number of slices, or raises. Nothing can be painted in between; where that
        happened all the same, the masks are imported once more, into what is there.
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
        """Take a file that was made of masks into use, if it is still of any."""
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
        """Return the project with the classes that masks brought.

        What people renamed or recoloured meanwhile stays so; a ValueError says that
        there are more or fewer classes than when the masks were read.
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
        return {self._images.place_in_view(image.id): found.planes[0, 0]}

    def mask_reader(
        self,
        image_id: str,
        array: Any,
        kind: Kind | None,
        margin: int,
        told: Told | None = None,
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
        kinds, unknown = told or Told({})
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

        RuntimeError or ValueError if that project is open elsewhere or cannot be read.
        """
        other = ProjectStore.open(offer.folder)
        try:
            theirs = other.project.image(offer.image_id)
            file = other.annotation(offer.image_id)
            planes = {(t, z): file.plane(t, z).copy() for t, z in file.places}
            classes = max(other.project.classes, self._store.project.classes, key=len)
        finally:
            other.close()
        project = self._store.project.replace(classes=classes)
        image = project.image(image_id).replace(finished=theirs.finished, class_of={})
        blank = np.zeros(image.annotation_shape[-2:], np.int32)
        for place in self._images.places(image_id):
            planes.setdefault(place, blank)
        what = f"restore the annotation of {theirs.name}"
        self._write(project, image, planes, theirs.class_of, what, replace=True)
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
    """Return what becomes of planes: all of new ones, or where nothing was before."""
    if file is None or replace:
        return planes
    return {
        (t, z): merged(file.plane(t, z), plane) if file.has(t, z) else plane
        for (t, z), plane in planes.items()
    }


def from_masks(
    masks: Any,
    axes: str,
    kind: Kind | None,
    classes: tuple[ProjectClass, ...],
    free: int,
    numbers: Mapping[int, int] | None = None,
    unknown: NDArray[Any] | None = None,
) -> Imported:
    """Turn masks into planes of an annotation.

    ValueError if the values are no whole numbers from 0 on, are grey levels, or there
    are none above 0.

    Parameters
    ----------
    masks : array of whole numbers or bool
    axes : str
        A letter for each of its axes, out of t, z, y, x.
    kind : {"instances", "binary", "semantic", "annotation", "sparse"} or None
        What the values mean; guessed from all frames together if None, or
        AmbiguousMasksError.
    free : int
        The objects get ids from here on, in the order of their ids in the masks; those
        of cells are the same through time.
    numbers : mapping, optional
        Class numbers of cells by their ids in the masks. Where some have one, cells
        without are not annotated.
    unknown : array of bool, optional
        Of the shape of the masks: where no background is annotated.
    """
    image = Image(masks, axes, name="masks")
    frames = {
        field.t: values
        for field in image.fields(3 if "z" in axes else 2)
        if (values := whole_numbers(field.read()[0])).any()
    }
    if not frames:
        raise ValueError("The masks are empty: all their values are 0.")
    for values in frames.values():
        check_no_grey_levels(values, kind)
    try:
        meaning = kind or guess(frames.values())
    except UnclearLabelsError as error:
        raise AmbiguousMasksError from error
    class_of, unclear = _classes_of(frames.values(), numbers or {}, free)
    if meaning in ("instances", "annotation"):
        first = FIRST_OBJECT if meaning == "annotation" else 1
        frames = dict(zip(frames, numbered([*frames.values()], first), strict=True))
    # Planes without any value above 0 are left out, of a stack as of a time series:
    # nobody drew there, and an annotation may have gaps.
    planes: Planes = {}
    count, shift = len(classes), free - FIRST_OBJECT
    highest = free - 1
    for t, values in frames.items():
        converted = convert(values, meaning)
        labels = converted.labels.astype(np.int32, copy=False)
        labels = np.where(labels >= FIRST_OBJECT, labels + np.int32(shift), labels)
        if unclear:
            labels[np.isin(labels, unclear)] = UNKNOWN
        if unknown is not None:
            here = unknown[t] if "t" in axes else unknown
            labels[here & (labels == BACKGROUND)] = UNKNOWN
        highest = max(highest, int(labels.max()))
        class_of |= {i + shift: k for i, k in converted.class_of.items() if k > 1}
        count = max(count, len(converted.classes))
        if meaning in ("binary", "semantic", "sparse"):
            # Areas are numbered anew in each time frame.
            shift = highest + 1 - FIRST_OBJECT
        stack = [(0, labels, values)]
        if labels.ndim == 3:
            stack = [(z, labels[z], values[z]) for z in range(len(labels))]
        planes |= {(t, z): plane for z, plane, drawn in stack if drawn.any()}
    empty = image.size("t") * image.size("z") - len(planes)
    new = tuple(
        ProjectClass(name=f"class {k + 1}", colour=PALETTE[k % len(PALETTE)])
        for k in range(len(classes), count)
    )
    every = (*classes, *new)
    lost = len(unclear)
    return Imported(planes, class_of, every, free, axes, meaning, empty, lost)


def _classes_of(
    frames: Iterable[NDArray[np.integer]], numbers: Mapping[int, int], free: int
) -> tuple[dict[int, int], list[int]]:
    """Return the class numbers above 1 by new ids, and the new ids of those without.

    `numbers` are by old ids; without any of them nothing is asked for.
    """
    if not numbers:
        return {}, []
    ids = np.unique(np.concatenate([distinct(f).astype(np.uint64) for f in frames]))
    new = {old: free + k for k, old in enumerate(ids[ids > 0].tolist())}
    found = {new[i]: number for i, number in numbers.items() if i in new and number > 1}
    return found, [label for old, label in new.items() if old not in numbers]


def from_shapes(
    shapes: Shapes,
    annotation: Labels,
    axes: str,
    view: tuple[int, int],
    free: int,
) -> Planes:
    """Draw the polygons, rectangles and ellipses of a layer, each as a cell.

    Planes are 0 outside of the shapes: what is there is not known.

    ValueError if there are no such shapes, or they lie outside of the image.

    Parameters
    ----------
    shapes, annotation : layers
        They may differ in scale and translation.
    axes : str
        Of the annotation's data.
    view : (t, z)
        Plane of shapes that have only y and x.
    free : int
        The cells get ids from here on.
    """
    sizes = axis_sizes(axes, annotation.data.shape)
    found: dict[tuple[int, int], list[NDArray[Any]]] = {}
    for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in ("line", "path"):
            continue
        corners = _ellipse(vertices) if kind == "ellipse" else np.asarray(vertices)
        points = _in_pixels(corners, shapes, annotation)
        t, z = view if shapes.ndim == 2 else _place_of(points, axes)
        if 0 <= t < sizes["t"] and 0 <= z < sizes["z"]:
            found.setdefault((t, z), []).append(points[:, -2:])
    if not found:
        raise ValueError(
            f"{shapes.name} has no polygons, rectangles or ellipses in the image."
        )
    planes = {}
    for place, polygons in found.items():
        names = ["cells"] * len(polygons)
        drawn = from_polygons(polygons, names, (sizes["y"], sizes["x"])).labels
        cells = drawn >= FIRST_OBJECT
        labels = np.where(cells, drawn + free - FIRST_OBJECT, UNKNOWN)
        planes[place] = labels.astype(np.int32)
        free += len(polygons)
    return planes


def merged(old: NDArray[np.integer], new: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return a plane with new annotation where there was none."""
    return np.where(old == UNKNOWN, new, old).astype(np.int32)


def _in_pixels(
    corners: NDArray[Any], shapes: Shapes, annotation: Labels
) -> NDArray[np.float64]:
    """Return vertices in pixels of the annotation; axes the shapes lack are 0."""
    world = np.array([shapes.data_to_world(point) for point in corners], np.float64)
    points = np.zeros((len(world), annotation.ndim))
    shared = min(world.shape[1], annotation.ndim)
    points[:, -shared:] = world[:, -shared:]
    return np.array([annotation.world_to_data(point) for point in points], np.float64)


def _place_of(points: NDArray[np.float64], axes: str) -> tuple[int, int]:
    """Return the plane (t, z) that vertices lie in."""
    middle = np.round(points.mean(axis=0)).astype(int).tolist()
    at = dict(zip(axes, middle, strict=True))
    return at.get("t", 0), at.get("z", 0)


def _ellipse(corners: Sequence[Any]) -> NDArray[np.float64]:
    """Return points on the ellipse in a parallelogram of four corners."""
    box = np.asarray(corners, np.float64)
    centre, right, up = box.mean(axis=0), (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, np.newaxis]
    points: NDArray[np.float64] = centre + np.cos(angle) * right + np.sin(angle) * up
    return points
