"""Results that are copied to an object store as soon as they are complete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.events import BlockDone, FilePredicted
from napari_unet.io.remote import upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.io.prediction_folder import PredictionFolder


def uploaded(
    events: Iterator[Event], folder: PredictionFolder, url: str
) -> Iterator[Event]:
    """Pass events on; before a file is told as predicted its results are copied.

    They have the same names under the URL as in the folder. `BlockDone` tells how far
    each is; an OSError that one cannot be copied.
    """
    for event in events:
        if isinstance(event, FilePredicted) and event.problem is None:
            for result in folder.results(Path(event.path)):
                name = result.relative_to(folder.folder).as_posix()
                for share in upload(result, f"{url.rstrip('/')}/{name}"):
                    yield BlockDone("upload", share)
        yield event
