"""How a network is trained: presets, optimiser, budget, augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from napari_unet.core.network.blended import in_windows
from napari_unet.core.network.catalogue import NETWORKS, known
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.layers import Norm
from napari_unet.core.settings import (
    PIXELS,
    BorderWeights,
    GrownSettings,
    NonNegative,
    Positive,
    PrecisionChoice,
    Settings,
    Unit,
)
from napari_unet.core.text import shown
from napari_unet.core.training.decision import Decision
from napari_unet.core.training.objectives import OBJECTIVES, Objective, Task, unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from napari_unet.core.network.geometry import Layered

OF_NETWORK = (
    *("network", "width", "depth", "norm", "padded", "encoder", "dropout"),
    *("flat", "scale"),
)
"""Settings of the network itself, as opposed to its training."""

MOST_MEMBERS = 10
"""Most networks of an ensemble."""

FIJI = "fiji"
"""In place of a preset's name: the recipe of a model that the Fiji plugin made."""

AUTO = "auto"
"""In place of a preset's name: settings that a planner has chosen, or is to choose."""


class Augmentation(Settings):
    """Random changes of image and labels; amounts are drawn anew for each patch."""

    elastic: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="Standard deviation of the 3 × 3 displacement vectors, in pixels.",
        json_schema_extra=PIXELS,
    )
    rotation: float = Field(
        180.0,
        ge=0,
        le=180,
        description="Largest turn in the y-x plane, in degrees.",
        json_schema_extra={"unit": "°"},
    )
    mirror: bool = Field(True, description="Mirror each axis half of the time.")
    scale: float = Field(
        1.25, ge=1, le=4, description="Largest factor of enlarging and shrinking."
    )
    brightness: NonNegative = Field(
        0.3, description="Largest shift, in standard deviations of the image."
    )
    contrast: float = Field(
        1.3, ge=1, le=4, description="Largest factor of stretching and squeezing."
    )
    gamma: float = Field(1.4, ge=1, le=4, description="Largest exponent.")
    noise: NonNegative = Field(
        0.15,
        description="Largest standard deviation of added noise, in those of the image.",
    )
    blur: float = Field(
        0.8,
        ge=0,
        le=100,
        description="Largest standard deviation of the blur, in pixels.",
        json_schema_extra=PIXELS,
    )


