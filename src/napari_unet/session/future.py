"""A future of the main thread, with callbacks for success and failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Post = Callable[[Callable[[], None]], None]


class Future:
    """The state of a request: pending, done or failed.

    `post` runs a function soon in the main thread; it is called from any thread.
    `failed` is the reason of a failure, in a sentence; else empty.
    """

    def __init__(self, post: Post) -> None:
        self.failed = ""
        self.post = post
        self._over = False
        self._callbacks: list[
            tuple[Callable[[], None], Callable[[str], None] | None]
        ] = []

    @property
    def done(self) -> bool:
        """Whether it has succeeded."""
        return self._over and not self.failed

    def then(
        self, done: Callable[[], None], failed: Callable[[str], None] | None = None
    ) -> None:
        """Call one of two functions soon after the end, never before this returns.

        `failed` is called with the reason, a sentence.
        """
        self._callbacks.append((done, failed))
        if self._over:
            self.post(self._call_back)

    def finish(self, failed: str = "") -> None:
        """Set it to done, or failed for a reason; the first call counts."""
        if not self._over:
            self.failed, self._over = failed, True
            self._call_back()

    def _call_back(self) -> None:
        # a callback may add others: these are posted by themselves
        callbacks, self._callbacks = self._callbacks, []
        for done, failed in callbacks:
            if not self.failed:
                done()
            elif failed is not None:
                failed(self.failed)


def all_of(parts: Sequence[Future], post: Post | None = None) -> Future:
    """Return a future that is done when all are, and fails with the first failure.

    Without `post`, that of the first part is used: there has to be one.
    """
    whole = Future(post or parts[0].post)
    left = sum(not part.done for part in parts)
    if not left:
        whole.finish()

    def one() -> None:
        nonlocal left
        left -= 1
        if not left:
            whole.finish()

    for part in parts:
        if not part.done:
            part.then(one, whole.finish)
    return whole
