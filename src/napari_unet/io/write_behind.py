"""Writing while the next is computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class WriteBehind:
    """Does works in the order they are given, in a thread of its own.

    A context: all is done when it ends. If a work fails, those after it are not begun,
    and the error is raised by the next call, or at the end.

    At most `most` works wait; whoever gives more waits too.
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
        """Whether a work waits or goes on."""
        return any(not waiting.done() for waiting in self._waiting)

    def wait(self) -> None:
        """Wait until all is done."""
        self._wait(0)

    def do(self, work: Callable[..., object], *given: Any) -> None:
        """Have a work done after those before it."""
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
    """An array of which each part is written behind, with `write(index, values)`."""

    def __init__(
        self, behind: WriteBehind, write: Callable[..., None], shape: tuple[int, ...]
    ) -> None:
        self._behind = behind
        self._write = write
        self.shape = shape

    def __setitem__(self, index: Any, values: Any) -> None:
        self._behind.do(self._write, index, values)
