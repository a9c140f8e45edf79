"""What cannot be done is told in a sentence, as a notification of napari."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.session.workspace import Workspace


@contextmanager
def report_errors(workspace: Workspace) -> Iterator[None]:
    """Tell the sentence of an expected error instead of raising it."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        workspace.message.emit("warning", str(error))
