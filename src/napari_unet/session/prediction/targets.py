"""The targets of a prediction: which parts of which images, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_unet.core.geometry.boxes import centre
from napari_unet.core.images.rescaling import rescaling, written
from napari_unet.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.jobs import Place
    from napari_unet.core.model import ModelCard
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.models import ModelList
    from napari_unet.session.session import Session

Extent = Literal["slice", "view", "layer", "images"]
"""The slice in view, what the canvas shows of it, a whole image, or all open images."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The part of one image to predict."""

    image: ProjectImage
    places: tuple[Place, ...]  # planes or volumes, in this order
    region: Box | None  # part of each; None for all
    focus: tuple[float, ...]  # point at which to begin, ([z,] y, x) in pixels
    resampling: Resampling

    def doubts(self, card: ModelCard) -> list[str]:
        """Return what may be wrong in using a model for the image, in sentences."""
        depth = card.note_of_depth(self.image.sizes["z"], self.image.sizes["t"])
        found = [f"{self.image.name}: {depth}"] if depth else []
        resampling = self.resampling
        return [resampling.sentence, *found] if resampling.implausible else found


class Targets:
    """Finds the images to predict, and adds new ones to the project."""

    def __init__(self, session: Session, models: ModelList) -> None:
        self._viewer, self._store = session.viewer, session.store
        self._images, self._models = session.images, models

    def name(self) -> str:
        """Return the name of the image that would be predicted; empty if none."""
        layer, image = self._new_layer(), self._images.current
        if layer is not None:
            return str(layer.name)
        return image.name if image is not None else ""

    def part_word(self) -> str:
        """Return what is predicted at least: the slice in view, or what it is of."""
        card, image = self._models.card, self._images.current
        ndim = 2 if card is None else card.architecture.ndim
        return "slice" if image is None else image.part_word(ndim)

    def folder(self) -> Path:
        """Return the folder that the image in view is in, or else the home."""
        image = self._images.current
        source = None if image is None else image.sources[0].path
        return Path(source).parent if source else Path.home()

    def problem(self) -> str:
        """Return why the image in view cannot be predicted; empty if it can."""
        cards = self._cards()
        if not cards:
            return "Choose a model first: train one, or drop a model file here."
        layer, image = self._new_layer(), self._images.current
        if layer is not None:
            channels, name = self._images.channels_of(layer), layer.name
        elif image is None or self._closed(image):
            return self._closed(image)
        else:
            channels, name = image.channels, image.name
        # which of several layers is meant is resolved by the prediction
        problems = [channel_problem(c, name, channels) for c in cards if channels]
        if not problems or not all(problems):
            return ""
        if self._models.card is not None:
            return problems[0]
        needed = " or ".join(map(str, sorted({c.architecture.channels for c in cards})))
        return (
            f"The models that come with the package see {needed} channels, {name} has "
            f"{counted(channels, 'channel')}: train one on it first."
        )

    def _cards(self) -> list[ModelCard]:
        """Return the cards of the chosen model, or of all starters."""
        models = self._models
        if models.card is not None:
            return [models.card]
        return [e.card for e in models.starters] if models.automatic else []

    def image_in_view(self) -> ProjectImage:
        """Return the image in view, added to the project if needed.

        ValueError if there is none, or it is closed.
        """
        layer, image = self._new_layer(), self._images.current
        if layer is not None:
            return self._add(layer)
        if image is None or self._closed(image):
            raise ValueError(self._closed(image))
        return image

    def _closed(self, image: ProjectImage | None) -> str:
        """Return that an image is closed; empty if it is open."""
        if image is None:
            return "Open an image first."
        if not self._images.layers(image.id):
            return f"{image.name} is closed: open its file in napari again."
        return ""

    def resampling(self) -> str:
        """Return how the image in view is resampled for the model; empty if not."""
        card, image = self._models.card, self._images.current
        return "" if card is None or image is None else Resampling(card, image).sentence

    def find(self, extent: Extent) -> list[Target]:
        """Return the targets: the image in view first, and in each the view first.

        ValueError if there is no model, no image that it fits, or if the view is
        requested and nothing of the image is in it.
        """
        card = self._models.card
        if card is None:
            raise ValueError(self.problem())
        images = self._all(card) if extent == "images" else [self._in_view(card)]
        return [self._target(extent, image, card) for image in images]

    def _target(self, extent: Extent, image: ProjectImage, card: ModelCard) -> Target:
        """Order the planes or volumes: those in view first, then outwards.

        A 3-D network takes the volume of a slice.
        """
        ndim = card.architecture.ndim
        t, z = self._images.place_in_view(image.id)
        box: Box = self._images.box_in_view(image.id)
        sizes = image.sizes
        region: Box | None = None
        if extent == "view":
            if any(s.stop <= s.start for s in box):
                raise ValueError(f"Nothing of {image.name} is in view: move it there.")
            region = box if ndim == 2 else (slice(0, sizes["z"]), *box)
        only_this = extent in ("slice", "view")
        frames = [t] if only_this else range(sizes["t"])
        slices: Iterable[int | None] = [z] if only_this else range(sizes["z"])
        places = product(frames, slices if ndim == 2 else [None])
        nearest = sorted(places, key=lambda p: (abs(p[0] - t), abs((p[1] or 0) - z)))
        focus = centre(box if ndim == 2 else (slice(z, z + 1), *box))
        return Target(image, tuple(nearest), region, focus, Resampling(card, image))

    def _in_view(self, card: ModelCard) -> ProjectImage:
        problem, layer = self.problem(), self._new_layer()
        image = self._images.current
        if layer is not None and not problem:
            image = self._add(layer)
            # it may not have been known before how many channels the layer has
            problem = channel_problem(card, image.name, image.channels)
        if image is None or problem:
            raise ValueError(problem)
        return image

    def _all(self, card: ModelCard) -> list[ProjectImage]:
        """Return the open images that fit a model; those that do not are left out."""
        for layer in self._images.candidates():
            if self._images.channels_of(layer) == card.architecture.channels:
                self._add(layer)
        opened = self._images.opened()
        problems = [channel_problem(card, i.name, i.channels) for i in opened]
        fitting = [i for i, p in zip(opened, problems, strict=True) if not p]
        if not fitting:
            raise ValueError(problems[0] if problems else "Open an image first.")
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
        """Add an image to the project, but not for training."""
        image = self._images.add([layer])
        if not image.annotated:
            self._images.set_use_for_training(image.id, False)
        return self._store.project.image(image.id)


