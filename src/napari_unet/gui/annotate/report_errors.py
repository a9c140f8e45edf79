"""Expected errors are shown in a sentence, as a notification of napari."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.session.workspace import Workspace


@contextmanager
def report_errors(workspace: Workspace) -> Iterator[None]:
    """Make an expected error a message instead of raising it."""
    try:
        yield
    # any other is a bug: napari shows it with its traceback
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        workspace.message.emit("warning", str(error))


def reporting(workspace: Workspace, act: Callable[[], object]) -> Callable[[], None]:
    """Return a slot that calls a function of the session and reports its errors.

    Not for a method of a widget: the connection would keep the widget alive.
    """

    def call() -> None:
        with report_errors(workspace):
            act()

    return call
