"""What the next training run is to be, and what stands against it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from napari_unet.io.model_file import read_card
from napari_unet.session.training.run_record import (
    RunRecord,
    latest_model,
    name_for_run,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from napari_unet.core.training.training_settings import Training
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.training.training_data import TrainingData

LAST = "last"
"""In place of a model's path: the model of the last run."""


class TrainingPlan:
    """Settings and start of the next run, kept in the project.

    Parameters
    ----------
    store : ProjectStore
    images : ImageList
    training_data : TrainingData
        What is annotated in the ticked images.
    """

    def __init__(
        self, store: ProjectStore, images: ImageList, training_data: TrainingData
    ) -> None:
        self._store = store
        self._images = images
        self.training_data = training_data
        self._checked: tuple[object, str] = (None, "")

    @property
    def settings(self) -> Training:
        """The recipe of the next run."""
        return self._store.project.training

    @property
    def start_from(self) -> str | None:
        """None for scratch, `LAST`, or the path of a model file."""
        return self._store.project.start

    def set_settings(self, settings: Training) -> None:
        """Change the recipe of the next run."""
        self.set(training=settings)

    def set_start_from(self, start: str | None) -> None:
        """Choose what the next run starts from."""
        self.set(start=start)

    def set(self, **changes: Training | str | None) -> bool:
        """Change fields of the project; return whether anything changed."""
        project = self._store.project.replace(**changes)
        changed = project != self._store.project
        if changed:
            self._store.update(project)
        return changed

    def start_path(self) -> Path | None:
        """Return the model file to start from; None for scratch or if there is none."""
        start = self.start_from
        if start is None:
            return None
        if start == LAST:
            return latest_model(self._store.run_folder)
        # relative in a project that was saved as a folder
        return self._store.folder / start

    def problem(self) -> str:
        """Return why no new run can start and what to do; empty if one can."""
        ndim, start = self.settings.ndim, self.start_path()
        if self.start_from == LAST and start is None:
            return "There is no last run to start from: choose scratch or a model."
        # asked often, while the file is read once
        if self._checked[0] != (start, ndim):
            self._checked = (start, ndim), problem_of_start(start, ndim)
        return self.training_data.problem(ndim) or self._checked[1]

    def is_of_these_images(self, record: RunRecord) -> bool:
        """Whether a run learns from just the images that a new one would."""
        return {image.id for image in self.training_data.chosen()} == set(record.images)

    def problem_to_resume(self, record: RunRecord) -> str:
        """Return why an interrupted run cannot go on; empty if it can."""
        project = self._store.project
        if len(project.classes) != record.classes:
            return "The classes changed since the training was interrupted: start anew."
        names = {image.id: image.name for image in project.images}
        for image_id in record.images:
            if image_id not in names:
                return "An image of the interrupted training is gone: start anew."
            if not self._images.layers(image_id):
                return f"Open {names[image_id]} again to go on with its training."
        return ""

    def record(self) -> RunRecord:
        """Return what is to be written down of a new run."""
        chosen = self.training_data.chosen()
        project, folder = self._store.project, self._store.run_folder
        start = self.start_path()
        title = chosen[0].name if len(chosen) == 1 else project.name
        ndim = self.settings.ndim
        return RunRecord(
            name=name_for_run(title, datetime.now(), folder),
            settings=self.settings,
            start=str(start) if start else None,
            images=tuple(image.id for image in chosen),
            places=tuple(self.training_data.places(image, ndim) for image in chosen),
            classes=len(project.classes),
        )


def problem_of_start(path: Path | None, ndim: Literal[2, 3]) -> str:
    """Return why training cannot start from a model; empty if it can."""
    if path is None:
        return ""
    try:
        found = read_card(path).architecture.ndim
    except (ValueError, OSError) as error:
        return f"The model to start from cannot be used: {error}"
    if found != ndim:
        kinds = {2: "Slices (2-D)", 3: "Volume (3-D)"}
        return (
            f"The model to start from is {found}-D: choose {kinds[found]}, "
            "or another model."
        )
    return ""
