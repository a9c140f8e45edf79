"""What people say of a model that they give away."""

from __future__ import annotations

from pydantic import Field, field_validator

from napari_unet.core.settings import Settings


class Publication(Settings):
    """Who made a model, and what others may do with it."""

    authors: tuple[str, ...] = Field(
        min_length=1, max_length=100, description="Names of the people who made it."
    )
    licence: str = Field(
        pattern=r"^[A-Za-z0-9.+-]+$",
        max_length=64,
        description="SPDX identifier of its licence, such as CC-BY-4.0 or MIT.",
    )
    description: str = Field(
        "", max_length=1024, description="What it is for, in a sentence or two."
    )

    @field_validator("authors")
    @classmethod
    def _are_names(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.strip() for name in found)
        if not all(names):
            raise ValueError("are names, none of them empty")
        return names
