"""A trained model as plain data: a card that describes it, and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from napari_unet.core.annotation.annotations import ClassInfo, cell_classes
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.images.normalisation import RULES, Normalisation
from napari_unet.core.network.catalogue import NETWORKS, Described
from napari_unet.core.network.opaque import TITLES, Opaque
from napari_unet.core.settings import GrownSettings, Positive, Segmentation, Settings
from napari_unet.core.text import shown
from napari_unet.core.training.training_settings import MOST_MEMBERS, Training

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


class Score(Settings):
    """How well the network does on held-out pixels."""

    loss: float = Field(description="Mean cross-entropy, all pixels alike.")
    iou: float = Field(description="Intersection over union of the foreground classes.")
    pixels: int = Field(description="Number of held-out pixels.")

    # by less a few held-out cells, or an odd image, differ by chance
    chance: ClassVar[float] = 0.1

    @property
    def quality(self) -> float:
        """The figure that models are compared by; more is better, 0 is nothing."""
        return self.iou

    @property
    def words(self) -> str:
        """For people."""
        return f"IoU {self.iou:.3f}"


class ImageScore(Settings):
    """How near the image that the network makes is to the held-out part of another."""

    loss: float = Field(description="Mean squared difference, in variances of targets.")
    psnr: float = Field(description="Peak signal-to-noise ratio, in dB.")
    ssim: float | None = Field(
        description="Structural similarity; None of parts that are too small."
    )
    pearson: float = Field(description="Correlation.")
    pixels: int = Field(description="Number of held-out pixels.")

    chance: ClassVar[float] = 1.0

    @property
    def quality(self) -> float:
        """The figure that models are compared by; more is better, 0 is nothing."""
        return self.psnr

    @property
    def words(self) -> str:
        """For people."""
        similar = "" if self.ssim is None else f", SSIM {self.ssim:.3f}"
        return f"PSNR {self.psnr:.1f} dB{similar}, correlation {self.pearson:.3f}"


AnyScore = Score | ImageScore


class Progress(Settings):
    """One row of a model's history."""

    step: int
    seconds: float
    loss: float
    score: AnyScore | None = None


class ImageRecord(Settings):
    """An image the model was trained on."""

    name: str
    sha256: str = Field(description="Of the pixels; of the middle 4096 if larger.")
    annotated: int = Field(description="Annotated pixels.")


