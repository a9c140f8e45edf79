"""What a project is: images, their annotation, classes; frozen records, kept as JSON.

Arrays are not here but in files beside it; see `session.project.store`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError

from napari_unet.core.annotations import ClassInfo
from napari_unet.core.recipe import Training
from napari_unet.core.settings import (
    BorderWeights,
    Segmentation,
    Settings,
    explain,
)
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from pathlib import Path

_Settings = TypeVar("_Settings", bound=Settings)

# Distinct for the colour-blind, bright on dark and grey images (Okabe and Ito 2008).
PALETTE = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2")
BACKGROUND_COLOUR = "#7f7f9f"

FILE_NAME = "project.json"


class ProjectClass(ClassInfo):
    """A foreground class and how it is shown."""

    colour: str = Field(PALETTE[0], pattern="^#[0-9a-f]{6}$", description="As #rrggbb.")


class FinishedPart(Settings):
    """A part of a plane in which unlabelled means background."""

    t: int = Field(0, ge=0)
    z: int = Field(0, ge=0)
    box: tuple[tuple[int, int], tuple[int, int]] = Field(
        description="Start and stop in y and x."
    )


class ImageSource(Settings):
    """Where the pixels of one layer came from."""

    path: str | None = Field(
        None, description="File or folder; none if only in memory."
    )
    layer: str = Field("", description="Name of the layer when it was added.")


class ProjectImage(Settings):
    """An image of the project and what is known of it."""

    id: str = Field(description="Unique in the project, names the annotation's file.")
    name: str
    sources: tuple[ImageSource, ...] = Field(
        min_length=1, description="One layer, or one for each channel."
    )
    axes: str = Field(
        description="A letter for each axis of one layer's data; rgb: c last."
    )
    shape: tuple[int, ...] = Field(description="Of one layer's data.")
    level: int = Field(0, ge=0, description="Of a multiscale image, 0 the finest.")
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
    ticked: bool = Field(True, description="Used for training.")
    annotated: bool = Field(False, description="Whether it has an annotation.")
    class_of: dict[int, int] = Field(
        default_factory=dict, description="Class number of each object, 1 unless here."
    )
    finished: tuple[FinishedPart, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels, of one layer or of several."""
        size = dict(zip(self.axes, self.shape, strict=True))
        return len(self.sources) * (self.samples or size.get("c", 1))

    @property
    def annotation_axes(self) -> str:
        """Axes of the annotation: those of the image without channels."""
        return self.axes.replace("c", "")

    @property
    def annotation_shape(self) -> tuple[int, ...]:
        """Shape of the annotation."""
        return tuple(n for n, a in zip(self.shape, self.axes, strict=True) if a != "c")


class Project(Settings):
    """Everything that is kept of the work on some images, but for arrays."""

    id: str
    name: str = "project"
    version: int = Field(1, description="Of this format.")
    images: tuple[ProjectImage, ...] = ()
    classes: tuple[ProjectClass, ...] = (ProjectClass(),)
    training: Training = Training()
    segmentation: Segmentation = Segmentation()
    overlay: BorderWeights = BorderWeights()
    start: str | None = Field(None, description="Model file that training starts from.")
    models: tuple[str, ...] = Field((), description="Model files used, latest first.")

    def image(self, id_: str) -> ProjectImage:
        """Return an image by its id; KeyError if there is none."""
        for image in self.images:
            if image.id == id_:
                return image
        raise KeyError(id_)

    def with_image(self, changed: ProjectImage) -> Project:
        """Return a copy with one image changed, or added at the end."""
        ids = [i.id for i in self.images]
        if changed.id not in ids:
            return self.replace(images=(*self.images, changed))
        return self.replace(
            images=tuple(changed if i.id == changed.id else i for i in self.images)
        )

    def without_image(self, id_: str) -> Project:
        """Return a copy without an image."""
        return self.replace(images=tuple(i for i in self.images if i.id != id_))

    def reverted(self, before: Project, after: Project) -> Project:
        """Return a copy without the step from `before` to `after`.

        What changed since that step stays: images, strokes' classes and finished parts
        that came later, and every setting that the step did not touch.
        """
        changes: dict[str, Any] = {}
        if before.images != after.images:
            changes["images"] = _reverted_images(self, before, after)
        others = set(type(self).model_fields) - {"images"}
        return _reverted(self, before, after, others).replace(**changes)


class ProjectFile(Settings):
    """What `project.json` holds: the project, and which file holds what.

    Attributes
    ----------
    files : dict of str to str
        File of each image's annotation, by the image's id.
    origin : str
        Stamp of the saved folder that this working copy was made from.
    saved : str
        Stamp of a folder made by *Save project as*; empty in a working copy.
    absolute : dict of str to str
        In a saved folder: where each relative path led to on the machine that wrote it.
    """

    project: Project
    files: dict[str, str] = Field(default_factory=dict)
    origin: str = ""
    saved: str = ""
    absolute: dict[str, str] = Field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into a folder; the old file is replaced when all is written."""
        text = self.model_dump_json(indent=1)
        with atomic(folder / FILE_NAME) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ProjectFile:
        """Read it; the file is never touched.

        Raises
        ------
        FileNotFoundError
            There is no project in the folder.
        ValueError
            The file is damaged, or of a newer napari-unet.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: is no project, it has no {FILE_NAME}.")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            version = found["project"]["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: the project file is damaged.") from error
        known = Project.model_fields["version"].default
        if not isinstance(version, int) or version > known:
            raise ValueError(
                f"{path}: is of a newer napari-unet (format {version}); "
                f"formats up to {known} are read."
            )
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise ValueError(
                f"{path}: the project file is damaged: {explain(error)}"
            ) from error


def _reverted(
    now: _Settings, before: _Settings, after: _Settings, names: set[str]
) -> _Settings:
    """Set back the fields that a step changed."""
    changes = {
        name: _merged(name, *(getattr(record, name) for record in (now, before, after)))
        for name in names
        if getattr(before, name) != getattr(after, name)
    }
    return now.replace(**changes)


def _merged(name: str, now: Any, was: Any, became: Any) -> Any:
    """Set back a field, but for the parts of a collection that changed later."""
    if isinstance(now, dict):
        result = dict(now)
        for key in was.keys() | became.keys():
            if was.get(key) == became.get(key) or now.get(key) != became.get(key):
                continue
            result.pop(key, None)
            if key in was:
                result[key] = was[key]
        return result
    # The place of a class is its number, so classes are set back as a whole.
    if isinstance(now, tuple) and name != "classes":
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
