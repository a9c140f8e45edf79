"""A model file dropped on napari is offered in the Predict dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.io.model_file import SUFFIX, read_card

if TYPE_CHECKING:
    from collections.abc import Callable


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[tuple[Any]]] | None:
    """Return a reader if the file is a model of ours.

    Parameters
    ----------
    path : str or list of str
        What was dropped or opened.

    Returns
    -------
    callable or None
        It makes no layers; None for files that are no models of ours.
    """
    first = path[0] if isinstance(path, list) and path else path
    if not isinstance(first, str) or not first.endswith(SUFFIX):
        return None
    try:
        read_card(first)
    except (ValueError, OSError):
        return None
    return read_model


def read_model(path: str | list[str]) -> list[tuple[Any]]:
    """Choose the model in the Predict dock of the current viewer.

    Returns
    -------
    list
        What tells napari that there are no layers to add.
    """
    from napari_unet.gui.workspaces import offer_model

    paths = path if isinstance(path, list) else [path]
    for one in paths:
        offer_model(one)
    return [(None,)]