def channel_problem(card: ModelCard, name: str, found: int) -> str:
    """Return why a model cannot be used for a number of channels; empty if it can."""
    needed = card.architecture.channels
    if needed == found:
        return ""
    return (
        f"{card.name} was trained on images with {counted(needed, 'channel')}, "
        f"{name} has {counted(found, 'channel')}: choose another model or image."
    )


class Resampling:
    """The resampling of an image for a model that was trained at another pixel size."""

    def __init__(self, card: ModelCard, image: ProjectImage) -> None:
        ndim, scale = card.architecture.ndim, card.training.scale
        known, own = card.spacing_um, image.spacing_um
        # of the training images; the network may have seen them at another
        trained = None if known is None else tuple(scale * size for size in known)
        # as `core.images.rescaling.rescaling` gives them for those of the training
        # images; None where they are alike
        self.factors: tuple[float, ...] | None = None
        # the pixel sizes are too far apart to be right: it is not resampled
        self.implausible = False
        self.sentence = ""  # says so; empty where nothing is to be said
        then = "it is resampled for the network."
        try:
            self.factors = rescaling(trained, own, ndim, image.name)
        except ValueError:
            self.implausible = True
            then = "one of the two must be wrong, so it is not resampled."
        if self.factors or self.implausible:
            ours, theirs = (written((sizes or ())[-ndim:]) for sizes in (own, trained))
            self.sentence = (
                f"{image.name} has pixels of {ours}, {card.name} was trained on pixels "
                f"of {theirs}: {then}"
            )
