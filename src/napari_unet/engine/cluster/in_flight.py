"""Work that was sent to the workers of a Dask cluster, a few pieces at a time.

Only as many are in flight as keep all workers busy: the scheduler is as quick for 10⁶
pieces as for ten, a cancelled run ends soon, and a dead worker loses little.
"""

from __future__ import annotations

from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client, Future

# Pieces in flight for each thread of a worker: one runs, the next waits there.
_AHEAD = 2
# A piece is begun a second time after so many times the usual, and not before; and
# after so long where nothing is usual yet, in seconds.
_HUNG, _HUNG_S, _KNOWN, _UNKNOWN_S = 5.0, 60.0, 5, 600.0
# So long is waited for what is cancelled to end, and between looks, in seconds.
_END_S, _POLL_S = 30.0, 0.2
_COUNTED_S = 1.0  # between counts of the workers


@dataclass(eq=False, slots=True, kw_only=True)
class Piece:
    """What one worker does, perhaps after it was sent to several."""

    began: float = 0.0
    futures: dict[str, Future] = field(default_factory=dict)


P = TypeVar("P", bound=Piece)


class InFlight(Generic[P]):
    """Follows pieces of work until they end; `clock` returns seconds."""

    def __init__(self, client: Client, clock: Callable[[], float] = monotonic) -> None:
        self._client, self.clock = client, clock
        self._pieces: dict[str, P] = {}  # by the keys of their futures
        self._ended: SimpleQueue[Future] = SimpleQueue()
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=50))
        self._threads, self._counted = 1, float("-inf")

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def pieces(self) -> list[P]:
        """All that are in flight, each once."""
        return list(dict.fromkeys(self._pieces.values()))

    @property
    def width(self) -> int:
        """How many may be in flight; the workers are counted once a second."""
        if self.clock() - self._counted >= _COUNTED_S:
            self._counted = self.clock()
            self._threads = max(sum(self._client.nthreads().values()), 1)
        return _AHEAD * self._threads

    def follow(self, piece: P, future: Future) -> None:
        """Wait for a future of a piece, which may have others."""
        if not piece.futures:
            piece.began = self.clock()
        self._pieces[future.key] = piece
        piece.futures[future.key] = future
        future.add_done_callback(self._ended.put)

    def ended(self) -> list[Future]:
        """Wait a moment for pieces to end; return all that have ended."""
        ended = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=_POLL_S))
            while True:
                ended.append(self._ended.get_nowait())
        return [future for future in ended if future.key in self._pieces]

    def take(self, future: Future) -> P | None:
        """Return the piece that ended, once, and cancel its duplicates.

        Raises
        ------
        OSError
            The scheduler is lost. Futures of a worker that died have the status "lost"
            instead, and their pieces are to be sent again.
        """
        if (piece := self._pieces.get(future.key)) is None:
            return None
        if future.status == "cancelled":
            raise OSError(
                "the cluster's scheduler was lost; the same command goes on with what "
                "is left."
            )
        for key, other in piece.futures.items():
            del self._pieces[key]
            if key != future.key:
                self._client.cancel([other])
        piece.futures.clear()
        return piece

    def note_time(self, kind: str, piece: P) -> None:
        """Learn from a piece that is done how long its kind takes."""
        self._took[kind].append(self.clock() - piece.began)

    def duplicate_slow(
        self, kind: Callable[[P], str], send: Callable[[P, list[str]], Future]
    ) -> None:
        """Send pieces that take much longer than usual to another worker too.

        All write the same bytes; which ends first is taken. `send` takes the addresses
        of workers that do not have the piece.
        """
        for piece in self.pieces:
            if self._hangs(piece, kind(piece)) and (others := self._others(piece)):
                self.follow(piece, send(piece, others))

    def stop(self, end: Callable[[], object]) -> None:
        """Make workers stop by `end`, and wait a while until they have."""
        if not self._pieces:
            return
        end()
        until = self.clock() + _END_S
        # some may have ended together with what is stopped for
        while (left := self._pending()) and self.clock() < until:
            self.ended()
        if left:
            self._client.cancel(left)

    def _pending(self) -> list[Future]:
        futures = [future for each in self.pieces for future in each.futures.values()]
        return [future for future in futures if not future.done()]

    def _hangs(self, piece: P, kind: str) -> bool:
        """Whether to send a piece to one more worker.

        Each has twice the time of the one before, or what merely takes long would go to
        all workers.
        """
        took = self._took[kind]
        known = len(took) >= _KNOWN
        most = max(_HUNG * median(took), _HUNG_S) if known else _UNKNOWN_S
        return self.clock() - piece.began > float(most * 2 ** (len(piece.futures) - 1))

    def _others(self, piece: P) -> list[str]:
        """Return the workers that were not sent a piece."""
        having = {
            worker
            for worker, sent in self._client.processing().items()
            if not piece.futures.keys().isdisjoint(map(str, sent))
        }
        return sorted(set(self._client.nthreads()) - having)
