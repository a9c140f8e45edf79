"""A model dropped on napari, also of another program, is offered in the dock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.gui.notifications import notify
from napari_unet.io.model_file import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[tuple[Any]]] | None:
    """Return a reader that makes no layers, if the file looks like a model."""
    first = path[0] if isinstance(path, list) and path else path
    # also for a damaged model: the reader then says what is wrong
    if not isinstance(first, str):
        return None
    if not first.endswith(SUFFIX):
        from napari_unet.session.foreign_models import is_foreign

        if not is_foreign(Path(first)):
            return None
    return read_model


def read_model(path: str | list[str]) -> list[tuple[Any]]:
    """Choose the model in the Predict dock of the current viewer.

    Of a file that is no model, a notification says why. What is returned means to
    napari that there are no layers to add.
    """
    from napari_unet.gui import docks

    for one in path if isinstance(path, list) else [path]:
        try:
            docks.offer_model(one)
        except (ValueError, OSError) as error:
            notify("error", str(error))
    return [(None,)]
