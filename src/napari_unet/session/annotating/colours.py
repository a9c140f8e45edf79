"""Colours of an annotation: a class is a hue, neighbouring cells are shades of it."""

from __future__ import annotations

from colorsys import hsv_to_rgb, rgb_to_hsv
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.core.cells.label_colours import rgba
from napari_unet.core.cells.neighbour_colours import GAP, NeighbourColours, neighbours
from napari_unet.core.geometry.boxes import grown, shape_of
from napari_unet.io.project_record import BACKGROUND_COLOUR
from napari_unet.session.annotating.label_range import values_in, values_in_file
from napari_unet.session.project.places_log import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectClass, ProjectImage
    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.project.annotation_file import AnnotationFile
    from napari_unet.session.project.store import ProjectStore

# How far towards the pure colour beside it, and then towards black (below 0) or white,
# in an order in which ids that follow differ much; neighbours never have the same. Pale
# ones are not seen on bright images, such as of histology.
SHADES = ((0, 0), (0, -0.5), (1, 0), (1, -0.4), (0.5, 0), (0, 0.6))
# Part of the circle of hues.
_BESIDE = 0.04
# The first of these are easy to distinguish; the others are for many neighbours.
_USUAL = 3
# Larger edits are searched for neighbours later, by ticks.
_AT_ONCE = 256 * 256
# Pixels searched in one tick: some 10 ms.
_AT_A_TIME = 2**19

# Largest id in a cycle of colours that napari still shows with 16 bits.
_LAST_IN_CYCLE = 2**16 - 2
# Ids that get their colour before they are used: colours cost some milliseconds.
_AHEAD, _MARGIN = 512, 32


