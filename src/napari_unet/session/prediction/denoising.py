"""Image-to-image results of open images: denoised, or by a model that makes images."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal

from napari_unet.core.events import ModelSaved, PredictionFinished, StepDone, TileDone
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.core.jobs import PredictJob, SaveImageJob, TrainJob
from napari_unet.core.text import counted
from napari_unet.core.training.objectives import spread
from napari_unet.core.training.training_settings import Training
from napari_unet.io.model_file import SUFFIX, checkpoint_of
from napari_unet.session.images import layers as roles
from napari_unet.session.models import DENOISERS
from napari_unet.session.prediction.targets import Resampling, channel_problem
from napari_unet.session.throttle import Throttle
from napari_unet.session.training.run_record import name_for_run

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.jobs import Job
    from napari_unet.core.messages import Failed
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.models import ModelEntry, ModelList
    from napari_unet.session.prediction.targets import Targets
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

# Most planes of a stack or movie to train on: the noise is the same in all.
_PLANES = 16
# Seconds between two signals of progress.
_PACE = 0.4
# Values sampled for the contrast limits, and how many of them in a run.
_SEEN, _RUN = 2**20, 2**14


@dataclass(slots=True, eq=False)
class _Run:
    """The prediction of one image; the handle is that of the running job."""

    image: ProjectImage
    handle: Handle | None = None
    # the trained model; None before
    saved: ModelSaved | None = None
    checkpoint: Path | None = None
    made: ArrayReference | None = None
    # name of the layer
    what: str = ""


class Denoiser:
    """Trains a denoiser on an image, and adds the result as a layer.

    A model that makes images is used without training. The layer can be annotated and
    predicted like any other.

    `progress` is the share of the run that is done, 0 to 1; `status` the current or
    last work, in a few words.
    """

    changed = Signal()
    """It began, made progress or ended."""

    def __init__(self, session: Session, models: ModelList, targets: Targets) -> None:
        self._session, self._models, self._targets = session, models, targets
        self._viewer, self._images = session.viewer, session.images
        self._worker, self.message = session.worker, session.message
        self.progress, self.status = 0.0, ""
        self._run: _Run | None = None
        self._files: list[ArrayReference] = []
        # the last of each image, by its id
        self._made: dict[str, _Run] = {}
        self._pace = Throttle(_PACE)

    @property
    def running(self) -> bool:
        """Whether it trains or predicts."""
        return self._run is not None

    def denoise(
        self,
        minutes: float,
        structured_noise: Literal["none", "x", "y"] = "none",
    ) -> bool:
        """Train for some minutes on the image in view, then denoise all of it.

        False if that is impossible, for the reason in a `message`.
        """
        settings = Training.quick().with_task("denoise")
        settings = settings.replace(minutes=minutes, structured_noise=structured_noise)
        return self._begin(lambda run: self._learn(run, settings))

    def make(self, entry: ModelEntry) -> bool:
        """Apply a model that makes images to the image in view; as `denoise`."""
        return self._begin(lambda run: self._predict(run, entry), entry)

    def name_made(self) -> str:
        """Return the name of the last result of the image in view, empty if none."""
        run = self._images.of_current(self._made)
        return "" if run is None else f"{run.image.name} {run.what}"

    def save(self, path: str | Path) -> None:
        """Write the last result of the image in view: .tif, .ome.tif or .zarr."""
        run = self._images.of_current(self._made)
        if run is None or run.made is None:
            self.message.emit("error", "Nothing is made of this image: denoise it.")
            return
        axes = f"c{run.image.annotation_axes}"
        job = SaveImageJob(str(path), run.made, axes, run.image.spacing_um)
        handle = self._worker.submit(job)
        handle.ended.connect(partial(self._on_saved, job))
        handle.failed.connect(self._on_not_saved)

    def finish(self) -> None:
        """End the training and denoise with its model; a prediction is stopped."""
        run = self._run
        if run is None:
            return
        if run.handle is None:
            self._end("Cancelled.")
        elif isinstance(run.handle.job, TrainJob) and self.progress:
            run.handle.finish()
        else:
            run.handle.cancel()

    def close(self) -> None:
        """Stop, and delete the files; layers keep what they show."""
        run, self._run = self._run, None
        if run is not None and run.handle is not None:
            run.handle.cancel()
        for file in self._files:
            file.remove()

    def _begin(self, then: Any, entry: ModelEntry | None = None) -> bool:
        try:
            if self.running:
                raise ValueError("An image is being made: stop that first.")
            image = self._targets.image_in_view()
            if entry is not None and (
                problem := channel_problem(entry.card, image.name, image.channels)
            ):
                raise ValueError(problem)
            pixels = self._images.share_frames(image.id)
        except (ValueError, KeyError, OSError) as error:
            self.message.emit("error", str(error))
            return False
        run = self._run = _Run(image)
        self.progress, self.status = 0.0, "Reading the image …"
        self.changed.emit()
        pixels.then(partial(self._go_on, run, then), partial(self._give_up, run))
        return True

    def _go_on(self, run: _Run, then: Any) -> None:
        if run is not self._run:
            return  # stopped meanwhile
        try:
            then(run)
        except (ValueError, KeyError, OSError) as error:
            self._give_up(run, str(error))

    def _learn(self, run: _Run, settings: Training) -> None:
        folder = self._session.store.run_folder / DENOISERS
        folder.mkdir(mode=0o700, exist_ok=True)
        name = name_for_run(f"{run.image.name} denoise", datetime.now(), folder)
        output = folder / f"{name}{SUFFIX}"
        run.checkpoint = checkpoint_of(output)
        sizes = run.image.sizes
        planes = list(product(range(sizes["t"]), range(sizes["z"])))
        job = TrainJob(
            images=(self._images.reference(run.image.id),),
            annotations=(),
            places=(tuple(spread(planes, _PLANES)),),
            settings=settings,
            output=str(output),
            checkpoint=str(run.checkpoint),
            device=self._session.preferences.device,
        )
        self.status = f"Learning what is noise in {run.image.name} …"
        self._submit(run, job, self._learnt)

    def _learnt(self, run: _Run) -> None:
        """Predict with the trained model."""
        saved = run.saved
        if saved is None:
            self._end("Stopped before anything was learnt.")
            return
        if saved.problem:
            self.message.emit("warning", saved.problem)
        self._predict(run, self._models.add(saved.path))

    def _predict(self, run: _Run, entry: ModelEntry) -> None:
        image, card = run.image, entry.card
        shape = (card.architecture.classes, *image.annotation_shape)
        run.what = "denoised" if card.training.task == "denoise" else card.name
        run.made = ArrayReference.create_in(
            self._session.scratch, "made", shape, "float32"
        )
        self._files.append(run.made)
        # the mean of eight views has less residual noise
        settings = self._session.preferences.prediction(averaging="dihedral")
        if Resampling(card, image).implausible:
            settings = settings.replace(rescale=False)
        job = PredictJob(
            model=str(entry.path),
            image=self._images.reference(image.id),
            probabilities=run.made,
            settings=settings,
        )
        self.progress, self.status = 0.0, f"Making the image of {image.name} …"
        self._submit(run, job, self._show)

    def _submit(self, run: _Run, job: Job, then: Any) -> None:
        handle = run.handle = self._worker.submit(job)
        handle.event.connect(partial(self._on_event, run))
        handle.ended.connect(partial(self._on_ended, run, then))
        handle.failed.connect(partial(self._on_failed, run))
        self.changed.emit()

    def _on_event(self, run: _Run, event: object) -> None:
        if run is not self._run:
            return
        if isinstance(event, StepDone | TileDone):
            self.progress = event.progress
            if self._pace.due:
                self._pace.restart()
                self.changed.emit()
        elif isinstance(event, ModelSaved):
            run.saved = event
        elif isinstance(event, PredictionFinished):
            self.status = f"{event.seconds:.1f} s on {event.device}, {event.precision}."

    def _on_ended(self, run: _Run, then: Any, cancelled: bool) -> None:
        if run is not self._run:
            return
        if cancelled:
            self._end("Cancelled.")
            return
        self._go_on(run, then)

    def _on_failed(self, run: _Run, failed: Failed) -> None:
        self._give_up(run, failed.sentence)

    def _on_saved(self, job: SaveImageJob, cancelled: bool) -> None:
        if not cancelled:
            self.message.emit("info", f"The image is in {job.path} now.")

    def _on_not_saved(self, failed: Failed) -> None:
        self.message.emit("error", failed.sentence)

    def _give_up(self, run: _Run, why: str) -> None:
        if run is self._run:
            self._end("Not done.")
            self.message.emit("error", why)

    def _show(self, run: _Run) -> None:
        """Add the result to the viewer, a layer for each channel."""
        image, made = run.image, run.made
        layers = self._images.layers(image.id)
        if made is None or not layers:
            raise ValueError(f"{image.name} was closed: its image is not shown.")
        common = roles.attributes_like(
            layers[0], image.axes, image.annotation_axes, image.level
        )
        pixels = made.open()
        many = len(pixels) > 1
        # the kind begins a layer's name; a model's own name stays as it is
        what = "Denoised" if run.what == "denoised" else run.what
        with roles.selection_kept(self._viewer):
            for number, channel in enumerate(pixels, start=1):
                layer = self._viewer.add_image(
                    channel,
                    name=roles.name_for(image.name, what + f" {number}" * many),
                    **common,
                    rgb=False,
                    multiscale=False,
                    contrast_limits=_limits(channel),
                )
                # annotation stays above it
                above = max(map(self._viewer.layers.index, layers)) + number
                self._viewer.layers.move(self._viewer.layers.index(layer), above)
        self._made[image.id] = run
        self._end(f"{counted(len(pixels), 'layer')} made in {self.status}")

    def _end(self, status: str) -> None:
        run = self._run
        if run is not None and run.checkpoint is not None:
            # it is never resumed
            with suppress(OSError):
                run.checkpoint.unlink(missing_ok=True)
        self._run, self.status = None, status
        self.changed.emit()


def _limits(pixels: Any) -> tuple[float, float]:
    """Return the range of grey values that is shown."""
    values = pixels.reshape(-1)
    # in few runs: single values of a large file would take all its pages from the disk
    starts = range(0, values.size, max(values.size * _RUN // _SEEN, _RUN))
    seen = np.concatenate([values[start : start + _RUN] for start in starts])
    low, high = np.percentile(seen, (0.1, 99.9))
    return float(low), float(high if high > low else low + 1)
