"""The jobs of napari's workers: frozen records, picklable, without pixels.

Each kind of job names the process that runs it, and the generator there, which yields
events of `core.events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from napari_unet.core.settings import Prediction, Segmentation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.array_reference import (
        AnnotationReference,
        ArrayReference,
        ImageReference,
    )
    from napari_unet.core.publication import Publication
    from napari_unet.core.remote_messages import RemoteRun
    from napari_unet.core.settings import BorderWeights
    from napari_unet.core.training.training_settings import Training

_PREDICTION = Prediction()
_SEGMENTATION = Segmentation()

Place = tuple[int, int | None]
"""Time point and slice of a plane; the slice is None for a volume."""

WorkerKind = Literal["network", "cpu"]

LIVE = "live"
"""In place of a model's path: the weights of the run in training."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Base of all jobs."""

    # the process that runs it: only the network worker loads torch
    worker: ClassVar[WorkerKind] = "cpu"
    # module and function of `engine.worker` that run it: a generator of events
    function: ClassVar[str] = ""
    # whether it ends within moments: it would only flicker among napari's tasks
    brief: ClassVar[bool] = False
    # whether no control waits for it and reports its failure
    unattended: ClassVar[bool] = False
    # of the CPU worker: whether it reads messages about itself while it runs
    steered: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """A few words for people, such as "Train nuclei"."""
        raise NotImplementedError

    @property
    def elsewhere(self) -> str:
        """The other computer that does it, as in " on me@host"; empty for this one."""
        remote: RemoteRun | None = getattr(self, "remote", None)
        return "" if remote is None else f" on {remote.where}"

    @property
    def if_closed(self) -> str:
        """What becomes of it when napari closes, in a sentence.

        Empty if nothing is lost that anybody asked for.
        """
        return ""

    @property
    def is_preview(self) -> bool:
        """Whether it takes only a small share of the time while a network trains."""
        return False


@dataclass(frozen=True, slots=True, eq=False)
class TrainJob(Job):
    """Train a network on annotated planes or volumes, or to denoise them."""

    worker: ClassVar[WorkerKind] = "network"
    function = "training_job.run"

    images: tuple[ImageReference, ...]
    annotations: tuple[AnnotationReference, ...]  # one for each image; none to denoise
    places: tuple[tuple[Place, ...], ...]  # of each image, those with annotation
    settings: Training
    output: str  # model file to write at the end
    checkpoint: str
    start: str | None = None  # model file to start from
    resume: bool = False  # whether to go on from the checkpoint
    device: str = "auto"

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Train {Path(self.output).stem}{self.elsewhere}"

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        if not self.annotations:
            name = self.images[0].name
            return f"What was learnt so far of the noise in “{name}” is lost."
        return (
            "The training stops: what it has learnt is kept, and it can go on from "
            "there when this project is open again."
        )


