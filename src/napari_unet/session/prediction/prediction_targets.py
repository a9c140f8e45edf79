"""Which images of the viewer a model is to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.session.prediction.prediction_order import (
    channel_objection,
    mistaken,
    objection,
    order,
    remark,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.core.model import ModelCard
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.prediction.models import ModelList
    from napari_unet.session.prediction.prediction_order import Extent, Order
    from napari_unet.session.project.record import ProjectImage
    from napari_unet.session.project.store import ProjectStore


class Targets:
    """Finds the images to predict, and takes new ones into the project.

    Parameters
    ----------
    viewer : ViewerModel
    store : ProjectStore
    images : ImageList
    models : ModelList
    """

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        images: ImageList,
        models: ModelList,
    ) -> None:
        self._viewer, self._store = viewer, store
        self._images, self._models = images, models

    def objection(self) -> str:
        """Say why the image in view cannot be predicted; empty if it can be."""
        card = self._models.card
        if card is None:
            return "Choose a model first: train one, or drop a model file here."
        layer = self._new_layer()
        if layer is not None:
            channels = self._images.channels_of(layer)
            return channel_objection(card, layer.name, channels) if channels else ""
        image = self._images.current
        if image is None:
            return "Open an image first."
        if not self._images.layers(image.id):
            return f"{image.name} is closed: open its file in napari again."
        return objection(card, image)

    def name(self) -> str:
        """Return the name of the image that would be predicted; empty if none."""
        layer, image = self._new_layer(), self._images.current
        if layer is not None:
            return str(layer.name)
        return image.name if image is not None else ""

    def remark(self) -> str:
        """Say how the image in view is changed for the model; empty if it is not."""
        card, image = self._models.card, self._images.current
        return remark(card, image) if card is not None and image is not None else ""

    def doubts(self, orders: Iterable[Order]) -> set[str]:
        """Say what spoils the results of orders: pixel sizes that cannot be right."""
        card = self._models.card
        if card is None:
            return set()
        images = [self._store.project.image(one.image_id) for one in orders]
        return {remark(card, image) for image in images if mistaken(card, image)}

    def orders(self, extent: Extent) -> list[Order]:
        """Return what to predict of which image, the image in view first.

        Raises
        ------
        ValueError
            If there is no model, or no image that it fits.
        """
        card = self._models.card
        if card is None:
            raise ValueError(self.objection())
        images = self._all(card) if extent == "images" else [self._one(card)]
        return [
            order(
                extent,
                image,
                card.architecture.ndim,
                self._images.place_in_view(image.id),
                self._images.box_in_view(image.id),
            )
            for image in images
        ]

    def _one(self, card: ModelCard) -> ProjectImage:
        if told := self.objection():
            raise ValueError(told)
        layer = self._new_layer()
        image = self._add(layer) if layer is not None else self._images.current
        against = objection(card, image) if image is not None else ""
        if image is None or against or not self._images.layers(image.id):
            raise ValueError(against or self.objection())
        return image

    def _all(self, card: ModelCard) -> list[ProjectImage]:
        """Return the open images that fit a model; those that do not are left out."""
        for layer in self._images.candidates():
            if self._images.channels_of(layer) == card.architecture.channels:
                self._add(layer)
        opened = [i for i in self._store.project.images if self._images.layers(i.id)]
        fitting = [i for i in opened if not objection(card, i)]
        if not fitting:
            raise ValueError(
                objection(card, opened[0]) if opened else "Open an image first."
            )
        current = self._images.current
        return sorted(fitting, key=lambda image: image != current)

    def _new_layer(self) -> Layer | None:
        """Return the layer that is meant, if it is not in the project yet."""
        candidates = self._images.candidates()
        active = self._viewer.layers.selection.active
        if active is not None and any(active is layer for layer in candidates):
            return active
        current = self._images.current
        if current is not None and self._images.layers(current.id):
            return None
        return candidates[-1] if candidates else None

    def _add(self, layer: Layer) -> ProjectImage:
        """Take an image into the project, but not for training."""
        image = self._images.add([layer])
        if not image.annotated:
            self._images.set_use_for_training(image.id, False)
        return self._store.project.image(image.id)
