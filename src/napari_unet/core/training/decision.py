"""A setting that a planner chose, and why."""

from __future__ import annotations

from pydantic import Field

from napari_unet.core.settings import Settings


class Decision(Settings):
    """One setting that was chosen from the data."""

    field: str = Field(description="Name of the setting in `Training`.")
    value: bool | int | float | str = Field(description="What it was set to.")
    reason: str = Field(description="Why, in a sentence with the number that decided.")
    alternatives: tuple[str, ...] = Field(
        (), description="What else there was to choose from, each in a few words."
    )

    def __str__(self) -> str:
        """For people."""
        others = " or ".join(self.alternatives)
        instead = f" in place of {others}" if others else ""
        return f"{self.field.replace('_', ' ')} {self.value}{instead}: {self.reason}"
