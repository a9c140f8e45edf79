"""The record of a project: images, their annotation, classes; frozen, kept as JSON.

Arrays are not here but in files beside it; see `session.project.store`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import AliasChoices, Field, model_validator

from napari_unet.core.annotation.annotations import (
    PALETTE,
    ClassInfo,
    FinishedPart,
    Index,
)
from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.images.image import AXES
from napari_unet.core.settings import (
    BorderWeights,
    Segmentation,
    Settings,
    validated,
)
from napari_unet.core.text import shown
from napari_unet.core.training.training_settings import Training
from napari_unet.io.atomic import write_text
from napari_unet.io.records import FileName, inside, is_file_name, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME, MODELS = "project.json", "models"
NEWEST = 2
"""Versions of the format up to this one are read."""

_Settings = TypeVar("_Settings", bound=Settings)

BACKGROUND_COLOUR = "#96551f"

# No axis and no annotation is larger than this.
_MOST, _MOST_PLANES = 2**48, 2**20
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ProjectClass(ClassInfo):
    """A foreground class and how it is shown."""

    colour: str = Field(PALETTE[0], pattern="^#[0-9a-f]{6}$", description="As #rrggbb.")


class RemovedError(KeyError):
    """The project has no image of this id any more."""

    def __str__(self) -> str:
        return "The image was removed from the project."


class ImageSource(Settings):
    """Where the pixels of one layer came from."""

    path: str | None = Field(
        None,
        pattern=r"^[^\x00]*$",
        description="File or folder; none if only in memory.",
    )
    layer: str = Field("", description="Name of the layer when it was added.")


class ProjectImage(Settings):
    """An image of the project and its properties."""

    id: FileName = Field(
        description="Unique in the project, names the annotation's file."
    )
    name: str
    sources: tuple[ImageSource, ...] = Field(
        min_length=1, description="One layer, or one for each channel."
    )
    axes: str = Field(
        description="A letter for each axis of one layer's data; rgb: c last."
    )
    shape: tuple[_Count, ...] = Field(description="Of one layer's data.")
    level: int = Field(
        0, ge=0, le=99, description="Of a multiscale image, 0 the finest."
    )
    fingerprint: str = Field(description="Of shape and sampled pixels.")
    spacing_um: tuple[float, ...] | None = None
    samples: int | None = Field(
        None,
        ge=1,
        description="How many entries along c are channels, the others being "
        "transparency or copies; all if none.",
    )
    notes: tuple[str, ...] = Field(
        (), description="Where axes and pixel size are from, and what else was chosen."
    )
    # older projects call it ticked
    use_for_training: bool = Field(
        True,
        validation_alias=AliasChoices("use_for_training", "ticked"),
        description="Used for training.",
    )
    annotated: bool = Field(False, description="Whether it has an annotation.")
    class_of: dict[Index, _Count] = Field(
        default_factory=dict, description="Class number of each object, 1 unless here."
    )
    finished: tuple[FinishedPart, ...] = ()

    @model_validator(mode="after")
    def _axes_fit_the_shape(self) -> Self:
        letters = set(self.axes)
        if not {"y", "x"} <= letters <= set(AXES) or len(letters) != len(self.axes):
            raise ValueError(
                f"axes are different letters of {AXES} with y and x, found {self.axes}"
            )
        if len(self.shape) != len(self.axes) or prod(self.shape) > _MOST:
            raise ValueError(
                f"a shape has one size for each of the axes {self.axes} and at most "
                f"{_MOST} pixels in all, found {self.shape}"
            )
        planes = self.sizes["t"] * self.sizes["z"]
        if planes > _MOST_PLANES:
            raise ValueError(f"at most {_MOST_PLANES} planes are kept, found {planes}")
        return self

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size along each named axis, 1 for one that the image does not have."""
        return axis_sizes(self.axes, self.shape)

    @property
    def channels(self) -> int:
        """Number of channels, of one layer or of several."""
        return len(self.sources) * (self.samples or self.sizes["c"])

    @property
    def annotation_axes(self) -> str:
        """The axes of the image without channels."""
        return self.axes.replace("c", "")

    @property
    def annotation_shape(self) -> tuple[int, ...]:  # noqa: D102
        return tuple(n for n, a in zip(self.shape, self.axes, strict=True) if a != "c")

    def part_word(self, ndim: int = 2) -> str:
        """Return what a network of so many dimensions sees at a time, for people."""
        if ndim == 3:
            return "volume"
        return "time point" if "t" in self.axes and "z" not in self.axes else "slice"

    def begun(self) -> ProjectImage:
        """Return it with an annotation; with its first one it is used for training."""
        if self.annotated:
            return self
        return self.replace(annotated=True, use_for_training=True)


