"""Every setting, once: default, bounds, unit and help text.

Forms, command-line options, validation and the JSON in a model file all come from
these frozen models. A field's `description` is the help text shown to people.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_unet.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

Unit = Annotated[float, Field(ge=0, le=1)]
# What is more would be nonsense, in whatever unit, and overflow somewhere.
_MOST = 1e6
Positive = Annotated[float, Field(gt=0, le=_MOST)]
NonNegative = Annotated[float, Field(ge=0, le=_MOST)]
PrecisionChoice = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    Field(description="16 bits where the hardware has them natively."),
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


def explain(error: ValidationError) -> str:
    """Say in one sentence what is wrong with settings: which, found, allowed."""
    parts = []
    for row in error.errors():
        name = ".".join(str(place) for place in row["loc"])
        text = row["msg"].removeprefix("Value error, ").removeprefix("Input ")
        told = f"{name} {text}, found {shown(row['input'])}"
        parts.append(told if name else text.rstrip("."))
    more = len(parts) - _REASONS
    return "; ".join(parts[:_REASONS]) + (f"; and {more} more." if more > 0 else ".")


class BorderWeights(Settings):
    """Weight of the background between cells (Ronneberger et al. 2015, Eq. 2)."""

    scheme: Literal["paper", "fiji"] = Field(
        "paper",
        description="Eq. 2 of the paper, or the four constants of the Fiji plugin.",
    )
    w0: NonNegative = Field(10.0, description="Weight of a gap of no width.")
    sigma: Positive = Field(
        5.0, description="How fast the weight falls with the gap's width, in pixels."
    )
    balance: Unit = Field(
        0.1, description="Fiji plugin only: weight of background far from any cell."
    )
    near_sigma: Positive = Field(
        10.0,
        description="Fiji plugin only: reach of the weight around a cell, in pixels.",
    )

    @classmethod
    def fiji(cls) -> BorderWeights:
        """Return the Fiji plugin's constants (Falk et al. 2019)."""
        return cls(scheme="fiji", w0=50.0, sigma=6.0)


class Segmentation(Settings):
    """From probabilities to cells."""

    threshold: Unit = Field(0.5, description="Probability above which a pixel is cell.")
    min_distance: NonNegative = Field(
        1.5,
        description=(
            "Cells are split where their half width drops by this, in pixels; "
            "more splits less."
        ),
    )
    neck: Unit = Field(
        0.4,
        description="... and by this share of the half width of the smaller part.",
    )
    min_size: int = Field(
        20, ge=0, le=2**31 - 1, description="Smaller cells are dropped, in pixels."
    )
    fill_holes: bool = Field(True, description="Fill holes inside a cell.")
    clear_border: bool = Field(
        False, description="Drop cells that touch the image's edge."
    )
    ridge: NonNegative = Field(
        2.0,
        description="Gaps between cells up to this width, in pixels, go to the cells.",
    )
    link_z: Literal["overlap", "none"] = Field(
        "overlap",
        description="2-D networks on z-stacks: one id through slices, or per slice.",
    )
    link_iou: Unit = Field(
        0.1, description="Overlap (IoU) from which two slices show the same cell."
    )

    def for_pixels(self, factors: Sequence[float] | None) -> Segmentation:
        """Return what these settings, made for a model's pixels, are on an image.

        Parameters
        ----------
        factors : sequence of float or None
            Pixels of the model for each pixel of the image, along ([z,] y, x); None if
            they are alike.
        """
        if factors is None:
            return self
        length = prod(factors[-2:]) ** 0.5
        return self.replace(
            min_distance=self.min_distance / length,
            min_size=round(self.min_size / prod(factors)),
            ridge=self.ridge / length,
        )


class Prediction(Settings):
    """How a network is run over an image. None of it changes the result's meaning."""

    tile: int = Field(
        0,
        ge=0,
        le=2**16,
        description="Output of one tile, in pixels; 0 chooses by the free memory.",
    )
    memory_gb: NonNegative = Field(
        0.0,
        description="Memory that tiles may take, in GB; 0 takes what is free.",
    )
    averaging: Literal["none", "dihedral"] = Field(
        "none",
        description="Average over the 8 mirrored and rotated views of each tile.",
    )
    rescale: bool = Field(
        True,
        description="Resample images whose pixel size is known and not the model's.",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    precision: PrecisionChoice = "auto"
