"""Label images from a file, fitted to the image that they are of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_unet.core.text import printable, times

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.images.image import Image

_AXES = "tzyx"


def fitted(path: Path, labels: Image, like: Image | None) -> Image:
    """Return labels as those of an image, with its pixel size if they have none.

    A ValueError says that they are of another size.
    """
    if like is None:
        return labels
    sizes, wanted = ([one.size(a) for a in _AXES] for one in (labels, like))
    if sizes != wanted:
        raise ValueError(
            f"{printable(path)}: its labels have {times(sizes)} pixels (t, z, y, x), "
            f"the image {printable(like.name)} has {times(wanted)}."
        )
    return labels if labels.known_um else replace(labels, spacing_um=like.known_um)
