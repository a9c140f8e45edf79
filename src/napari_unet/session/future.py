"""Something that is there later, and who hears of it; all in the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Post = Callable[[Callable[[], None]], None]


class Future:
    """Whether something that was asked for is there, or why it will not be.

    `post` runs a function soon in the main thread; it is called from any thread.
    `failed` is why it did not come, in a sentence; empty unless it failed.
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
        """Whether it is there."""
        return self._over and not self.failed

    def then(
        self, done: Callable[[], None], failed: Callable[[str], None] | None = None
    ) -> None:
        """Call one of two functions soon after the end, never before this returns.

        `failed` is called with the sentence why it did not come.
        """
        self._callbacks.append((done, failed))
        if self._over:
            self.post(self._call_back)

    def finish(self, failed: str = "") -> None:
        """It is there, or `failed` says why not; the first call counts."""
        if not self._over:
            self.failed, self._over = failed, True
            self._call_back()

    def _call_back(self) -> None:
        # who is called may wait for more: that is called back by its own post
        callbacks, self._callbacks = self._callbacks, []
        for done, failed in callbacks:
            if not self.failed:
                done()
            elif failed is not None:
                failed(self.failed)


def all_of(parts: Sequence[Future], post: Post | None = None) -> Future:
    """Return what is done when all parts are, and fails with the first that fails.

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