class Project(Settings):
    """Everything that is kept of the work on some images, except arrays."""

    id: str
    name: str = "project"
    version: int = Field(1, ge=1, description="Of the format that it was read from.")
    images: tuple[ProjectImage, ...] = ()
    classes: tuple[ProjectClass, ...] = (ProjectClass(),)
    training: Training = Training()
    segmentation: Segmentation = Segmentation()
    tuned: bool = Field(
        False,
        description="Whether people changed the segmentation from that of the model "
        "used last.",
    )
    overlay: BorderWeights = BorderWeights()
    start: str | None = Field(None, description="Model file that training starts from.")
    models: tuple[str, ...] = Field((), description="Model files used, latest first.")

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the images."""
        return tuple(image.id for image in self.images)

    def image(self, id_: str) -> ProjectImage:
        """Return an image by its id; RemovedError, a KeyError, if there is none."""
        for image in self.images:
            if image.id == id_:
                return image
        raise RemovedError(id_)

    def with_image(self, changed: ProjectImage) -> Project:
        """Return a copy with one image changed, or added at the end."""
        images = {image.id: image for image in self.images} | {changed.id: changed}
        return self.replace(images=tuple(images.values()))

    def without_image(self, id_: str) -> Project:
        """Return a copy without an image."""
        return self.replace(images=tuple(i for i in self.images if i.id != id_))

    def reverted(self, before: Project, after: Project) -> Project:
        """Return a copy without the step from `before` to `after`.

        What changed since that step stays: later images, classes of strokes and
        finished parts, and every setting that the step did not touch. What was painted
        since in a removed class becomes the first.
        """
        others = set(type(self).model_fields) - {"images"}
        project = _reverted(self, before, after, others)
        images = _reverted_images(self, before, after)
        if (count := len(project.classes)) < len(self.classes):
            images = tuple(_of_classes(image, count) for image in images)
        return project.replace(images=images)


class ProjectFile(Settings):
    """The content of `project.json`: the project, and its files."""

    project: Project
    # file of each image's annotation, by the image's id
    files: dict[str, FileName] = Field(default_factory=dict)
    origin: str = ""  # stamp of the saved folder that this working copy was made from
    # stamp of a folder made by *Save project as*; empty in a working copy
    saved: str = ""
    # in a saved folder: the absolute path of each relative one on the machine of origin
    absolute: dict[str, str] = Field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into a folder; the old file is replaced by the complete new one."""
        project = self.project
        later = project.training.is_later or project.segmentation.is_later
        # the oldest that can represent the project
        version = NEWEST if later else 1
        kept = project.model_copy(update={"version": version})
        text = self.model_copy(update={"project": kept}).model_dump_json(indent=1)
        write_text(folder / FILE_NAME, text, private=not self.saved)

    @classmethod
    def read(cls, folder: Path) -> ProjectFile:
        """Read it; the file is not changed.

        FileNotFoundError if there is no project in the folder, ValueError if the file
        is damaged, or of a newer napari-unet.
        """
        path = folder / FILE_NAME
        try:
            found = read_json(path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{folder}: is no project, it has no {FILE_NAME}."
            ) from None
        try:
            version = found["project"]["version"]
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path}: the project file is damaged.") from error
        if isinstance(version, int) and version > NEWEST:
            raise ValueError(
                f"{path}: is of a newer napari-unet (format {shown(version)}); "
                f"formats up to {NEWEST} are read."
            )
        return validated(cls, found, f"{path}: the project file is damaged")

    @model_validator(mode="after")
    def _each_has_its_own(self) -> Self:
        kind = ".tif" if self.saved else ".raw"
        for name in self.files.values():
            if not name.endswith(kind):
                raise ValueError(f"annotations are files *{kind}, found {name}")
        ids = [image.id.lower() for image in self.project.images]
        names = [name.lower() for name in self.files.values()]
        for what, given in (("images", ids), ("files", names)):
            if len(set(given)) != len(given):
                twice = next(one for one in given if given.count(one) > 1)
                raise ValueError(f"two {what} cannot be called the same, found {twice}")
        return self

    def annotation(self, folder: Path, image_id: str) -> Path | None:
        """Return the file of an annotation, or None; ValueError if it is a link."""
        name = self.files.get(image_id)
        return None if name is None else inside(folder, name)

    def confined(self) -> tuple[ProjectFile, tuple[str, ...]]:
        """Return it without models outside of its folder, and a sentence on each.

        A project that somebody else may have written must not name files of this user.
        """
        project = self.project
        outside = [m for m in (*project.models, project.start) if m and not is_own(m)]
        start = None if project.start in outside else project.start
        models = tuple(m for m in project.models if m not in outside)
        notes = tuple(
            f"{shown(model, 300)}: this model is not in the project's folder and is no "
            "longer listed; choose it again if you know it."
            for model in dict.fromkeys(outside)
        )
        kept = project.replace(models=models, start=start)
        return self.replace(project=kept), notes


