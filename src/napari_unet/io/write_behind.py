"""Writing in the background while the next part is computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class WriteBehind:
    """Runs tasks in order, in its own thread.

    A context manager: all is done when it ends. If a task fails, later ones are not
    begun, and the error is raised by the next call, or at the end.

    At most `most` tasks wait; adding more blocks.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, "write-behind")
        self._waiting: deque[Future[None]] = deque()
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._wait(0)
        finally:
            self._thread.shutdown(cancel_futures=kind is not None)

    @property
    def is_busy(self) -> bool:
        """Whether a task waits or runs."""
        return any(not waiting.done() for waiting in self._waiting)

    def wait(self) -> None:
        """Wait until all is done."""
        self._wait(0)

    def do(self, work: Callable[..., object], *given: Any) -> None:
        """Add a task."""
        self._wait(self._most)
        self._waiting.append(self._thread.submit(self._try, work, *given))

    def _try(self, work: Callable[..., object], *given: Any) -> None:
        if self._error is None:
            try:
                work(*given)
            except Exception as error:
                self._error = error

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            self._waiting.popleft().result()
        if self._error is not None:
            raise self._error


class WriteBehindArray:
    """An array whose parts are written in the background by `write(index, values)`."""

    def __init__(
        self, behind: WriteBehind, write: Callable[..., None], shape: tuple[int, ...]
    ) -> None:
        self._behind = behind
        self._write = write
        self.shape = shape

    def __setitem__(self, index: Any, values: Any) -> None:
        self._behind.do(self._write, index, values)
