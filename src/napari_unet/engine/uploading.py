"""Upload of results to an object store as soon as they are complete."""

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
    """Pass events on; before the last event of a file its results are copied.

    Names under the URL are those in the folder. `BlockDone` reports the progress; an
    OSError says that a result cannot be copied.
    """
    for event in events:
        if isinstance(event, FilePredicted) and event.problem is None:
            for result in folder.results(Path(event.path)):
                name = result.relative_to(folder.folder).as_posix()
                for share in upload(result, f"{url.rstrip('/')}/{name}"):
                    yield BlockDone("upload", share)
        yield event
