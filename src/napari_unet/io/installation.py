"""Conflicts with another package installed in this environment."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import napari_unet

# A package of PyPI, by others, whose files have the names of ours: napari_unet/…
NAMESAKE = "napari-unet"


def namesake_problem() -> str | None:
    """Return a warning if the other package of this import name is installed, too.

    Whichever was installed last has overwritten files of the other, and removing one
    removes files of both.
    """
    # where its __init__ has replaced ours, there is no DISTRIBUTION
    ours = getattr(napari_unet, "DISTRIBUTION", "this program")
    if ours == NAMESAKE:
        return None
    try:
        found = version(NAMESAKE)
    except PackageNotFoundError:
        return None
    return (
        f"The package {NAMESAKE} {found} is installed in this environment, too. It is "
        "another program whose files have the same names (napari_unet), so each "
        "overwrites the other. Remove both, then install the one that you want: "
        f"pip uninstall {NAMESAKE} {ours}"
    )


def is_overwritten() -> bool:
    """Whether the other package has replaced files that this program starts with."""
    return not hasattr(napari_unet, "DISTRIBUTION")