class ModelCard(GrownSettings):
    """What a model is, how it came about and what it was trained on."""

    later: ClassVar[frozenset[str]] = frozenset({"outputs", "members", "learnt_share"})

    name: str = "model"
    architecture: Described
    classes: tuple[ClassInfo, ...] = Field(
        description="Without the background; none of a network that makes images."
    )
    outputs: ImageOutputs | None = Field(
        None, description="What a network makes that gives an image, not classes."
    )
    normalisation: Normalisation = Field(
        "structure",
        description="What brings grey values to the range that the network learnt: "
        "statistics by a rule of this program, or the steps of another.",
    )
    spacing_um: tuple[Positive, ...] | None = Field(
        None,
        description="Pixel size of what the network sees in micrometres, along [z,] y, "
        "x as far as it has these axes: of the training images, at the scale of the "
        "training.",
    )
    notes: tuple[str, ...] = Field(
        (), description="What was assumed of the training images, in sentences."
    )
    training: Training
    segmentation: Segmentation = Segmentation()
    images: tuple[ImageRecord, ...] = ()
    history: tuple[Progress, ...] = ()
    score: AnyScore | None = None
    steps: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    versions: tuple[str, ...] = Field((), description="Packages it was made with.")
    parent: str | None = Field(None, description="Name of the model it started from.")
    learnt_share: float = Field(
        1.0, ge=0, le=1, description="Share of what it learnt since that was kept."
    )
    members: int = Field(
        1,
        ge=1,
        le=MOST_MEMBERS,
        description="Networks whose mean it says, all of this architecture.",
    )

    @property
    def is_later(self) -> bool:
        """Whether older programs cannot know it: they have but rules with names."""
        return bool(self._said_later) or not isinstance(self.normalisation, str)

    @property
    def format(self) -> int:
        """Version of the model file's format that it takes, the oldest that does."""
        parts = self, self.architecture, self.training, self.segmentation
        return 2 if any(part.is_later for part in parts) else 1

    @property
    def share_in_words(self) -> str:
        """Say why not all of what it learnt was kept; empty if all was."""
        if self.learnt_share == 1:
            return ""
        return (
            f"Of what it learnt, {self.learnt_share:.0%} was added to {self.parent}, "
            "which it began with: more gains too little on the annotation for what it "
            "loses of what that model knew."
        )

    @property
    def network_title(self) -> str:
        """What its network is called, for people."""
        network = self.architecture
        if isinstance(network, Opaque):
            return f"network in {TITLES[network.runtime]}, which runs as it is"
        return NETWORKS[self.training.network].title

    def refusal_as_start(self, settings: Training) -> str:
        """Say why a training cannot begin with the model; empty if it can."""
        if isinstance(self.architecture, Opaque):
            return (
                f"the model to start from is a {self.network_title}, and cannot be "
                "trained on: start from another model, or from scratch."
            )
        if self.members > 1:
            return (
                f"the model to start from is the mean of {self.members} networks, and "
                "training goes on from one: start from another model, or from scratch."
            )
        if self.training.task != settings.task:
            return (
                f"the model to start from has learnt to {self.training.objective.title}"
                f", the training is to {settings.objective.title}."
            )
        return ""

    @property
    def refusal_of_corrections(self) -> str:
        """Say why it cannot learn corrections one by one; empty if it can."""
        if isinstance(self.architecture, Opaque):
            return f"{self.name} is a {self.network_title}: it cannot learn."
        if self.members > 1:
            return (
                f"{self.name} is the mean of {self.members} networks: corrections are "
                "learnt with the next training."
            )
        if self.outputs is not None:
            return f"{self.name} makes an image: it has no cells to correct."
        return ""

    def region(self, name: str) -> int:
        """Return the number of a class of regions; a ValueError says there is none."""
        names = [c.name for c in self.classes if c.kind == "regions"]
        if name not in names:
            there = ", ".join(names) if names else "none"
            raise ValueError(
                f"{self.name} has no class of regions {shown(name)}; it has {there}."
            )
        return 1 + [c.name for c in self.classes].index(name)

    @property
    def cell_classes(self) -> tuple[int, ...]:
        """Numbers of the classes whose objects are told apart."""
        return cell_classes(self.classes)

    def note_of_depth(self, slices: int, times: int) -> str:
        """Say that a network for volumes is given single planes; empty if it is not."""
        if self.architecture.ndim == 2 or slices > 1:
            return ""
        note = (
            f"it has one slice, and {shown(self.name)} is a model for volumes: it sees "
            "the slice mirrored to both sides, which is no volume, and finds less"
        )
        return note + (
            f"; if its {times} time points are slices, name the axes (zyx)."
            if times > 1
            else "."
        )

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        if self.members > 1 and not self.training.objective.is_judged:
            raise ValueError(
                f"a model that has learnt to {self.training.objective.title} is one "
                f"network, found {self.members} members."
            )
        return self

    @model_validator(mode="after")
    def _outputs_fit(self) -> Self:
        outputs, network = self.outputs, self.architecture
        if (outputs is None) != (self.training.task == "segment"):
            gives = "an image" if outputs is None else "classes"
            raise ValueError(
                f"a network that has learnt to {self.training.objective.title} gives "
                f"{gives}, but its card says otherwise."
            )
        if outputs is None:
            if network.classes < 2:
                raise ValueError("a network has at least two classes, found 1.")
            return self
        made = len(outputs.mean) or network.channels
        if made != network.classes or self.classes:
            raise ValueError(
                f"the network makes {network.classes} channels, its outputs are "
                f"described for {made} and {len(self.classes)} classes."
            )
        return self

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
    # several networks with the number of each in front, as in "0/score.bias"; of one
    # that runs as it is the bytes of its `FILE`, uint8
    weights: Mapping[str, NDArray[np.generic]]

    def in_own_pixels(self) -> Model:
        """Return it with settings of cells for the training images as they are.

        While it learnt, they were for the pixels that the network sees.
        """
        card = self.card
        scale = [card.training.scale] * card.architecture.ndim
        chosen = card.segmentation.for_pixels(scale)
        return Model(card.replace(segmentation=chosen), self.weights)
