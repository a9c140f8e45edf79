"""What the session's controls work with, without a window and without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel

from fake_worker import FakeWorker
from napari_unet.session.annotating.control import Annotating
from napari_unet.session.images.image_list import ImageList
from napari_unet.session.images.shared_arrays import SharedArrays
from napari_unet.session.prediction.control import PredictionControl
from napari_unet.session.preferences import Preferences
from napari_unet.session.project.store import ProjectStore
from napari_unet.session.session import Session
from napari_unet.session.training.control import TrainingControl

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.future import Post
    from napari_unet.session.models import ModelList

ON_CPU = Preferences(device="cpu")


class SessionBench:
    """A viewer, a project of its own, and a worker that the test leads.

    Benches of a control make it in `open`, and close it first.
    """

    def __init__(self, folder: Path, post: Post) -> None:
        self.folder, self.scratch = folder, folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.post = post
        self.viewer = ViewerModel()
        self.worker = FakeWorker()
        self.open(ProjectStore.create(folder / "projects"))

    def open(self, store: ProjectStore) -> None:
        """Put what works with a project together."""
        self.store = store
        self.sharing = SharedArrays(self.scratch, self.post)
        self.images = ImageList(self.viewer, store, self.sharing)
        self.annotating = Annotating(self.viewer, store, self.images)
        self.session = Session(
            self.viewer,
            store,
            self.images,
            self.annotating,
            self.worker,
            self.scratch,
            self.post,
            ON_CPU,
        )

    def reopen(self, folder: Path | None = None) -> None:
        """Open the project anew in the same viewer, or another one."""
        self.close()
        self.open(ProjectStore.open(folder or self.store.folder))

    def add(
        self,
        pixels: NDArray[Any],
        name: str = "nuclei",
        axes: str | None = None,
        **options: Any,
    ) -> ProjectImage:
        """Add a new layer, with options of napari, to the project."""
        layer = self.viewer.add_image(pixels, name=name, **options)
        return self.images.add([layer], axes)

    def make_prediction(
        self, models: ModelList, preferences: Preferences = ON_CPU
    ) -> PredictionControl:
        """Make the control that predicts the project's images."""
        self.session.preferences = preferences
        return PredictionControl(self.session, models)

    def make_training(self, preferences: Preferences = ON_CPU) -> TrainingControl:
        """Make the control that trains on the project's images."""
        self.session.preferences = preferences
        return TrainingControl(self.session)

    def close(self) -> None:
        for part in (self.annotating, self.images, self.sharing, self.store):
            part.close()
