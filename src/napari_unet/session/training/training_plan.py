"""The next training: a new run, or an interrupted one that is resumed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.text import capitalised
from napari_unet.core.training.patches import why_not
from napari_unet.io.encoder_weights import find_weights
from napari_unet.io.model_file import read_card
from napari_unet.session.training.run_record import (
    RunRecord,
    latest_model,
    name_for_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Literal

    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.training_settings import Training
    from napari_unet.session.compute_place import ComputePlace
    from napari_unet.session.session import Session
    from napari_unet.session.training.automatic import Automatic
    from napari_unet.session.training.training_data import TrainingData

LAST = "last"
"""In place of a model's path: the model of the last run."""


class TrainingPlan:
    """Settings and start of the next run, kept in the project, and the unfinished run.

    `report` takes a sentence about a record of a run that cannot be read. `unfinished`
    is the run that did not come to its end; None while one is in training. Without a
    checkpoint, if memory ran out before the first: then it is begun anew, with its own
    settings.
    """

    def __init__(
        self,
        session: Session,
        training_data: TrainingData,
        automatic: Automatic,
        report: Callable[[str], None],
        place: ComputePlace,
    ) -> None:
        self._store, self._images = session.store, session.images
        self._place = place
        self._training_data = training_data
        self._automatic = automatic
        self._report = report
        self._read: tuple[Path | None, ModelCard | None, str] = (None, None, "")
        self.unfinished: RunRecord | None = None
        self.read_unfinished()

    @property
    def settings(self) -> Training:
        """Of a new run."""
        return self._store.project.training

    @property
    def start_from(self) -> str | None:
        """None for scratch, `LAST`, or the path of a model file."""
        return self._store.project.start

    def set_start(self, start: str | None) -> None:
        """Start from scratch, `LAST` or a model; a network of it has its own recipe.

        So has a model that another program has trained.
        """
        self.set(start=start)
        card, _ = self._start_card()
        own = None if card is None else card.training
        settings = self.settings.with_recipe_of(own)
        if own is not None and own.network != settings.network:
            settings = settings.with_network(own.network)
        self.set(training=settings)

    def set(self, **changes: Training | str | None) -> None:
        """Change the fields `training` and `start` of the project."""
        project = self._store.project.replace(**changes)
        if project == self._store.project:
            return
        if self.checkpoint is None:
            # other settings than those that failed are tried as they are
            self.unfinished = None
        self._store.update(project)

    @property
    def checkpoint(self) -> Path | None:
        """Of the interrupted run; None if there is none to go on with.

        Of a run on another computer it need not be here.
        """
        if self.unfinished is None:
            return None
        path = self.unfinished.checkpoint(self._store.run_folder)
        return path if path.exists() or self.unfinished.far is not None else None

    @property
    def interrupted(self) -> RunRecord | None:
        """The run that can go on from its checkpoint."""
        return self.unfinished if self.checkpoint else None

    @property
    def repeated(self) -> RunRecord | None:
        """The unfinished run, if it learns from just the images a new one would."""
        record = self.unfinished
        chosen = {image.id for image in self._training_data.chosen()}
        return record if record is not None and chosen == set(record.images) else None

    @property
    def goes_on(self) -> bool:
        """Whether Train goes on with the interrupted run, with its own settings."""
        return self.repeated is not None and self.checkpoint is not None

    @property
    def next_settings(self) -> Training:
        """Of the run that Train begins or resumes, with the network of its start."""
        record = self.repeated
        return record.settings if record is not None and self.goes_on else self._begun()

    @property
    def needs_planning(self) -> bool:
        """Whether settings are to be planned, and there is no up-to-date plan."""
        known = self._automatic.is_fresh(self.settings, self._start_file())
        return self.settings.is_unplanned and not known

    def ask_for_plan(self) -> None:
        """Request a plan if the settings need one and there is any annotation."""
        if self.needs_planning and not self.problem(None):
            self._automatic.ask(self.settings, self._start_file())

    @property
    def network_of_start(self) -> str | None:
        """Network of the model to start from, which training keeps; None without."""
        card, _ = self._start_card()
        return None if card is None else card.training.network

    def read_unfinished(self) -> None:
        """Find the run that can be resumed; that takes a checkpoint."""
        self.unfinished = RunRecord.read(self._store.run_folder, self._report)

    def problem(self, record: RunRecord | None) -> str:
        """Return why a run cannot go on, or a new one start; empty if it can."""
        if record is not None:
            return self._problem_to_resume(record)
        ndim = self._ndim
        if self.start_from == LAST and self._start_path() is None:
            return "There is no last run to start from: choose scratch or a model."
        return (
            self._training_data.problem(ndim)
            or self._problem_of_start(ndim)
            or self._problem_of_network()
        )

    def _problem_of_start(self, ndim: Literal[2, 3]) -> str:
        """Return why training cannot start from the chosen model; empty if it can."""
        card, problem = self._start_card()
        if card is not None and (refusal := card.refusal_as_start(self.settings)):
            return capitalised(refusal)
        if card is None or card.architecture.ndim == ndim:
            return problem
        kinds = {2: "Slices (2-D)", 3: "Volume (3-D)"}
        found = card.architecture.ndim
        return (
            f"The model to start from is {found}-D: choose {kinds[found]}, "
            "or another model."
        )

    def _problem_of_network(self) -> str:
        """Return why the network, or that to start from, cannot learn; "" if it can."""
        chosen, settings = self._training_data.chosen(), self._begun()
        if not chosen:
            return ""
        channels = chosen[0].channels
        classes = len(self._store.project.classes) + 1
        slices = min(image.sizes["z"] for image in chosen)
        card, _ = self._start_card()
        if card is not None:
            return why_not(settings, channels, classes, slices, card.architecture)
        return self._problem_of_encoder(settings, channels) or why_not(
            settings, channels, classes, slices
        )

    def _problem_of_encoder(self, settings: Training, channels: int) -> str:
        """Return why the network, or its encoder, cannot be had; empty if it can."""
        entry = NETWORKS[settings.network]
        refusal = entry.refusal(settings.ndim, channels, settings.encoder)
        if refusal:
            return f"{refusal} Choose another network or encoder."
        if settings.encoder == "imagenet" and entry.encoder is not None:
            try:
                find_weights(entry.encoder)
            except FileNotFoundError as error:
                return capitalised(str(error))
        return ""

    def _problem_to_resume(self, record: RunRecord) -> str:
        """Return why an interrupted run cannot go on; empty if it can."""
        project = self._store.project
        if len(project.classes) != record.classes:
            return "The classes changed since the training was interrupted: start over."
        names = {image.id: image.name for image in project.images}
        for image_id in record.images:
            if image_id not in names:
                return "An image of the interrupted training is gone: start over."
            if not self._images.layers(image_id):
                return f"Open {names[image_id]} again to go on with its training."
        return ""

    def new_record(self) -> RunRecord:
        """Return the record of a new run."""
        chosen = self._training_data.chosen()
        project = self._store.project
        title = chosen[0].name if len(chosen) == 1 else project.name
        settings, folder = self._begun(), self._store.run_folder
        ndim, path = settings.ndim, self._start_path()
        start = None
        if path is not None:
            start = path.name if path.parent == folder else str(path)
        return RunRecord(
            name=name_for_run(title, datetime.now(), folder),
            settings=settings,
            start=start,
            images=tuple(image.id for image in chosen),
            places=tuple(self._training_data.places(image, ndim) for image in chosen),
            classes=len(project.classes),
            far=self._place.new_run(),
        )

    def _begun(self) -> Training:
        """Return the settings of a new run, with the network of what it starts from."""
        if self.settings.is_unplanned:
            plan = self._automatic.plan_for(self.settings, self._start_file())
            if plan is not None:
                return plan
        card, _ = self._start_card()
        if card is None:
            return self.settings
        return self.settings.with_network_of(card.training)

    @property
    def _ndim(self) -> Literal[2, 3]:
        """Of the next run; a plan takes that of what it starts from."""
        card, _ = self._start_card()
        if card is not None and self.settings.is_unplanned:
            return 3 if card.architecture.ndim == 3 else 2
        return self._begun().ndim

    def _start_file(self) -> str | None:
        path = self._start_path()
        return str(path) if path is not None else None

    def _start_card(self) -> tuple[ModelCard | None, str]:
        """Return the card of the model to start from, or why it cannot be used."""
        path = self._start_path()
        # called often: the file is read once
        if path != self._read[0]:
            card, problem = None, ""
            if path is not None:
                try:
                    card = read_card(path)
                except (ValueError, OSError) as error:
                    problem = f"The model to start from cannot be used: {error}"
            self._read = path, card, problem
        return self._read[1:]

    def _start_path(self) -> Path | None:
        """Return the model file to start from; None for scratch or if there is none."""
        if self.start_from is None:
            return None
        if self.start_from == LAST:
            return latest_model(self._store.run_folder)
        # relative in a project that was saved as a folder
        return self._store.folder / self.start_from
