"""Works in processes of their own, each with the settings it would have alone.

What one sets for its whole process, such as how memory is freed, is then not in force
for the other.
"""

from __future__ import annotations

from multiprocessing import get_context
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


class Apart:
    """A work that another process has ready, and does when it is called.

    A context: the process ends with it.

    Parameters
    ----------
    make : callable
        Makes the work, in the other process; a function of a module.
    given : object
        For `make`.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *given: object):
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, make, given), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def __call__(self) -> None:
        """Have the work done once."""
        self._pipe.send(None)
        self._pipe.recv()


def _serve(
    pipe: Connection,
    make: Callable[..., Callable[[], object]],
    given: tuple[object, ...],
) -> None:
    work = make(*given)
    pipe.send(None)
    while True:
        pipe.recv()
        work()
        pipe.send(None)
