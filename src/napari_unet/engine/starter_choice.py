"""Choice of a model of the package by a trial on a part of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.events import StarterChosen
from napari_unet.core.geometry.boxes import shape_of, square
from napari_unet.core.images.image import Field, Image
from napari_unet.core.starters import choose, measure
from napari_unet.core.text import counted
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.io.images import read_image
from napari_unet.io.pretrained import STARTERS, pretrained_model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.model import ModelCard
    from napari_unet.core.starters import Starter, Trial
    from napari_unet.engine.network.network import Network

# Sides of the part that is predicted, enough for some cells of any kind within a
# second, and of the larger one in which grey values are measured, in pixels.
_SIDE, _AROUND = 320, 1024


def choose_starter(
    image: Image,
    load: Callable[[Path], tuple[Network, ModelCard]],
    place: tuple[int, int | None] | None = None,
    focus: Sequence[float] | None = None,
) -> Iterator[Event | None]:
    """Choose the starter for an image; the last event is a `StarterChosen`.

    `load` returns the network and the card of a model file. What is looked at is the
    plane `place` (t, z), around the pixel `focus` (y, x); the middle unless given.

    Raises
    ------
    ValueError
        No starter sees images with so many channels.
    """
    middle = image.size("t") // 2, image.size("z") // 2
    t, z = middle if place is None else (place[0], place[1] or 0)
    trials: list[Trial] = []
    for starter in STARTERS:
        network, card = load(pretrained_model(starter.name))
        yield None
        fitting = image.with_channels(network.geometry.channels)
        if fitting.channels == network.geometry.channels:
            part, box = _part(Field(fitting, t, z), focus)
            trials.append((yield from _trial(starter, network, card, part, box)))
    if not trials:
        raise ValueError(
            f"{image.name} has {counted(image.channels, 'channel')}, no model of the "
            "package sees as many: choose another model, or one channel."
        )
    yield StarterChosen(choose(trials))


def choose_by_first(
    files: Sequence[Path],
    load: Callable[[Path], tuple[Network, ModelCard]],
    axes: str | None = None,
    channel: int | None = None,
) -> Iterator[Event | None]:
    """Choose the starter for many files by the first of them that can be read.

    `axes` are those of files without names of axes, `channel` is that of the network,
    from 1; else as `choose_starter`. If no file can be read, the error of the first is
    raised.
    """
    first: Exception | None = None
    for file in files:
        try:
            image = read_image(file, axes)
            image = image if channel is None else image.channel(channel)
        except (ValueError, OSError) as error:
            first = first or error
            continue
        yield from choose_starter(image, load)
        return
    raise first or ValueError("there is no image to choose a model by.")


def _part(field: Field, focus: Sequence[float] | None) -> tuple[Image, Box]:
    """Return a part of a plane, and the box in it that is to be predicted."""
    centre = tuple(n / 2 for n in field.shape) if focus is None else tuple(focus[-2:])
    around = square(centre, _AROUND, field.shape)
    shape = shape_of(around)
    inner = tuple(c - part.start for c, part in zip(centre, around, strict=True))
    image = field.image
    pixels = field.read(around)
    part = Image(pixels, "cyx", yx_um=image.yx_um, name=image.name)
    return part, square(inner, _SIDE, shape)


def _trial(
    starter: Starter, network: Network, card: ModelCard, part: Image, box: Box
) -> Generator[None, None, Trial]:
    found = np.zeros((card.architecture.classes, *part.field_shape(2)), np.float32)
    for _ in predict(network, part, out=found, axes="cyx", region=box):
        yield None
    found = found[(slice(None), *box)]
    cells = segment_instances(found, card.segmentation)
    pixels = part.read((slice(None), *box)).astype(np.float32).mean(axis=0)
    return measure(starter, 1 - found[0], cells, pixels)
