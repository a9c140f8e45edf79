"""What a project is made of, by the name that scripts know: see `io.project_record`."""

from napari_unet.core.annotation.annotations import PALETTE
from napari_unet.io.project_record import (
    ImageSource,
    Project,
    ProjectClass,
    ProjectFile,
    ProjectImage,
)

__all__ = [
    "PALETTE",
    "ImageSource",
    "Project",
    "ProjectClass",
    "ProjectFile",
    "ProjectImage",
]
