"""Every setting, once: default, bounds, unit, names in a form and help text.

Forms, command-line options, validation and the JSON in a model file all come from
these frozen models. A field's `description` is the help text shown to people, its
`title` what it is called in a form; `form_hints` says what else a form needs.
"""

from __future__ import annotations

from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from napari_unet.core.text import pip_install, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo
    from pydantic.types import JsonDict

Unit = Annotated[float, Field(ge=0, le=1)]
# What is more would be nonsense, in whatever unit, and overflow somewhere.
_MOST = 1e6
Positive = Annotated[float, Field(gt=0, le=_MOST)]
NonNegative = Annotated[float, Field(ge=0, le=_MOST)]
PIXELS: JsonDict = {"unit": " px"}
# Mean probability from which on the network is sure of a cell; see docs/recipe.md.
SURE = 0.75
# Pixels; a block is held with three times as many on each side.
MOST_EDGE_SMOOTHING = 50.0
PrecisionChoice = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    Field(
        description="16 bits where the hardware has them natively.",
        json_schema_extra={
            "choices": {
                "auto": "Automatic",
                "fp32": "32 bits",
                "bf16": "16 bits (bf16)",
                "fp16": "16 bits (fp16)",
            }
        },
    ),
]

# Parts of a sentence about damaged settings.
_REASONS = 3


