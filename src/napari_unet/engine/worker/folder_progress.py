"""How far a folder of images is, from what is told of each; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.events import BlockDone, FileBegun, FilePredicted, TileDone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_unet.core.events import Event

# Share of the time of an image that the network takes, about, and what follows it.
_NETWORK = 0.7
_AFTER = {"classes": (0.7, 0.73), "cells": (0.73, 0.97), "numbers": (0.97, 1.0)}
_TOLD = 0.01  # of the folder, from which it is told


def overall(events: Iterable[Event | None]) -> Iterator[Event | None]:
    """Tell of each image, and meanwhile how far the whole folder is.

    A large image is one of few: its tiles and blocks count as parts of it.
    """
    told, done, total = 0.0, 0.0, 1
    for event in events:
        if isinstance(event, FileBegun):
            total = event.total
        elif isinstance(event, FilePredicted):
            told = done = event.progress
            yield event
            continue
        elif (share := _share(event)) is not None:
            now = done + share / total
            if now - told >= _TOLD:
                told = now
                yield BlockDone("images", now)
                continue
        yield None


def _share(event: Event | None) -> float | None:
    """Return how much of its image is done with an event, roughly; None: unknown."""
    if isinstance(event, TileDone):
        return _NETWORK * event.progress
    if isinstance(event, BlockDone) and event.stage in _AFTER:
        begin, end = _AFTER[event.stage]
        return begin + (end - begin) * event.progress
    return None
