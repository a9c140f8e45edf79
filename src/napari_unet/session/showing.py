"""What is shown of the current image beside its annotation and its cells: one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.session.annotating.shortcuts import BLINK_KEY
from napari_unet.session.images.layers import set_visible
from napari_unet.session.prediction.results import LIVE_RUN, ON_REQUEST, OnRequest

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.overlay.control import WeightOverlay
    from napari_unet.session.prediction.control import PredictionControl
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.training.preview import LivePreview

_FIRST = "Predict this image first."


@dataclass(frozen=True, slots=True)
class Showable:
    """Something that can be shown."""

    key: str
    text: str
    help: str  # with the field's term
    shown: bool
    problem: str = ""  # why it cannot be shown now


_ON_REQUEST: dict[OnRequest, tuple[str, str]] = {
    "probability": (
        "Probability",
        "How sure the network is of each class, 0 to 1 (probability map).",
    ),
    "classes": ("Classes", "The most probable class of each pixel (class map)."),
    "entropy": (
        "Uncertainty",
        "Where the network is unsure (entropy, 0 to 1): worth annotating there.",
    ),
}
_HELP_CELLS = "Outlines of what the network finds."
_HELP_WEIGHTS = (
    "How much the gaps between cells weigh in training (border weight map); it "
    "follows the brush."
)


class Showing:
    """Shows and hides layers of the current image, and says which there are.

    Each has a layer of its own, made on request and removed when it is hidden: a layer
    costs time whenever napari draws.
    """

    changed = Signal()
    """Something is shown, or not, or can be."""

    def __init__(
        self,
        viewer: ViewerModel,
        images: ImageList,
        prediction: PredictionControl,
        preview: LivePreview,
        overlay: WeightOverlay,
    ) -> None:
        self._viewer, self._images = viewer, images
        self._prediction, self._preview = prediction, preview
        self._overlay = overlay
        for signal in self._signals():
            signal.connect(self._on_change)
        viewer.bind_key(BLINK_KEY, self._on_key, overwrite=True)

    def close(self) -> None:
        """Stop following the viewer."""
        for signal in self._signals():
            signal.disconnect(self._on_change)
        self._viewer.bind_key(BLINK_KEY, None)

    def items(self) -> list[Showable]:
        """List what can be shown of the current image, and what is."""
        results, layer = self._results(), self._cells_layer()
        problem = "" if results is not None else _FIRST
        weighted = self._overlay.enabled
        annotated = self._images.current is not None and self._images.current.annotated
        return [
            Showable(
                "cells",
                f"Cells ({BLINK_KEY})",
                _HELP_CELLS,
                layer is not None and layer.visible,
                _FIRST if layer is None else "",
            ),
            *self._sources(),
            *(
                Showable(
                    kind,
                    *_ON_REQUEST[kind],
                    results is not None and results.shows(kind),
                    problem,
                )
                for kind in ON_REQUEST
            ),
            Showable(
                "weights",
                "Border weights",
                _HELP_WEIGHTS,
                weighted,
                "" if annotated or weighted else "Annotate this image first.",
            ),
        ]

    def set_shown(self, key: str, shown: bool) -> None:
        """Show or hide something, by its key."""
        results = self._results()
        if key == "weights":
            if shown:
                self._overlay.set_enabled(True)
            else:
                self._overlay.drop()
        elif key == "cells":
            if (layer := self._cells_layer()) is not None:
                set_visible(layer, shown)
        elif key in _ON_REQUEST:
            if results is not None:
                kind: Any = key
                (results.show if shown else results.drop)(kind)
        elif shown:
            self._see(key)
        self.changed.emit()

    def blink(self) -> None:
        """Hide the prediction of the current image, or show it again."""
        layer = self._cells_layer()
        if layer is not None:
            layer.visible = not layer.visible
            self.changed.emit()

    def _sources(self) -> list[Showable]:
        """List whose cells can be seen, where there is more than one."""
        everyone, now = self._everyone(), self._results()
        if len(everyone) < 2:
            return []
        return [
            Showable(
                results.run,
                f"Cells of {_name(results)}",
                "Results of several models are kept; this shows those of one of them.",
                results is now,
            )
            for results in everyone
        ]

    def _see(self, run: str) -> None:
        """Let the layer of cells show the results of a model, or the live preview."""
        for results in self._everyone():
            if results.run == run:
                if run == LIVE_RUN:
                    results.claim()
                else:
                    self._prediction.model_results.show_again(results)

    def _everyone(self) -> list[ResultLayers]:
        image = self._images.current
        if image is None:
            return []
        live = self._preview.results_of(image.id)
        models = self._prediction.model_results.of_image(image.id)
        return [*models, *([live] if live is not None else [])]

    def _results(self) -> ResultLayers | None:
        """Return what the layer of cells shows, else what was predicted last."""
        image = self._images.current
        if image is None:
            return None
        for results in self._everyone():
            if results.in_cells_layer:
                return results
        return self._prediction.results.get(image.id)

    def _cells_layer(self) -> Any:
        for results in self._everyone():
            if (layer := results.cells_layer.layer) is not None:
                return layer
        return None

    def _signals(self) -> list[Any]:
        layers = self._viewer.layers.events
        return [
            layers.inserted,
            layers.removed,
            self._images.current_changed,
            self._prediction.changed,
            self._preview.changed,
            self._overlay.enabled_changed,
        ]

    def _on_change(self, _: object = None) -> None:
        self.changed.emit()

    def _on_key(self, _viewer: object) -> None:
        self.blink()


def _name(results: ResultLayers) -> str:
    if results.run == LIVE_RUN:
        return "the live preview"
    from pathlib import Path

    return Path(results.run).stem
