"""Messages between two computers over ssh: lines of JSON, and files.

A line may be followed by the bytes of a file, whose size it gives. The remote computer
begins with its `Hello`; nothing is sent to it before that has been understood.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_unet.core.annotation.annotations import Index
from napari_unet.core.settings import Settings

Order = Literal["pause", "resume", "finish", "cancel"]
"""Orders to a running job; "finish" ends it with a model, "cancel" without."""

JobId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
"""Id of a job on the remote computer: hexadecimal, so that no path can be in it."""


class RemoteRun(Settings):
    """A training or prediction on another computer."""

    where: str = Field(min_length=1, description="As for ssh, such as me@host.")
    job: JobId
    queue: str = Field("", description="Of that computer, such as slurm.")


class Hello(Settings):
    """The first message of the remote computer."""

    hello: Literal["napari-unet"] = "napari-unet"
    version: str
    device: str = Field(description="In words.")
    free: int = Field(ge=0, description="Bytes left on the disk of its jobs.")
    host: str


class Ask(Settings):
    """Begin a job, with its bundle behind the line, or go on with one."""

    job: JobId
    size: int | None = Field(
        None, ge=0, description="Bytes of the bundle; none for a job that is there."
    )
    queue: str = Field("", description="Such as slurm, with options for sbatch.")
    device: str = "auto"
    seen: int = Field(0, ge=0, description="Events that are known already.")


class Command(Settings):
    """An order to a job; "forget" removes its folder."""

    order: Order | Literal["forget"]


class File(Settings):
    """Announces a file: the weights so far, the model, or the results of an image."""

    file: Literal["preview", "model", "results"]
    size: int = Field(ge=0)
    image: Index = Field(0, description="Of results; in the order of the bundle.")


class End(Settings):
    """The job is over."""

    ended: Literal["done", "cancelled", "failed"]
    error: str = Field("", description="Name of the class of the error.")
    sentence: str = ""