class LayerColours:
    """Keeps an annotation layer in the colours of its classes, and ids to come too."""

    def __init__(
        self, layer: Labels, image_id: str, store: ProjectStore, brush: Brush
    ) -> None:
        self._layer = layer
        self._image_id = image_id
        self._store = store
        self._brush = brush
        # What the colours were made of.
        self._classes: tuple[ProjectClass, ...] = ()
        self._class_of: Mapping[int, int] = {}
        self._coloured: dict[int, int] = {}
        # All ids up to this one have their colour; or only the listed ones, where ids
        # are so high that a cycle of colours would come round.
        self._prepared = 0
        self._listed: set[int] | None = None
        self._shades = NeighbourColours(len(SHADES), _USUAL)
        # planes in which neighbours are known to differ
        self._told_apart: set[tuple[int, int]] = set()
        # the plane that is looked at, from which row on, and what was found
        self._place: tuple[int, int] | None = None
        self._row = 0
        self._pairs: list[NDArray[np.int64]] = []
        self.renew()

    def renew(self) -> None:
        """Make the colours of painted ids, and of the next ones."""
        image, active = self._image, self._brush.active_class
        selected = int(self._layer.selected_label)
        used = max(self._used(), selected)
        listed: set[int] | None = None
        self._prepared = used + _AHEAD
        ahead = range(used + 1, self._prepared + 1)
        if self._prepared > _LAST_IN_CYCLE:
            listed = {*values_in_file(self._file), *image.class_of}
            last = min(selected + max(_AHEAD, len(listed) // 8), HIGHEST_ID)
            ahead = range(selected, last + 1)
        of_active = dict.fromkeys(ahead, active) if active > 1 else {}
        if listed is not None:
            of_active = {i: k for i, k in of_active.items() if i not in listed}
            listed.update(ahead)
        self._coloured = {**of_active, **image.class_of}
        self._classes = self._store.project.classes
        self._class_of, self._listed = image.class_of, listed
        self._layer.colormap = self._colormap()

    def tell_apart(self, t: int, z: int) -> None:
        """Give neighbours in a plane different shades.

        Each call searches a part of a large plane.
        """
        if (t, z) in self._told_apart or not self._file.has(t, z):
            return
        if self._place != (t, z):
            self._place, self._row, self._pairs = (t, z), 0, []
        plane = self._file.plane(t, z)
        rows = max(_AT_A_TIME // plane.shape[1], 1)
        part = plane[self._row : self._row + rows + GAP]
        self._pairs.append(neighbours(part, FIRST_OBJECT))
        self._row += rows
        if self._row < len(plane):
            return
        pairs, self._place = np.concatenate(self._pairs), None
        self._told_apart.add((t, z))
        if self._shades.separate(pairs):
            self.renew()

    def follow_project(self) -> None:
        """Make colours anew if classes, or those of painted objects, have changed."""
        of, used = self._image.class_of, self._used()
        ids = {*self._class_of, *of}
        if self._listed is None:
            ids.update(i for i in self._coloured if i <= used)
        if self._classes != self._store.project.classes or self._are_wrong(ids):
            self.renew()

    def follow_brush(self) -> None:
        """Show the next cell in the colour of its class from its first pixel on."""
        if self._are_wrong([int(self._layer.selected_label)]):
            self.renew()

    def follow_edit(self, edit: Edit) -> None:
        """Make colours anew if an edit brought ids without a colour, or with another.

        The next ids are coloured as the active class, for which most of them are; but
        cells that were split, imported or written by a script may be of another. Ids
        that came next to each other are told apart with the next tick.
        """
        self._look_for_neighbours(edit)
        if self._listed is None:
            if self._file.highest + _MARGIN > self._prepared:
                self.renew()
                return
            if self._coloured == self._image.class_of:
                return
        plane = self._file.plane(edit.t, edit.z)
        if self._are_wrong(values_in(plane[edit.box]).tolist()):
            self.renew()

    def _look_for_neighbours(self, edit: Edit) -> None:
        if prod(shape_of(edit.box)) <= _AT_ONCE:
            plane = self._file.plane(edit.t, edit.z)
            around = grown(edit.box, GAP + 1, plane.shape)
            pairs = neighbours(plane[around], FIRST_OBJECT)
            if not (self._shades.of(pairs[:, 0]) == self._shades.of(pairs[:, 1])).any():
                return
        self._told_apart.discard((edit.t, edit.z))
        if self._place == (edit.t, edit.z):
            self._place = None

    def _are_wrong(self, ids: Iterable[int]) -> bool:
        """Whether any object lacks a colour, or has that of another class."""
        of, coloured, listed = self._image.class_of, self._coloured, self._listed
        return any(
            (i > self._prepared if listed is None else i not in listed)
            or coloured.get(i, 1) != of.get(i, 1)
            for i in ids
            if i >= FIRST_OBJECT
        )

    def _colormap(
        self,
    ) -> NDArray[np.float32] | dict[int | None, NDArray[np.float32]]:
        """Return the colours in the form that napari is quickest with.

        That is a cycle so long that it never comes round, or where ids are too high a
        table by id, which lasts many times as long, with one colour for all others.
        """
        classes, class_of = self._classes, self._coloured
        if self._listed is None:
            every = np.arange(_LAST_IN_CYCLE + 1)
            return colour_table(classes, class_of, every, self._shades)
        ids = sorted({UNKNOWN, BACKGROUND, FIRST_OBJECT, *self._listed})
        colours = colour_table(classes, class_of, ids, self._shades)
        table: dict[int | None, NDArray[np.float32]] = {None: colours[FIRST_OBJECT]}
        return {**table, **dict(zip(ids, colours, strict=True))}

    @property
    def _image(self) -> ProjectImage:
        return self._store.project.image(self._image_id)

    @property
    def _file(self) -> AnnotationFile:
        return self._store.annotation(self._image_id)

    def _used(self) -> int:
        return max(self._file.highest, *self._image.class_of, BACKGROUND)


def colour_table(
    classes: Sequence[ProjectClass],
    class_of: Mapping[int, int],
    ids: Sequence[int] | NDArray[np.integer],
    shades: NeighbourColours | None = None,
) -> NDArray[np.float32]:
    """Return the colour of some values of an annotation.

    Returns
    -------
    ndarray of float32, shape (number of ids, 4)
        Red, green, blue and opacity, 0 to 1. Objects that are not in `class_of` are of
        class 1.
    """
    shades = shades or NeighbourColours(len(SHADES), _USUAL)
    hues = np.array([_shades(c.colour) for c in classes])
    wanted = np.asarray(ids, np.int64)
    numbers = np.ones(len(wanted), np.intp)
    # nearly all are of class 1: a look at each takes the GUI thread 15 ms
    other = np.isin(wanted, np.fromiter(class_of, np.int64, len(class_of)))
    numbers[other] = [class_of[i] for i in wanted[other].tolist()]
    table: NDArray[np.float32] = hues[numbers - 1, shades.of(wanted)]
    table[wanted == UNKNOWN] = 0
    table[wanted == BACKGROUND] = rgba([BACKGROUND_COLOUR])
    return table


def _shades(colour: str) -> NDArray[np.float32]:
    """Return the shades of a colour, shape (shades, 4)."""
    own = rgba([colour])[0]
    hue, saturation, _ = rgb_to_hsv(*own[:3].tolist())
    # grey has no hue
    pure = hsv_to_rgb((hue + _BESIDE) % 1, min(3 * saturation, 1), 1)
    shades: NDArray[np.float32] = np.tile(own, (len(SHADES), 1))
    for shade, (vivid, light) in zip(shades, SHADES, strict=True):
        shade[:3] += (np.array(pure) - own[:3]) * vivid
        shade[:3] += (float(light > 0) - shade[:3]) * abs(light)
    return shades