class Settings(BaseModel):
    """Base of all settings: immutable, complete, and strict about names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


class GrownSettings(Settings):
    """Base of settings with fields that came after the first format of the files.

    These are written only where they are not the default, so that older programs read
    all that needs nothing newer.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @property
    def is_later(self) -> bool:
        """Whether older programs cannot know what these settings say."""
        return bool(self._said_later)

    @property
    def _said_later(self) -> set[str]:
        fields = type(self).model_fields
        return {n for n in self.later if getattr(self, n) != fields[n].default}

    @model_serializer(mode="wrap")
    def _for_older_programs(
        self, write: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        unsaid = self.later - self._said_later
        return {
            name: value for name, value in write(self).items() if name not in unsaid
        }


def form_hints(info: FieldInfo) -> Mapping[str, Any]:
    """Return what a form needs to know of a field beside its type, bounds and texts.

    `unit` is written behind a number, `zero` in place of a 0 that leaves the choice to
    the program; `choices` has the label of each choice, by its text.
    """
    extra = info.json_schema_extra
    return extra if isinstance(extra, dict) else {}


_Model = TypeVar("_Model", bound=BaseModel)


def validated(kind: type[_Model], found: object, what: str) -> _Model:
    """Return the record that was found; a ValueError begins with `what` it is."""
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise ValueError(f"{what}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Say in one sentence what is wrong with settings: which, found, allowed."""
    parts = []
    for row in error.errors():
        name = ".".join(map(str, row["loc"]))
        text = row["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if name and row["type"] == "value_error" and isinstance(row["input"], dict):
            # a sentence about several fields of a part says itself what was found
            parts.append(f"{name}: {text.rstrip('.')}")
            continue
        found = f"{name} {text}, found {shown(row['input'])}"
        parts.append(found if name else text.rstrip("."))
    more = len(parts) - _REASONS
    return "; ".join(parts[:_REASONS]) + (f"; and {more} more." if more > 0 else ".")


class BorderWeights(Settings):
    """Weight of the background between cells (Ronneberger et al. 2015, Eq. 2)."""

    scheme: Literal["paper", "fiji"] = Field(
        "paper",
        description="Eq. 2 of the paper, or the four constants of the Fiji plugin.",
        json_schema_extra={"choices": {"fiji": "Fiji plugin"}},
    )
    w0: NonNegative = Field(
        10.0, title="Weight w₀", description="Weight of a gap of no width."
    )
    sigma: Positive = Field(
        5.0,
        title="Width σ",
        description="How fast the weight falls with the gap's width, in pixels.",
        json_schema_extra=PIXELS,
    )
    balance: Unit = Field(
        0.1,
        title="Far background",
        description="Fiji plugin only: weight of background far from any cell.",
    )
    near_sigma: Positive = Field(
        10.0,
        title="Near width σ",
        description="Fiji plugin only: reach of the weight around a cell, in pixels.",
        json_schema_extra=PIXELS,
    )

    @classmethod
    def fiji(cls) -> BorderWeights:
        """Return the Fiji plugin's constants (Falk et al. 2019)."""
        return cls(scheme="fiji", w0=50.0, sigma=6.0)


class Segmentation(GrownSettings):
    """From probabilities to cells, and to regions."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            "cells_by",
            "membrane",
            "unsure_size",
            "smallest_piece",
            "largest_only",
            "edge_smoothing",
            "track",
            "track_distance",
        }
    )

    threshold: Unit = Field(0.5, description="Probability above which a pixel is cell.")
    min_distance: NonNegative = Field(
        1.5,
        title="Split touching cells",
        description="Cells are split where their half width drops by this, in pixels; "
        "more splits less.",
        json_schema_extra=PIXELS,
    )
    neck: Unit = Field(
        0.4, description="... and by this share of the half width of the smaller part."
    )
    cells_by: Literal["watershed", "multicut"] = Field(
        "watershed",
        title="Part cells by",
        description="The watershed splits cells where they narrow; the multicut, for "
        "dense tissue, by what the network says along the whole of their border.",
    )
    membrane: Unit = Field(
        0.5,
        description="Multicut only: probability of background, in the mean along their "
        "border, above which cells are parted; more parts less.",
    )
    min_size: int = Field(
        20,
        ge=0,
        le=2**31 - 1,
        title="Smallest cell",
        description="Smaller cells are dropped, in pixels.",
        json_schema_extra=PIXELS,
    )
    unsure_size: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Smallest unsure cell",
        description="Smaller cells are dropped unless the network is sure of them (a "
        f"mean probability of {SURE:g} and more), in pixels.",
        json_schema_extra={**PIXELS, "zero": "off"},
    )
    fill_holes: bool = Field(True, description="Fill holes inside a cell.")
    clear_border: bool = Field(
        False,
        title="Drop cells at the edge",
        description="Drop cells that touch the image's edge.",
    )
    ridge: NonNegative = Field(
        2.0,
        title="Gap to close",
        description="Gaps between cells up to this width, in pixels, go to the cells.",
        json_schema_extra=PIXELS,
    )
    link_z: Literal["overlap", "none"] = Field(
        "overlap",
        title="Link through z",
        description="2-D networks on z-stacks: one id through slices, or per slice.",
        json_schema_extra={"choices": {"none": "Each slice alone"}},
    )
    link_iou: Unit = Field(
        0.1,
        title="Overlap to link",
        description="Overlap (IoU) from which two slices show the same cell.",
    )
    smallest_piece: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Smallest piece",
        description="Of classes of regions: smaller pieces become what surrounds them, "
        "in pixels.",
        json_schema_extra=PIXELS,
    )
    largest_only: tuple[int, ...] = Field(
        (),
        description="Numbers of the classes of regions of which only the largest piece "
        "is kept, in each slice or volume that the network sees as a whole.",
    )

    edge_smoothing: float = Field(
        0.0,
        ge=0,
        le=MOST_EDGE_SMOOTHING,
        title="Follow edges",
        description="Models of regions alone: their borders follow edges of the image, "
        "looked for so many pixels around, and move by up to a third of that.",
        json_schema_extra={**PIXELS, "zero": "off"},
    )
    track: bool = Field(
        False,
        title="Follow cells through time",
        description="Time series: one id through all frames that are predicted, and "
        "which cells divide.",
    )
    track_distance: NonNegative = Field(
        0.0,
        title="Farthest step",
        description="How far a cell may go from frame to frame where it does not "
        "overlap with itself, in pixels; 0 is as far as its own diameter.",
        json_schema_extra={**PIXELS, "zero": "diameter"},
    )

    @property
    def usual_size(self) -> int:
        """Size from which on a cell counts however unsure it is."""
        return max(self.min_size, self.unsure_size)

    @property
    def keeps_all_pieces(self) -> bool:
        """Whether regions stay as they are most probable."""
        return not (self.smallest_piece or self.largest_only)

    def check_installed(self) -> None:
        """ModuleNotFoundError, in a sentence, if a package for it is missing."""
        if self.cells_by == "multicut" and find_spec("bioimage_cpp") is None:
            raise ModuleNotFoundError(
                "the multicut needs the package bioimage-cpp, which "
                f"{pip_install('tissue')} brings; the watershed needs none."
            )

    def for_pixels(self, factors: Sequence[float] | None) -> Segmentation:
        """Return what these settings, made for some pixels, are on those of an image.

        The factors are pixels that they are made for, those of the training images,
        for each pixel of the image, along ([z,] y, x); None if they are alike.
        """
        if factors is None:
            return self
        length = prod(factors[-2:]) ** 0.5
        return self.replace(
            min_distance=self.min_distance / length,
            min_size=round(self.min_size / prod(factors)),
            unsure_size=round(self.unsure_size / prod(factors)),
            ridge=self.ridge / length,
            smallest_piece=round(self.smallest_piece / prod(factors)),
            edge_smoothing=min(self.edge_smoothing / length, MOST_EDGE_SMOOTHING),
            track_distance=self.track_distance / length,
        )


class Prediction(Settings):
    """How a network is run over an image. None of it changes the result's meaning."""

    tile: int = Field(
        0,
        ge=0,
        le=2**16,
        title="Tile size",
        description="Output of one tile, in pixels; 0 chooses by the free memory.",
        json_schema_extra={**PIXELS, "zero": "automatic"},
    )
    memory_gb: NonNegative = Field(
        0.0,
        title="Memory in GB",
        description="Memory that tiles may take, in GB; 0 takes what is free.",
        json_schema_extra={"zero": "automatic"},
    )
    averaging: Literal["none", "dihedral"] = Field(
        "none",
        description="Average over the 8 mirrored and rotated views of each tile.",
        json_schema_extra={"choices": {"dihedral": "8 views"}},
    )
    rescale: bool = Field(
        True,
        description="Resample images whose pixel size is known and not the model's.",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    precision: PrecisionChoice = "auto"
