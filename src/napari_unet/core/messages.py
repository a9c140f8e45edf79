"""Messages between napari and its worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unet.core.events import Event
    from napari_unet.core.jobs import Correction, Job


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all messages; `job` is the number of the job it is about."""

    job: int


# from napari to the worker


@dataclass(frozen=True, slots=True)
class Submit(Message):
    """Begin a job."""

    what: Job


class Cancel(Message):
    """End a job at its next tile or step; answered at once by `Acknowledged`."""


class Pause(Message):
    """Do not go on with a job until `Resume`."""


class Resume(Message):
    """Go on with a paused job."""


class Finish(Message):
    """Stop training after this step; validate and save the model as usual."""


@dataclass(frozen=True, slots=True)
class Correct(Message):
    """Use changed annotation from the next step on."""

    correction: Correction


class Shutdown(Message):
    """End all jobs, with their checkpoints, and the process; `job` is 0."""


# from the worker to napari


class Acknowledged(Message):
    """A job will be cancelled, paused or resumed."""


@dataclass(frozen=True, slots=True)
class Happened(Message):
    """An event of a job."""

    event: Event


@dataclass(frozen=True, slots=True)
class Ended(Message):
    """A job is over; its last event has been sent."""

    cancelled: bool


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """A job is over because of an error."""

    error: str  # name of the exception's class, such as "ValueError"
    sentence: str  # its message
    traceback: str
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class Status(Message):
    """Device and memory of the worker, sent about every second; `job` is 0."""

    device: str  # in words
    why_not_gpu: str  # empty where a GPU is used
    # memory of the worker and of its device, in bytes
    used: int
    total: int
