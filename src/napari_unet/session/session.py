"""What all controls of a viewer and its project work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_unet.session.annotating.control import Annotating
    from napari_unet.session.future import Post
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Worker


@dataclass(eq=False)
class Session:
    """A viewer with the project that is open in it, its images and its worker."""

    message = Signal(str, str)
    """A level (info, warning, error) and a sentence, from whichever control."""

    viewer: ViewerModel
    store: ProjectStore
    images: ImageList
    annotating: Annotating
    worker: Worker
    scratch: Path  # folder of files that go with the viewer
    post: Post  # runs a function soon in the main thread; called from any thread
    preferences: Preferences  # as they are now
