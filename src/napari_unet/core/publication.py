"""What people say of a model that they give away."""

from __future__ import annotations

from pydantic import Field, field_validator

from napari_unet.core.settings import Settings

# SPDX identifiers: the test of bioimage.io refuses a package with any other word.
LICENCES = (
    *("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    *("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "CC-BY-ND-4.0"),
    *("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib"),
    *("BSL-1.0", "Unlicense", "MPL-2.0", "EUPL-1.2", "CECILL-2.1", "Artistic-2.0"),
    *("GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"),
    *("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
    *("AGPL-3.0-only", "AGPL-3.0-or-later"),
    *("ODbL-1.0", "ODC-By-1.0", "PDDL-1.0"),
)


class Publication(Settings):
    """Who made a model, and what others may do with it."""

    authors: tuple[str, ...] = Field(
        min_length=1, max_length=100, description="Names of the people who made it."
    )
    licence: str = Field(
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
        # as bioimage.io allows them
        if not all(name and not {"/", "\\"} & {*name} for name in names):
            raise ValueError("are names without slashes, none of them empty")
        return names

    @field_validator("licence")
    @classmethod
    def _is_identifier(cls, found: str) -> str:
        known = {one.lower(): one for one in LICENCES}
        if found.lower() not in known:
            raise ValueError(f"is one of {', '.join(LICENCES)}")
        return known[found.lower()]
