"""What goes through the connection between napari and its worker."""

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


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """End a job at its next tile or step; answered at once by `Acknowledged`."""


@dataclass(frozen=True, slots=True)
class Pause(Message):
    """Do not go on with a job until told to."""


@dataclass(frozen=True, slots=True)
class Resume(Message):
    """Go on with a paused job."""


@dataclass(frozen=True, slots=True)
class Finish(Message):
    """Stop training now, but end properly: judge the network and save the model."""


@dataclass(frozen=True, slots=True)
class Correct(Message):
    """Use changed annotation from the next step on."""

    correction: Correction


@dataclass(frozen=True, slots=True)
class Shutdown(Message):
    """End all jobs, write what is to be kept, and end the process; `job` is 0."""


# from the worker to napari


@dataclass(frozen=True, slots=True)
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
    """A job is over because of an error.

    Attributes
    ----------
    error : str
        Name of the exception's class, such as "ValueError".
    sentence : str
        What it says.
    """

    error: str
    sentence: str
    traceback: str
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class Status(Message):
    """How the worker is doing, sent about every second; `job` is 0.

    Attributes
    ----------
    device : str
        In words.
    why_not_gpu : str
        Empty where a GPU is used.
    used, total : int
        Memory of the worker and of its device, in bytes.
    """

    device: str
    why_not_gpu: str
    used: int
    total: int