def is_own(model: str) -> bool:
    """Whether a model is in the folder of a project's models."""
    folder, _, name = model.partition("/")
    return folder == MODELS and is_file_name(name)


def _of_classes(image: ProjectImage, count: int) -> ProjectImage:
    """Return an image without objects of classes above `count`: they are of class 1."""
    known = {id_: k for id_, k in image.class_of.items() if k <= count}
    return image if known == image.class_of else image.replace(class_of=known)


def _reverted(
    now: _Settings, before: _Settings, after: _Settings, names: set[str]
) -> _Settings:
    """Reset the fields that a step changed."""
    changes = {
        name: _merged(name, *(getattr(record, name) for record in (now, before, after)))
        for name in names
        if getattr(before, name) != getattr(after, name)
    }
    return now.replace(**changes)


def _merged(name: str, now: Any, was: Any, became: Any) -> Any:
    """Reset a field, except the parts of a collection that changed later."""
    if isinstance(now, dict):
        result = dict(now)
        for key in was.keys() | became.keys():
            if was.get(key) == became.get(key) or now.get(key) != became.get(key):
                continue
            result.pop(key, None)
            if key in was:
                result[key] = was[key]
        return result
    # The position of a class is its number, and a pixel size has no parts.
    if isinstance(now, tuple) and name not in ("classes", "spacing_um"):
        kept = [item for item in now if item in was or item not in became]
        lost = [item for item in was if item not in became and item not in kept]
        return (*kept, *lost)
    return was


def _reverted_images(
    now: Project, before: Project, after: Project
) -> tuple[ProjectImage, ...]:
    was = {image.id: image for image in before.images}
    became = {image.id: image for image in after.images}
    fields = set(ProjectImage.model_fields)
    result = [
        _reverted(image, was[image.id], became[image.id], fields)
        if image.id in was and image.id in became
        else image
        for image in now.images
        if image.id in was or image.id not in became
    ]
    present = {image.id for image in result}
    gone = was.keys() - became.keys() - present
    return (*result, *(image for image in before.images if image.id in gone))
