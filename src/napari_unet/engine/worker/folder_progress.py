"""Progress of predicting a folder, from the events of its images; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.events import (
    BlockDone,
    FileBegun,
    FilePredicted,
    Notice,
    TileDone,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_unet.core.events import Event

# Approximate shares of an image's time for the network and for what follows it.
_NETWORK = 0.7
_AFTER = {"classes": (0.7, 0.73), "cells": (0.73, 0.97), "numbers": (0.97, 1.0)}
_LEAST = 0.01  # least progress for an event, as a share of the folder


def overall(events: Iterable[Event | None]) -> Iterator[Event | None]:
    """Pass on the events of images, with the progress of the whole folder.

    The tiles and blocks of an image count as parts of it.
    """
    reported, done, total = 0.0, 0.0, 1
    for event in events:
        if isinstance(event, FileBegun):
            total = event.total
        elif isinstance(event, FilePredicted):
            reported = done = event.progress
            yield event
            continue
        elif (share := _share(event)) is not None:
            now = done + share / total
            if now - reported >= _LEAST:
                reported = now
                yield BlockDone("images", now)
                continue
        yield event if isinstance(event, Notice) else None


def _share(event: Event | None) -> float | None:
    """Return the approximate progress of an image at an event; None if unknown."""
    if isinstance(event, TileDone):
        return _NETWORK * event.progress
    if isinstance(event, BlockDone) and event.stage in _AFTER:
        begin, end = _AFTER[event.stage]
        return begin + (end - begin) * event.progress
    return None