@dataclass(frozen=True, slots=True, eq=False)
class RemoteTrainJob(TrainJob):
    """Train on another computer; with `resume`, follow a training that runs there."""

    worker = "cpu"
    function = "remote_training_job.run"
    steered = True

    remote: RemoteRun = field(kw_only=True)

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`: it goes on there, and is shown again."""
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Annotation that changed during a training."""

    image: int  # number of the image in the job
    # plane or volume; it may be one that had no annotation before
    t: int
    z: int | None
    box: Box | None  # changed pixels of the field; None for all
    annotation: AnnotationReference  # as it is now


@dataclass(frozen=True, slots=True, eq=False)
class LearnJob(Job):
    """Have a model take up corrections at once, and keep it as a model of its own.

    Without corrections the worker only gets ready for them.
    """

    worker = "network"
    function = "learning_job.run"
    brief = True

    model: str  # file of the model in use; not changed
    output: str  # file of the model that has learnt; it may be that in use
    images: tuple[ImageReference, ...]
    annotations: tuple[AnnotationReference | None, ...]  # None: has no annotation
    # planes or volumes of each image: what is annotated, and what is not to change
    places: tuple[tuple[Place, ...], ...]
    corrections: tuple[Correction, ...]
    segmentation: Segmentation  # how cells are found; kept in the model's card
    learnt: int = 0  # corrections that are in the model in use already
    device: str = "auto"

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Correct {Path(self.model).stem}"


@dataclass(frozen=True, slots=True, eq=False)
class PredictJob(Job):
    """Predict probabilities and the most probable class of each pixel, or an image."""

    worker: ClassVar[WorkerKind] = "network"
    function = "prediction_job.run"

    model: str  # path of a model file, or `LIVE`
    image: ImageReference
    # float32, axes of the image with c first; or the image that the network makes
    probabilities: ArrayReference
    # uint8, same axes without c: 0 background, 1 and up class numbers
    classes: ArrayReference | None = None
    places: tuple[Place, ...] | None = None  # in this order; all if None
    region: Box | None = None
    # tiles nearest to this point ([z,] y, x) of the field come first
    focus: tuple[float, ...] | None = None
    settings: Prediction = _PREDICTION
    preview: bool = False
    # float32, same axes as `classes`: uncertainty, 0 to 1
    entropy: ArrayReference | None = None

    @property
    def title(self) -> str:
        """As `Job.title`."""
        what = "Preview of" if self.preview else "Predict"
        return f"{what} {self.image.name}{self.elsewhere}"

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        if self.preview:
            return ""
        return f"The prediction of “{self.image.name}” stops before it is complete."

    @property
    def is_preview(self) -> bool:
        """As `Job.is_preview`."""
        return self.preview


@dataclass(frozen=True, slots=True, eq=False)
class RemotePredictJob(PredictJob):
    """Predict on another computer; each plane or volume comes back as a whole."""

    worker = "cpu"
    function = "remote_prediction_job.run"
    steered = True

    remote: RemoteRun = field(kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class LoadModelJob(Job):
    """Read a model file and keep its network ready: predicting then starts at once."""

    worker = "network"
    function = "model_jobs.load_model"
    brief = unattended = True

    model: str
    settings: Prediction = _PREDICTION

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Load {Path(self.model).stem}"


@dataclass(frozen=True, slots=True, eq=False)
class ChooseStarterJob(Job):
    """Try which model of the package suits an image."""

    worker = "network"
    function = "model_jobs.choose"
    brief = True

    image: ImageReference
    place: Place  # plane of the trial
    focus: tuple[float, ...] | None  # its centre, ([z,] y, x) in pixels
    settings: Prediction = _PREDICTION

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Choose a model for {self.image.name}"


@dataclass(frozen=True, slots=True, eq=False)
class CompareMasksJob(Job):
    """Find the cells of a part of a slice with two models."""

    worker = "network"
    function = "masks_job.run"
    brief = True

    models: tuple[str, str]  # paths of model files
    image: ImageReference
    t: int
    z: int
    box: Box  # of the slice
    settings: Prediction = _PREDICTION

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Masks of {self.image.name}"


@dataclass(frozen=True, slots=True, eq=False)
class ConvertModelJob(Job):
    """Convert a model of another program into a model file of ours."""

    worker = "network"
    function = "model_files_job.convert"

    source: str
    target: str  # in a folder that is made if it is missing

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Read {Path(self.source).name}"


@dataclass(frozen=True, slots=True, eq=False)
class ExportModelJob(Job):
    """Write a model for another program."""

    worker = "network"
    function = "model_files_job.export"

    model: str
    target: str
    format: str  # one of those that a `ModelFormatsJob` finds
    publication: Publication | None = None  # for a format that is published

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Export {Path(self.model).stem}"

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        return f"{Path(self.target).name} is not written."


@dataclass(frozen=True, slots=True, eq=False)
class ModelFormatsJob(Job):
    """List the formats of other programs in which models can be written."""

    function = "model_files_job.formats"
    brief = unattended = True
    title = "Formats of models"


@dataclass(frozen=True, slots=True, eq=False)
class FreeMemoryJob(Job):
    """Drop cached models that no job uses, and give memory back."""

    worker = "network"
    function = "model_jobs.free_memory"
    brief = unattended = True
    title = "Free memory"


@dataclass(frozen=True, slots=True, eq=False)
class SurveyJob(Job):
    """Measure the cost of networks on this machine, and which cannot be trained."""

    worker = "network"
    function = "survey_job.run"
    brief = unattended = True
    title = "Try out networks"

    candidates: tuple[Training, ...]  # one for each network
    # of the images
    channels: int
    classes: int  # background included
    slices: int  # of the thinnest stack
    device: str = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class PlanJob(Job):
    """Plan the settings of a training from the annotation."""

    worker = "network"
    function = "plan_job.run"
    brief = unattended = True
    title = "Choose settings"

    # as in a `TrainJob`; of the images no pixel is read
    images: tuple[ImageReference, ...]
    annotations: tuple[AnnotationReference, ...]
    places: tuple[tuple[Place, ...], ...]
    settings: Training
    start: str | None = None
    device: str = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class SegmentJob(Job):
    """Find cells in probabilities, and the pieces of regions to keep."""

    function = "cells_job.run"
    brief = True

    probabilities: ArrayReference  # float32
    axes: str  # of the probabilities: c, [t,] [z,] y, x in any order
    spacing_um: tuple[float, ...] | None
    cells: ArrayReference  # int32, same axes without c; ids from 1 in each time frame
    ndim: Literal[2, 3]  # of the network
    settings: Segmentation
    classes: tuple[ClassInfo, ...]  # foreground classes of the model
    places: tuple[Place, ...]  # planes or volumes, in this order
    # at the end, link the cells through z and follow them through time, if and as the
    # settings say
    link: bool = False
    # uint8, axes of the cells, to be written; None for none
    class_map: ArrayReference | None = None
    image: ImageReference | None = None  # whose edges its borders may follow
    name: str = ""  # of the image, for people
    # int32, axes of the cells: edited cells, see `core.cells.edited`
    edits: ArrayReference | None = None
    # annotation of the image, which replaces predicted cells
    painted: AnnotationReference | None = None

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Cells of {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class WeightsJob(Job):
    """Compute the border weights of a whole plane for the overlay."""

    function = "weights_job.run"
    brief = True
    title = "Border weights"

    annotation: AnnotationReference
    t: int
    z: int
    spacing: tuple[float, ...]  # pixel size in y and x relative to the finer
    settings: BorderWeights
    weights: ArrayReference  # float32, (y, x)


@dataclass(frozen=True, slots=True, eq=False)
class CheckJob(Job):
    """Check the annotation of some images."""

    function = "check_job.run"
    brief = True
    title = "Check annotation"

    images: tuple[ImageReference, ...]
    annotations: tuple[AnnotationReference | None, ...]  # None: has no annotation
    places: tuple[tuple[Place, ...], ...]  # planes of each image with annotation
    halo: tuple[int, ...]  # reach of the network, ([z,] y, x) in pixels


@dataclass(frozen=True, slots=True, eq=False)
class SuggestJob(Job):
    """Suggest tiles to annotate next, in all images of a project."""

    worker = "network"
    function = "suggest_job.run"
    title = "Look where to annotate next"

    images: tuple[ImageReference, ...]
    frames: tuple[tuple[int, ...], ...]  # of each image, time points to sample
    annotations: tuple[AnnotationReference | None, ...]  # None: has no annotation
    places: tuple[tuple[Place, ...], ...]  # planes of each image with annotation
    model: str | None = None  # path of a model file whose uncertainty counts
    settings: Prediction = _PREDICTION


@dataclass(frozen=True, slots=True, eq=False)
class ExportJob(Job):
    """Write results to files: label images, probabilities, a table, objects."""

    function = "export_job.run"

    folder: str
    name: str  # first part of the files' names
    image: ImageReference  # for grey values in the table
    # int32, axes of the image without c; None for no masks and no table
    cells: ArrayReference | None
    # float32, c first; for the class of each cell in the table
    probabilities: ArrayReference | None
    classes: tuple[ClassInfo, ...]
    masks: bool = True
    table: bool = True
    maps: bool = True  # whether to write the probabilities
    points: bool = False  # a point for each cell; needs the probabilities
    # uint8, as `cells`, the class of each pixel; None for no label image of classes
    class_masks: ArrayReference | None = None
    format: Literal["tif", "ome.tif", "zarr"] = "tif"
    # formats of other programs, by their names in `io.objects.catalogue`
    objects: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()  # of each class, for these, as #rrggbb
    # of tracks, the track from which each came by division
    parents: Mapping[int, int] | None = None

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Export {self.name}"

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        return f"Of the export of “{self.name}”, only files that are complete stay."


@dataclass(frozen=True, slots=True, eq=False)
class PointsJob(Job):
    """Make a point of each cell of an image."""

    function = "measure_job.points"
    brief = True

    cells: ArrayReference  # int32
    axes: str  # of the cells
    probabilities: ArrayReference  # float32, c first
    classes: tuple[ClassInfo, ...]  # foreground classes of the model
    spacing_um: tuple[float, ...] | None
    name: str  # of the image, for people

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Points of {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class MeasureJob(Job):
    """Measure all cells of an image, for a table in the window."""

    function = "measure_job.table"
    brief = True

    image: ImageReference  # for grey values and pixel size
    cells: ArrayReference  # int32, axes of the image without c
    probabilities: ArrayReference  # float32, c first; for the class of each cell
    classes: tuple[ClassInfo, ...]  # foreground classes of the model

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Measure cells of {self.image.name}"


@dataclass(frozen=True, slots=True, eq=False)
class SaveImageJob(Job):
    """Write an image that a network made to a file."""

    function = "export_job.save_image"

    path: str
    pixels: ArrayReference  # float32
    axes: str
    spacing_um: tuple[float, ...] | None

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return f"Save {Path(self.path).name}"

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        return f"{Path(self.path).name} is not written."


@dataclass(frozen=True, slots=True, eq=False)
class PredictFolderJob(Job):
    """Predict all images of a folder into files."""

    worker: ClassVar[WorkerKind] = "network"
    function = "folder_job.run"

    model: str  # or `core.starters.AUTO`, which goes by the first image
    source: str
    target: str
    settings: Prediction = _PREDICTION
    # None: as the model has it
    segmentation: Segmentation | None = _SEGMENTATION
    # kinds of results, as in `io.prediction_folder`; empty for those of the model,
    # without files of other programs
    kinds: tuple[str, ...] = ()
    channel: int | None = None  # that the network sees, from 1; None for all
    # whose workers compute, see `core.cluster`; empty for this computer
    cluster: str = ""

    @property
    def title(self) -> str:
        """As `Job.title`."""
        where = f" on {self.cluster}" if self.cluster else self.elsewhere
        return f"Predict the images in {Path(self.source).name}{where}"

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        return (
            f"The prediction of the images in “{Path(self.source).name}” stops: "
            f"finished results stay in “{Path(self.target).name}”, and the others are "
            "predicted when you begin it again with the same model and folders."
        )


@dataclass(frozen=True, slots=True, eq=False)
class RemotePredictFolderJob(PredictFolderJob):
    """Predict all images of a folder on another computer, into files here."""

    worker = "cpu"
    function = "remote_prediction_job.folder"
    steered = True

    remote: RemoteRun = field(kw_only=True)

    @property
    def if_closed(self) -> str:
        """As `Job.if_closed`."""
        return (
            f"The prediction of the images in “{Path(self.source).name}” goes on on "
            f"{self.remote.where}: its results come when you begin it again with the "
            "same model and folders."
        )
