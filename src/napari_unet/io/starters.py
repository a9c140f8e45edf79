"""Models that come with the package; starters/README.md says how they were trained."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from napari_unet.io.model_file import SUFFIX

STARTERS = ("nuclei", "phase_contrast")


def starter(name: str) -> Path:
    """Return the file of a model that comes with the package.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    if name not in STARTERS:
        raise ValueError(f"starter models are {', '.join(STARTERS)}, found {name!r}.")
    return Path(str(files("napari_unet"))) / "starters" / f"{name}{SUFFIX}"


def starters() -> tuple[Path, ...]:
    """Return the files of all of them."""
    return tuple(starter(name) for name in STARTERS)


def model_path(text: str) -> Path:
    """Return the file that a name on the command line stands for.

    A file of this name goes before the starter model; a folder is no model, so it does
    not.
    """
    path = Path(text)
    return starter(text) if text in STARTERS and not path.is_file() else path
