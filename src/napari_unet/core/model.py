"""A trained model as plain data: a card that describes it, and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from napari_unet.core.annotation.annotations import ClassInfo, cell_classes
from napari_unet.core.images.normalisation import RULES, Normalisation
from napari_unet.core.network.catalogue import Described
from napari_unet.core.settings import GrownSettings, Segmentation, Settings
from napari_unet.core.training.training_settings import Training

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


MOST_MEMBERS = 10
"""Networks that one model is the mean of, at the most."""


class Score(Settings):
    """How well the network does on held-out pixels."""

    loss: float = Field(description="Mean cross-entropy, all pixels alike.")
    iou: float = Field(description="Intersection over union of the foreground classes.")
    pixels: int = Field(description="Number of held-out pixels.")


class Progress(Settings):
    """One row of a model's history."""

    step: int
    seconds: float
    loss: float
    score: Score | None = None


class ImageRecord(Settings):
    """An image the model was trained on."""

    name: str
    sha256: str = Field(description="Of the pixels; of the middle 4096 if larger.")
    annotated: int = Field(description="Annotated pixels.")


class ModelCard(GrownSettings):
    """What a model is, how it came about and what it was trained on."""

    later: ClassVar[frozenset[str]] = frozenset({"members"})

    name: str = "model"
    architecture: Described
    classes: tuple[ClassInfo, ...] = Field(description="Without the background.")
    normalisation: Normalisation = Field(
        "structure",
        description="Statistics of which pixels bring grey values to their range.",
    )
    spacing_um: tuple[float, ...] | None = Field(
        None,
        description="Pixel size of the training images in micrometres, along [z,] y, x "
        "as far as the network has these axes.",
    )
    notes: tuple[str, ...] = Field(
        (), description="What was assumed of the training images, in sentences."
    )
    training: Training
    segmentation: Segmentation = Segmentation()
    images: tuple[ImageRecord, ...] = ()
    history: tuple[Progress, ...] = ()
    score: Score | None = None
    steps: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    versions: tuple[str, ...] = Field((), description="Packages it was made with.")
    parent: str | None = Field(None, description="Name of the model it started from.")
    members: int = Field(
        1,
        ge=1,
        le=MOST_MEMBERS,
        description="Networks whose mean it says, all of this architecture.",
    )

    @property
    def format(self) -> int:
        """Version of the model file's format that it takes, the oldest that does."""
        parts = (self, self.architecture, self.training)
        return 2 if any(part.is_later for part in parts) else 1

    @property
    def cell_classes(self) -> tuple[int, ...]:
        """Numbers of the classes whose objects are told apart."""
        return cell_classes(self.classes)

    @field_validator("normalisation", mode="before")
    @classmethod
    def _rule(cls, found: Any) -> Any:
        # as long as there was but one rule, cards had the sentence
        return "frame" if found == RULES["frame"] else found


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A card and the weights it describes."""

    card: ModelCard
    # named as in `LayeredNetwork.state_dict`, float32 (counters of norms int64); of
    # several networks with the number of each in front, as in "0/score.bias"
    weights: Mapping[str, NDArray[np.generic]]
