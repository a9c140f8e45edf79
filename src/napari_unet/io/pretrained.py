"""Models in the package; pretrained/README.md says how they were trained."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.starters import AUTO, Starter
from napari_unet.io.model_file import SUFFIX, read_card

if TYPE_CHECKING:
    from napari_unet.core.model import ModelCard

STARTERS = (
    Starter(
        "nuclei",
        "nuclei in fluorescence, bright on dark",
        widths=(8, 120),
        contrast=(1.2, inf),
        most=0.6,
    ),
    Starter(
        "histology",
        "nuclei in stained tissue, in colour",
        widths=(8, 80),
        contrast=(-inf, -0.5),
        most=0.7,
        sure=0.72,
    ),
    Starter(
        "smear",
        "dark nuclei in smears, in bright field",
        widths=(6, 50),
        contrast=(-inf, -0.8),
        most=0.3,
        sure=0.81,
    ),
    Starter(
        "phase_contrast",
        "unstained cells in phase contrast",
        widths=(30, 150),
        contrast=(-0.6, 0.6),
        most=0.85,
    ),
)
PRETRAINED = tuple(starter.name for starter in STARTERS)


def pretrained_model(name: str) -> Path:
    """Return the file of a model that comes with the package.

    Raises
    ------
    ValueError
        There is no model of this name.
    """
    if name not in PRETRAINED:
        raise ValueError(
            f"pretrained models are {', '.join(PRETRAINED)}, found {name!r}."
        )
    return Path(str(files("napari_unet"))) / "pretrained" / f"{name}{SUFFIX}"


def picture_of(path: Path) -> Path | None:
    """Return the picture of what a model of the package is for; None of any other."""
    return None if starter_of(path) is None else path.with_suffix(".png")


def pretrained_models() -> tuple[Path, ...]:
    """Return the files of all of them."""
    return tuple(pretrained_model(name) for name in PRETRAINED)


def starter_of(path: Path) -> Starter | None:
    """Return the description of a model that comes with the package; else None."""
    return next((s for s in STARTERS if pretrained_model(s.name) == path), None)


def starter_in(card: ModelCard) -> tuple[Starter, list[str]] | None:
    """Return the starter that a model goes on from, and what it has learnt besides.

    Returns
    -------
    tuple of Starter and list of str, or None
        The names of the images that are not the starter's; None of a model that has
        not learnt all that a starter has.
    """
    found = {record.sha256 for record in card.images}
    for starter in STARTERS:
        own = _images_of(starter.name)
        if own and own <= found:
            return starter, [r.name for r in card.images if r.sha256 not in own]
    return None


@cache
def _images_of(name: str) -> frozenset[str]:
    """Return the hashes of the images that a starter was trained on."""
    return frozenset(r.sha256 for r in read_card(pretrained_model(name)).images)


def model_path(text: str) -> Path:
    """Return the file that a name on the command line stands for.

    A file of this name takes precedence over the pretrained model; a folder does not.
    """
    path = Path(text)
    return pretrained_model(text) if text in PRETRAINED and not path.is_file() else path


def is_automatic(path: Path) -> bool:
    """Whether a model is to be chosen by the image: no file has this name."""
    return str(path) == AUTO and not path.is_file()
