"""Models of the package; pretrained/README.md says how they were trained."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from napari_unet.io.model_file import SUFFIX

PRETRAINED = ("nuclei", "phase_contrast")


def pretrained_model(name: str) -> Path:
    """Return the file of a model that comes with the package.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    if name not in PRETRAINED:
        raise ValueError(
            f"pretrained models are {', '.join(PRETRAINED)}, found {name!r}."
        )
    return Path(str(files("napari_unet"))) / "pretrained" / f"{name}{SUFFIX}"


def pretrained_models() -> tuple[Path, ...]:
    """Return the files of all of them."""
    return tuple(pretrained_model(name) for name in PRETRAINED)


def model_path(text: str) -> Path:
    """Return the file that a name on the command line stands for.

    A file of this name goes before the pretrained model; a folder does
    not: it is no model.
    """
    path = Path(text)
    return pretrained_model(text) if text in PRETRAINED and not path.is_file() else path
