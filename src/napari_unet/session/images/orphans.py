"""Layers that were made for an image: removed when it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore


class Orphans:
    """Removes the layers on an image once it is closed, or left the project.

    Only the layers: what was painted or predicted is kept.
    """

    back = Signal(str)
    """An image whose layers were removed is open again."""

    def __init__(
        self, viewer: ViewerModel, store: ProjectStore, images: ImageList
    ) -> None:
        self._viewer, self._store, self._images = viewer, store, images
        self._gone: set[str] = set()
        self._looking = True
        for signal in self._signals():
            signal.connect(self._on_change)

    def close(self) -> None:
        """Stop following the viewer."""
        for signal in self._signals():
            signal.disconnect(self._on_change)

    def tick(self) -> None:
        """Check, if any layer or image came or went; not while the list changes."""
        if not self._looking:
            return
        self._looking = False
        for image_id in [i for i in self._gone if self._images.layers(i)]:
            self._gone.discard(image_id)
            self.back.emit(image_id)
        for layer in list(self._viewer.layers):
            noted = roles.noted(layer)
            source = noted.get("source")
            if (
                noted.get("role") not in roles.FROM_BELOW
                or not source
                or self._images.layers(source)
            ):
                continue
            self._gone.add(source)
            # the user does not delete it: what it shows is kept
            noted["run"] = ""
            self._viewer.layers.remove(layer)

    def _signals(self) -> tuple[Any, ...]:
        layers = self._viewer.layers.events
        return layers.inserted, layers.removed, self._store.changed

    def _on_change(self, _: object = None) -> None:
        self._looking = True
