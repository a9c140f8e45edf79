"""Editing cells: which tool, on predictions or on annotation, by click or by key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT
from napari_unet.session.annotating import shortcuts
from napari_unet.session.annotating.brush import usual_size
from napari_unet.session.editing.annotation_edits import AnnotationEdits
from napari_unet.session.editing.canvas_tool import CanvasTool
from napari_unet.session.editing.prediction_edits import PredictionEdits
from napari_unet.session.editing.reshape import reshape
from napari_unet.session.editing.stepping import Stepper
from napari_unet.session.editing.tools import BY_NAME, OF_CELLS, SHORTCUTS
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari.layers import Labels, Layer
    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.editing.reshape import ToolName
    from napari_unet.session.editing.stepping import Step
    from napari_unet.session.editing.tools import Target, Tool
    from napari_unet.session.prediction.control import PredictionControl
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.session import Session

_NO_RESULTS = "There are no predicted cells of this image yet: predict it first."
_OTHER_RESULTS = (
    "The layer of cells does not show those of the last prediction: choose them under "
    "Show, or predict again."
)


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """The target of the next edit: a slice of an image, predicted or painted."""

    target: Target
    image: ProjectImage
    layer: Labels
    t: int
    z: int
    results: ResultLayers | None = None  # of predicted cells


class CellEditor:
    """Edits the cells of the active layer: predicted or painted ones.

    Where another layer is active, the tool acts on what it was activated for.
    """

    changed = Signal()
    """Another tool, or cells were edited."""
    pointed = Signal(object)
    """A point in world coordinates that the pointer is to go to."""

    def __init__(self, session: Session, prediction: PredictionControl) -> None:
        viewer, store, annotating = session.viewer, session.store, session.annotating
        self._viewer, self._images = viewer, session.images
        self._post, self.message = session.post, session.message
        self._annotating, self._prediction = annotating, prediction
        self.predicted = PredictionEdits(
            store, prediction.results, prediction.segmenter
        )
        self._painted = AnnotationEdits(store, annotating)
        self.canvas = CanvasTool(viewer)
        self._stepper = Stepper(self.predicted)
        self._target: Target = "cells"
        # the step that is being searched, and one requested meanwhile
        self._step: Generator[None, None, Step | None] | None = None
        self._step_more = 0
        # position of the last step among the cells, in words
        self.stepped = ""
        self.canvas.drawn.connect(self._on_drawn)
        self.canvas.stopped.connect(self.put_away)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.selection.events.active.connect(self._on_active)
        for layer in viewer.layers:
            self._bind(layer)

    @property
    def tool(self) -> Tool | None:
        """The active tool in the canvas; None if it is napari's."""
        return self.canvas.tool

    @property
    def target(self) -> Target:
        """What the tools act on."""
        if self.tool is not None and not self.tool.of_annotation:
            return "cells"
        return self._active_role() or self._target

    def take(self, name: ToolName, target: Target | None = None) -> None:
        """Activate a tool in the canvas, on the active layer unless given.

        ValueError if there is nothing to edit.
        """
        self._target = target or self.target
        tool = BY_NAME[name]
        if not tool.of_annotation:
            self._target = "cells"
        aim = self._aim(self._target)
        with self.canvas.own_changes():
            roles.set_visible(aim.layer)
            self._viewer.layers.selection.active = aim.layer
        self.canvas.take(tool)
        self.stepped = ""
        self.changed.emit()

    def put_away(self) -> None:
        """Leave clicks to napari."""
        self.canvas.take(None)
        self.changed.emit()

    def toggle(self, name: ToolName, target: Target | None = None) -> None:
        """Activate a tool, or deactivate it if it is active."""
        if self.tool is BY_NAME[name] and target in (None, self._target):
            self.put_away()
        else:
            self.take(name, target)

    def use(self, name: ToolName, points: Sequence[Sequence[float]]) -> None:
        """Edit cells along a path in world coordinates; one point is a click.

        ValueError says why nothing is done, OSError that the disk is full.
        """
        target = self.target if BY_NAME[name].of_annotation else "cells"
        aim = self._seen(target)
        path = self._in_plane(aim, points)
        radius = self._radius(aim)
        with self.canvas.own_changes():
            if aim.results is None:
                place = aim.image.id, aim.t, aim.z
                self._painted.make(name, *place, path, radius)
            else:
                self._edit_predicted(aim.results, name, aim, path, radius)
        self.stepped = ""
        self.changed.emit()

    def use_looked_at(self) -> int:
        """Copy what was edited in the slice in view into the annotation.

        Accepted and edited cells become cells, whose number is returned, and where
        there is none in truth, background. ValueError if nothing was edited.
        """
        aim = self._seen("cells")
        results = aim.results
        if results is None:
            raise ValueError(_NO_RESULTS)
        record = self.predicted.record(results, aim.t, aim.z)
        cells = results.plane("cells", aim.t, aim.z)
        ids = np.unique(cells[record >= FIRST_OBJECT])
        background = (record == BACKGROUND) & (cells == 0)
        if not ids.any() and not background.any():
            raise ValueError("Nothing was accepted or edited in this slice yet.")
        wanted = set(ids[ids > 0].tolist())
        with self.canvas.own_changes(), roles.selection_kept(self._viewer):
            number, _ = self._painted.use(
                aim.image.id, cells, aim.t, aim.z, wanted, background
            )
        return number

    def use_slice(self) -> int:
        """Copy the predicted cells in view to the annotation; return how many.

        ValueError if there are none.
        """
        aim = self._seen("cells")
        if aim.results is None:
            raise ValueError(_NO_RESULTS)
        plane = aim.results.plane("cells", aim.t, aim.z)
        edits = self._annotating.label_edits
        with self.canvas.own_changes():
            place = aim.t, aim.z
            number = edits.use_as_annotation(aim.image.id, plane, *place, None)
            roles.set_visible(self._annotating.layers.show(aim.image.id))
        aim.results.visibility.put_aside((aim.t, aim.z))
        return number

    def forget(self) -> None:
        """Discard the edits of the slice in view."""
        aim = self._seen("cells")
        if aim.results is not None and not self.predicted.forget(
            aim.results, aim.t, aim.z
        ):
            raise ValueError("Nothing was edited in this slice.")
        self.changed.emit()

    def undo(self) -> None:
        """Undo the last edit of the predicted cells in view."""
        self._turn("Undone", self.predicted.undo)

    def redo(self) -> None:
        """Redo what was undone last."""
        self._turn("Done again", self.predicted.redo)

    def step(self, by: int) -> None:
        """Point to the next (1) or previous (-1) cell of the slice in view, soon."""
        if self._step is not None:
            self._step_more = by
            return
        aim = self._seen(self.target)
        self._step = self._stepper.next(aim, by)
        self._go_on_with_step(aim)

    def _go_on_with_step(self, aim: Aim) -> None:
        if self._step is None:
            return  # closed meanwhile
        try:
            next(self._step)
        except StopIteration as end:
            more, self._step, self._step_more = self._step_more, None, 0
            self._point_to(aim, end.value)
            if more:
                self.step(more)
        else:
            self._post(partial(self._go_on_with_step, aim))

    def _point_to(self, aim: Aim, step: Step | None) -> None:
        if step is None:
            self.message.emit("info", self._why_no_step(aim))
            return
        where = {"t": aim.t, "z": aim.z, "y": step.point[0], "x": step.point[1]}
        axes = aim.image.annotation_axes
        world = aim.layer.data_to_world([where[axis] for axis in axes])
        # the viewer may have axes that the layer lacks
        there = (*self._viewer.dims.point[: -len(world)], *map(float, world))
        self._viewer.cursor.position = there
        self.pointed.emit(there)
        self.stepped = step.text
        self.changed.emit()

    def _why_no_step(self, aim: Aim) -> str:
        """Say why there is no next cell."""
        if aim.results is not None:
            return "All predicted cells of this slice were looked at."
        predicted = self._prediction.results.get(aim.image.id)
        layer = None if predicted is None else predicted.layer("cells")
        other = "" if layer is None else f" Select {layer.name} for the predicted ones."
        return f"No cell is painted in this slice.{other}"

    def accept_here(self) -> None:
        """Accept the predicted cell under the pointer."""
        self._use_here("accept")

    def reject_here(self) -> None:
        """Reject the predicted cell under the pointer."""
        self._use_here("reject")

    def delete_here(self) -> None:
        """Delete the cell under the pointer."""
        self._use_here("delete")

    def merge_here(self) -> None:
        """Merge the cell under the pointer with the neighbour it touches most."""
        self._use_here("merge")

    def split(self) -> None:
        """Activate the tool that splits cells, or deactivate it."""
        self.toggle("split", self.target)

    def add(self) -> None:
        """Activate the tool that adds cells, or deactivate it."""
        self.toggle("add", self.target)

    def redraw(self) -> None:
        """Activate the tool that redraws cells, or deactivate it."""
        self.toggle("redraw", self.target)

    def close(self) -> None:
        """Stop following the viewer."""
        self._step = None
        self.canvas.take(None)
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        for layer in self._viewer.layers:
            self._bind(layer, free=True)

    def _use_here(self, name: ToolName) -> None:
        self.use(name, [self._viewer.cursor.position])

    def _edit_predicted(
        self,
        results: ResultLayers,
        name: ToolName,
        aim: Aim,
        path: NDArray[np.float64],
        radius: float,
    ) -> None:
        cells = results.plane("cells", aim.t, aim.z)
        fresh = results.cells.highest + 1
        done = reshape(name, cells, path, fresh, radius)
        edit = self.predicted.make(name, results, aim.t, aim.z, done)
        if name not in ("accept", "reject"):
            return
        ids = set(done.ids)
        # an accepted cell lies in the box as a whole, see `reshape`
        part = cells[done.box]
        with roles.selection_kept(self._viewer):
            _, edit.annotate = self._painted.use(
                aim.image.id, part, aim.t, aim.z, ids, done.changed, done.box
            )
            roles.set_visible(self._annotating.layers.show(aim.image.id))

    def _seen(self, target: Target) -> Aim:
        """Return the target of an edit; ValueError if there is none, or is not seen."""
        aim = self._aim(target)
        self._images.slice_in_view(aim.image.id)
        return aim

    def _aim(self, target: Target) -> Aim:
        """Return the target of an edit; ValueError if there is none."""
        image = self._images.current
        if image is None:
            raise ValueError("There is no image in the project yet.")
        if target == "annotation":
            layer = self._images.annotation_layer(image.id)
            if layer is None:
                raise ValueError("There is no annotation of this image yet.")
            return Aim(target, image, layer, *self._images.place_in_view(image.id))
        results = self._prediction.results.get(image.id)
        if results is None or not (results.has_cells and results.cells.version):
            raise ValueError(_NO_RESULTS)
        if not results.in_cells_layer:
            raise ValueError(_OTHER_RESULTS)
        if results.layer("cells") is None:
            # it shows classes where no cells are found yet
            results.see("cells", visible=True)
        layer = results.cells_layer.layer
        place = roles.place_in_view(self._viewer, layer, image.annotation_axes)
        return Aim(target, image, layer, *place, results)

    def _active_role(self) -> Target | None:
        active = self._viewer.layers.selection.active
        role = roles.role_of(active) if active is not None else None
        if role == "cells":
            return "cells"
        return "annotation" if role == "annotation" else None

    def _in_plane(self, aim: Aim, points: Sequence[Sequence[float]]) -> NDArray[Any]:
        """Return points in world coordinates as pixels of the slice, y and x."""
        axes = aim.image.annotation_axes
        data = np.array([aim.layer.world_to_data(point) for point in points], float)
        return data[:, [axes.index("y"), axes.index("x")]]

    def _radius(self, aim: Aim) -> float:
        """Return half the width of the brush, the default if there is none yet."""
        layer = self._images.annotation_layer(aim.image.id)
        if layer is not None:
            return float(layer.brush_size) / 2
        return usual_size(aim.image.annotation_shape) / 2

    def _turn(self, how: str, turn: Callable[[str], str | None]) -> None:
        image_id = self._aim("cells").image.id
        # an annotation layer that was deleted comes back, and would be selected
        with self.canvas.own_changes(), roles.selection_kept(self._viewer):
            what = turn(image_id)
        if what is None:
            raise ValueError("There is no edit of predicted cells to go back to.")
        self.message.emit("info", f"{how}: {what}.")
        self.changed.emit()

    def _on_drawn(self, points: list[tuple[float, ...]]) -> None:
        if self.tool is None:
            return
        try:
            self.use(self.tool.name, points)
        except (ValueError, OSError) as error:
            self.message.emit("warning", str(error))

    def _on_active(self, _: Any = None) -> None:
        if self.tool is not None:
            self.changed.emit()

    def _on_inserted(self, event: Any) -> None:
        self._bind(event.value)

    def _bind(self, layer: Layer, *, free: bool = False) -> None:
        role = roles.role_of(layer)
        if role not in ("cells", "annotation"):
            return
        keys = SHORTCUTS + (OF_CELLS if role == "cells" else ())
        if free:
            shortcuts.unbind(layer, keys)
        else:
            shortcuts.bind(layer, self, partial(self.message.emit, "warning"), keys)