class Training(GrownSettings):
    """The recipe of one training run."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            *("network", "padded", "encoder", "task", "loss", "structured_noise"),
            *("flat", "scale", "shrink", "folds", "try_both", "by_hand", "decisions"),
        }
    )

    preset: str = Field("quick", description="Name of the preset this came from.")
    task: Task = Field(
        "segment",
        description="Task to learn: classes by labels, images by examples of both, or "
        "denoising by the noisy images alone.",
    )
    network: Annotated[str, AfterValidator(known)] = Field(
        "unet", description="Name of the network, as the catalogue has it."
    )
    ndim: Literal[2, 3] = Field(
        2,
        title="Images",
        description="Network for slices or for volumes.",
        json_schema_extra={"choices": {"2": "2-D slices", "3": "3-D volumes"}},
    )
    width: int = Field(
        16,
        ge=1,
        le=256,
        title="Channels",
        description="Channels at full resolution, doubled per level.",
    )
    depth: int = Field(3, ge=1, le=7, description="Number of poolings or strides.")
    norm: Norm = Field(
        "batch",
        title="Normalisation",
        description="Normalisation between convolution and activation. With instance "
        "the result depends on the window that the network sees, of the patch's size.",
    )
    padded: bool = Field(
        False,
        description="Add a border of zeros in each convolution and see windows of the "
        "patch's size: so deep networks fit, but the result depends on that size.",
    )
    encoder: Literal["none", "imagenet"] = Field(
        "none",
        description="What the contracting path of ternaus and fcn8 begins with: "
        "random weights, or those of VGG, which has learnt photographs; that has a "
        "width of 64 and no normalisation.",
        json_schema_extra={"choices": {"none": "Random", "imagenet": "ImageNet"}},
    )
    dropout: Unit = Field(
        0.0, description="Share of values dropped at the deepest level."
    )
    flat: int = Field(
        0,
        ge=0,
        le=7,
        title="Flat levels",
        description="Finest levels that mix nothing across slices, for volumes whose "
        "slices are far apart; thin stacks have more of them.",
    )
    scale: float = Field(
        1.0,
        ge=0.1,
        le=4,
        title="Image size",
        description="Size at which the network sees images, as a share of their own: "
        "below 1 they are shrunk, for cells that are wider than it sees; results "
        "have the size of the image.",
    )
    shrink: bool = Field(
        True,
        title="Shrink for large cells",
        description="Choose a smaller image size where cells are wider than the "
        "network sees, unless an image size is given; of slices, and from scratch.",
    )
    optimiser: Literal["sgd", "adamw"] = Field(
        "adamw",
        description="Kind of optimiser.",
        json_schema_extra={"choices": {"sgd": "SGD", "adamw": "AdamW"}},
    )
    learning_rate: Positive = Field(3e-3, description="Largest step of the optimiser.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Memory of the optimiser.")
    weight_decay: NonNegative = Field(1e-4, description="Pull of the weights to 0.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate from start to end, after a short warm-up."
    )
    averaging: float = Field(
        0.98,
        ge=0,
        lt=1,
        description="Memory of the running mean of the weights; 0 for no mean.",
    )
    mix_pixel_sizes: bool = Field(
        False,
        description="Learn from images of different pixel sizes as they are; the model "
        "then has none, and no image is resampled for it.",
    )
    batch: int = Field(
        4, ge=1, le=256, title="Patches per step", description="Patches per step."
    )
    patch: int = Field(
        100,
        ge=4,
        le=4096,
        title="Patch size",
        description="Output of the network per patch, in pixels.",
        json_schema_extra=PIXELS,
    )
    class_balance: Unit = Field(
        0.0,
        description="How much more a rare class weighs: its frequency to minus this.",
    )
    foreground: Unit = Field(
        0.5,
        title="Patches on objects",
        description="Share of patches centred on an object, others anywhere annotated.",
    )
    loss: Literal["l1", "mse", "charbonnier"] = Field(
        "l1",
        description="Of task regress: mean of absolute differences, of their squares, "
        "or of a smooth form between both.",
    )
    structured_noise: Literal["none", "x", "y"] = Field(
        "none",
        description="Of task denoise: axis along which noise is alike in neighbouring "
        "pixels, as the lines of a camera or of a scan.",
    )
    steps: int = Field(
        0,
        ge=0,
        le=10**9,
        title="Train for steps",
        description="How long to train, in steps; 0 if in minutes.",
    )
    minutes: NonNegative = Field(
        5.0,
        title="Train for minutes",
        description="How long to train, in minutes until the model is saved; 0 if in "
        "steps.",
    )
    validation: float = Field(
        0.1,
        ge=0,
        le=0.5,
        title="Held out",
        description="Share of the annotation held out; 0 for none.",
    )
    folds: int = Field(
        1,
        ge=1,
        le=MOST_MEMBERS,
        title="Networks",
        description="Networks to train one after the other in the same time, each "
        "without another part of what is annotated; the model says their mean.",
    )
    try_both: bool = Field(
        False,
        description="Of the preset auto: train for slices and for volumes, and with "
        "images as they are and of another size, in the same time, and keep what "
        "finds more of the held-out cells.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Start of all random numbers.")
    precision: PrecisionChoice = "auto"
    border: BorderWeights = Field(BorderWeights(w0=3.0), title="Border weights")
    augmentation: Augmentation = Augmentation()
    by_hand: tuple[str, ...] = Field(
        (), description="Settings that a person chose, which no planner changes."
    )
    decisions: tuple[Decision, ...] = Field(
        (), description="What a planner chose of the settings, and why."
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.steps > 0) == (self.minutes > 0):
            raise ValueError(
                "the budget is either steps or minutes, found "
                f"{self.steps} steps and {self.minutes} minutes."
            )
        return self

    @model_validator(mode="after")
    def _several_networks(self) -> Self:
        if self.try_both and self.preset != AUTO:
            raise ValueError(
                f"what is tried is chosen by the preset {AUTO}, found try_both with "
                f"{shown(self.preset)}."
            )
        if self.try_both and self.folds > 1:
            raise ValueError(
                f"either several networks are tried, or {self.folds} folds are joined."
            )
        if self.folds > 1 and not self.objective.is_judged:
            raise ValueError(
                f"to {self.objective.title}, one network is trained, as nothing can "
                f"be held out for validation; found folds {self.folds}."
            )
        return self

    @model_validator(mode="after")
    def _fits_task(self) -> Self:
        if self.task == "segment":
            return self
        if self.preset == AUTO:
            raise ValueError(
                "the preset auto goes by the classes that are annotated, for the task "
                f"segment alone; found task {self.task}."
            )
        for name, value in self.augmentation:
            if not unchanged(name, value):
                raise ValueError(
                    "images to learn from are mirrored and turned by quarters alone "
                    f"for the task {self.task}, found augmentation {name} {value:g}."
                )
        if self.scale != 1:
            raise ValueError(
                f"for the task {self.task} images are learnt at their own size, found "
                f"scale {self.scale:g}, allowed is 1."
            )
        if self.foreground:
            raise ValueError(
                f"for the task {self.task} there are no objects to centre patches on, "
                f"found foreground {self.foreground:g}, allowed is 0."
            )
        if self.validation and not self.objective.is_judged:
            raise ValueError(
                "of noisy images nothing can be held out for validation, as clean "
                f"ones are missing; found validation {self.validation:g}, allowed is 0."
            )
        return self

    @model_validator(mode="after")
    def _planned_are_settings(self) -> Self:
        for name in (*self.by_hand, *(d.field for d in self.decisions)):
            if name not in type(self).model_fields:
                raise ValueError(
                    f"by_hand and decisions name settings, found {shown(name)}."
                )
        return self

    @property
    def objective(self) -> Objective:
        """The task, as an objective."""
        return OBJECTIVES[self.task]

    @property
    def is_later(self) -> bool:
        """Whether older programs cannot know it.

        They know at most six poolings, and no instance norm.
        """
        return bool(self._said_later) or self.depth > 6 or self.norm == "instance"

    @classmethod
    def quick(cls, ndim: Literal[2, 3] = 2) -> Training:
        """Return the small network: a good mask in a minute on two CPU cores.

        In 3-D the border that is lost costs most, so the network is less deep.
        """
        if ndim == 3:
            return cls(ndim=3, depth=2, batch=1, patch=28)
        return cls()

    @classmethod
    def accurate(cls, ndim: Literal[2, 3] = 2) -> Training:
        """Return a wider and deeper network, for an hour or more of two CPU cores.

        Its larger patches lose less of the border that unpadded convolutions cost.
        """
        if ndim == 3:
            return cls(
                preset="accurate",
                ndim=3,
                width=24,
                depth=2,
                batch=1,
                patch=44,
                minutes=60.0,
            )
        return cls(
            preset="accurate",
            width=32,
            depth=4,
            batch=2,
            patch=180,
            learning_rate=2e-3,
            minutes=60.0,
        )

    @classmethod
    def paper(cls, ndim: Literal[2, 3] = 2) -> Training:
        """Return the paper's recipe: full width, SGD, one tile per step.

        Learning rate and iterations are not in the paper; the rate here was found to
        be stable with the mean, not the sum, of the loss over pixels.
        """
        return cls(
            preset="paper",
            ndim=ndim,
            width=64,
            norm="none",
            depth=4,
            dropout=0.5,
            optimiser="sgd",
            learning_rate=5e-4,
            momentum=0.99,
            weight_decay=0.0,
            schedule="constant",
            averaging=0.0,
            batch=1,
            patch=388 if ndim == 2 else 44,
            class_balance=0.5,
            minutes=600.0,
            border=BorderWeights(),
        )

    def with_task(self, task: Task) -> Training:
        """Return the recipe of a preset for another task."""
        objective = OBJECTIVES[task]
        changes = {"task": task, **objective.recipe}
        if self.ndim == 2:
            changes |= objective.of_slices
        if "augmentation" in changes:
            changes["augmentation"] = self.augmentation.replace(
                **changes["augmentation"]
            )
        return self.replace(**changes)

    @classmethod
    def automatic(cls, **by_hand: Any) -> Training:
        """Return settings that are planned once the data is known, except these."""
        ndim = by_hand.get("ndim", 2)
        if "steps" in by_hand:
            by_hand = {"minutes": 0.0, **by_hand}
        usual = cls.quick(ndim).replace(preset=AUTO, by_hand=tuple(sorted(by_hand)))
        return usual.replace(**by_hand)

    @property
    def is_unplanned(self) -> bool:
        """Whether a planner has still to choose some of them."""
        return self.preset == AUTO and not self.decisions

    def chosen(self, **changes: Any) -> Training:
        """Return settings with some chosen by a person, which no planner changes."""
        if self.preset != AUTO:
            return self.replace(**changes)
        return self.replace(
            **changes,
            by_hand=tuple(sorted({*self.by_hand, *changes})),
            decisions=tuple(d for d in self.decisions if d.field not in changes),
        )

    def with_network(
        self, name: str, encoder: Literal["none", "imagenet"] = "none"
    ) -> Training:
        """Return the recipe for another network, with the settings that it requires.

        Settings that the former network required are the preset's again; without
        `encoder`, weights begin at random.
        """
        preset = PRESETS.get(self.preset, Training.quick)(self.ndim)
        usual = {field: getattr(preset, field) for field in _needed(self)}
        chosen = self.replace(**{**usual, "network": name, "encoder": encoder})
        return chosen.replace(**_needed(chosen))

    def with_network_of(self, other: Training) -> Training:
        """Return the recipe with the network of another recipe.

        A training that starts from a model keeps its network.
        """
        return self.replace(**{name: getattr(other, name) for name in OF_NETWORK})

    def with_recipe_of(self, start: Training | None) -> Training:
        """Return the recipe of a model to start from, if it is one of the Fiji plugin.

        Budget, held-out part, seed and precision stay. For other models, or none, all
        stays, except a recipe that a former start model had brought.
        """
        if start is None or start.preset != FIJI:
            if self.preset != FIJI:
                return self
            start = Training.quick(self.ndim)
        kept = ("steps", "minutes", "validation", "seed", "precision")
        return start.replace(**{name: getattr(self, name) for name in kept})

    def architecture(self, channels: int, classes: int, slices: int = 1) -> Layered:
        """Return the network for a number of channels, classes and z-slices.

        For a task that makes images, `classes` is the number of their channels.

        Thin stacks are pooled in z only as often as their thickness allows. A
        ValueError says that the network is impossible for such images.
        """
        entry = NETWORKS[self.network]
        if refusal := entry.refusal(self.ndim, channels, self.encoder):
            raise ValueError(refusal)
        flat: tuple[int, ...] = ()
        patch: tuple[int, ...] = (self.patch,) * self.ndim
        if self.ndim == 3:
            patch = (min(self.patch, slices), *patch[1:])
            pooled = max(p for p in range(self.depth + 1) if 8 * 2**p <= max(slices, 8))
            flat = (max(self.depth - pooled, min(self.flat, self.depth)), 0, 0)
        network = entry.build(
            Choice(
                ndim=self.ndim,
                channels=channels,
                classes=classes,
                width=self.width,
                depth=self.depth,
                norm=self.norm,
                dropout=self.dropout,
                flat=flat,
                patch=patch,
                imagenet=self.encoder == "imagenet",
            )
        )
        if self.padded and not network.padded:
            return in_windows(network, patch)
        return network


def _needed(settings: Training) -> Mapping[str, Any]:
    """Return the settings that a network requires in place of the preset's."""
    entry = NETWORKS[settings.network]
    paper = entry.published if settings.preset == "paper" else {}
    ndim = settings.ndim
    settled = entry.settled(settings.encoder)
    return {**entry.recipe.get(ndim, {}), **paper.get(ndim, {}), **settled}


PRESETS = {
    "quick": Training.quick,
    "accurate": Training.accurate,
    "paper": Training.paper,
}
