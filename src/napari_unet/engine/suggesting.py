"""Suggestions of tiles to annotate next, as a generator of events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.events import TileSeen, TilesSuggested
from napari_unet.core.geometry.boxes import shape_of, within
from napari_unet.core.images.image import Field, channels_of
from napari_unet.core.images.normalisation import frame_of, measure
from napari_unet.core.settings import Prediction
from napari_unet.core.suggestions.choice import SeenTile, choose
from napari_unet.core.suggestions.known import find_annotated
from napari_unet.core.suggestions.reasons import suggestions_of
from napari_unet.core.suggestions.sampling import sample_tiles
from napari_unet.core.suggestions.tile_looks import looks_of
from napari_unet.core.suggestions.uncertainty import uncertainty_of
from napari_unet.core.text import counted, printable
from napari_unet.engine.inference.tile_run import TileRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Image
    from napari_unet.core.images.normalisation import GreyScale, Normalisation
    from napari_unet.core.model import ModelCard
    from napari_unet.core.suggestions.known import Annotated, KnownParts
    from napari_unet.core.suggestions.sampling import TilePlace
    from napari_unet.engine.network.network import Network

COUNT = 6
"""Tiles in a list."""


def suggest(
    images: Sequence[Image],
    frames: Sequence[Sequence[int]],
    known: Sequence[KnownParts | None],
    model: tuple[Network, ModelCard] | None = None,
    count: int = COUNT,
    settings: Prediction | None = None,
) -> Iterator[Event | None]:
    """Suggest tiles to annotate.

    Parameters
    ----------
    frames : sequence of sequence of int
        Time points of each image that may be looked at, see `sample_frames`.
    known : sequence of KnownParts or None
        What is annotated of each image; None is nothing.
    model : tuple of Network and ModelCard, optional
        It predicts the chosen tiles, so that the reasons can say what it is unsure of.
    count : int
        Most tiles to suggest.
    settings : Prediction, optional
        Whether images are resampled for the network.

    Yields
    ------
    Event or None
        None while annotation is read, `TileSeen` for each tile, at last
        `TilesSuggested`.

    Raises
    ------
    ValueError
        There is no image, images have different channels, or the model has others or
        predicts no classes.
    """
    _check_channels(images)
    if model is not None:
        _check(images, *model)
    found = yield from find_annotated(images, known)
    looking = _Looking(
        images, known, "structure" if model is None else model[0].normalisation
    )
    places = sample_tiles(images, frames)
    tiles: list[SeenTile] = []
    every = len(places) + len(found.tiles) + (count if model else 0)
    for place, share in (*found.tiles, *((p, None) for p in places)):
        tiles.append(looking.at(place, share))
        yield TileSeen(len(tiles) / every)
    best = choose(tiles, count)
    if model is not None:
        for number, one in enumerate(best):
            tile = looking.judged(one.tile, model, settings or Prediction())
            best[number] = replace(one, tile=tile)
            yield TileSeen((len(tiles) + number + 1) / every)
    chosen = suggestions_of(best, found.diameters)
    yield TilesSuggested(chosen, _sentence(len(places), len(images), found))


class _Looking:
    """Reads and predicts tiles; the grey values of each frame are measured once."""

    def __init__(
        self,
        images: Sequence[Image],
        known: Sequence[KnownParts | None],
        rule: Normalisation,
    ) -> None:
        self._images, self._known, self._rule = images, known, rule
        self._scales: dict[tuple[int, int, int | None], GreyScale] = {}

    def at(self, place: TilePlace, share: float | None = None) -> SeenTile:
        """Read a tile; the annotated `share` of it is measured unless given."""
        t, z, box = place.t, place.z, place.box
        field = Field(self._images[place.image], t, z)
        tile = self.scale(place.image, field).apply(field.read(box))
        parts = self._known[place.image]
        if share is None:
            share = 0.0 if parts is None else parts.share(t, z, box)
        return SeenTile(place, looks_of(tile), share)

    def judged(
        self, tile: SeenTile, model: tuple[Network, ModelCard], settings: Prediction
    ) -> SeenTile:
        """Predict a tile, as it is and turned by 180°."""
        network, card = model
        place, image = tile.place, self._images[tile.place.image]
        field, region = Field(image, place.t, place.z), place.box
        if network.geometry.ndim == 3:
            thin = slice(place.z, place.z + 1)
            field, region = Field(image, place.t, None), (thin, *region)
        scale = self.scale(place.image, field)
        factors = network.factors(image, settings)
        turned: Any = _Turned(network.module)
        views = [
            _predicted(one, field, scale, region, factors)
            for one in (network, replace(network, module=turned))
        ]
        cells = None
        if card.cell_classes:
            # enough for a tile, and it needs no other package
            settled = network.for_image(card.segmentation, factors)
            cells = segment_instances(
                np.mean(views, axis=0),
                settled.replace(cells_by="watershed"),
                cell_classes=card.cell_classes,
            )
        return replace(tile, uncertainty=uncertainty_of(views, cells))

    def scale(self, number: int, field: Field) -> GreyScale:
        """Return the normalisation of the frame of a field."""
        t, z = frame_of(field, self._rule)
        key = number, t, z
        if key not in self._scales:
            self._scales[key] = measure(field.image, t, self._rule, z)
        return self._scales[key]


class _Turned(nn.Module):
    """A network whose input is turned by 180°, and its output back.

    Poolings begin at other pixels, so that uncertain pixels come out differently.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @property
    def architecture(self) -> object:
        """As of the network."""
        return self.module.architecture

    def forward(self, window: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.module(window.flip(-1, -2)).flip(-1, -2)
        return logits


def _predicted(
    network: Network,
    field: Field,
    scale: GreyScale,
    region: Box,
    factors: tuple[float, ...] | None,
) -> NDArray[np.float32]:
    """Return the probabilities of a region of one plane, (classes, y, x)."""
    shape = shape_of(region)
    found = np.zeros((network.geometry.classes, *shape), np.float32)
    run = TileRun(network, field, scale, region=region, factors=factors)
    for tile, values in run:
        found[(slice(None), *within(tile.target, region))] = values
    return found.reshape(len(found), *shape[-2:])


def _check_channels(images: Sequence[Image]) -> None:
    if not images:
        raise ValueError("there is no image to suggest tiles of.")
    channels_of(images)


def _check(images: Sequence[Image], network: Network, card: ModelCard) -> None:
    if network.outputs is not None:
        raise ValueError(
            f"{card.name}: makes images; only a model that predicts classes has an "
            "uncertainty about them."
        )
    wanted, image = network.geometry.channels, images[0]
    if image.channels != wanted:
        raise ValueError(
            f"{printable(image.name)}: the model {card.name} was trained on {wanted} "
            f"channel(s), the image has {image.channels}."
        )


def _sentence(tiles: int, images: int, found: Annotated) -> str:
    """Return a sentence on what was compared."""
    compared = f"{counted(tiles, 'tile')} of {counted(images, 'image')} compared"
    if found.tiles:
        return f"{compared}, by their looks and by what is annotated."
    return f"{compared} by their looks; nothing is annotated yet."
