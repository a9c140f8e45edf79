"""What is painted while a network trains, handed to its worker in small portions."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.jobs import Correction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.jobs import Place
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.images.image_list import ImageList

# A stroke is over after this pause.
_PAUSE = 0.5
# At least this long from one portion of a plane to the next.
_INTERVAL = 1.0


@dataclass(slots=True)
class _Pending:
    """Edits of one plane or volume that the worker does not know of yet."""

    box: Box | None
    last: float
    sending: bool = False


class Corrections:
    """Collects edits and sends them.

    Parameters
    ----------
    images : ImageList
    ids : sequence of str
        Images of the run, in the order of its job.
    ndim : {2, 3}
        Of the network.
    send : callable
        Takes a `Correction`.
    """

    failed = Signal(str)
    """Why pixels cannot be had; what was painted there is not learnt from."""

    def __init__(
        self,
        images: ImageList,
        ids: Sequence[str],
        ndim: Literal[2, 3],
        send: Callable[[Correction], None],
    ) -> None:
        self._images = images
        self._ids = list(ids)
        self._ndim = ndim
        self._send = send
        self._pending: dict[tuple[str, Place], _Pending] = {}
        self._sent: dict[tuple[str, Place], float] = {}
        self._closed = False

    def add(self, image_id: str, edit: Edit) -> None:
        """Take note of an edit, in whatever image."""
        if image_id not in self._ids:
            return
        if self._ndim == 3:
            box: Box = (slice(edit.z, edit.z + 1), *edit.box)
            self._note((image_id, (edit.t, None)), box)
        else:
            self._note((image_id, (edit.t, edit.z)), tuple(edit.box))

    def add_place(self, image_id: str, t: int, z: int | None) -> None:
        """Take note that all of a plane may have changed."""
        if image_id in self._ids:
            self._note((image_id, (t, None if self._ndim == 3 else z)), None)

    def look(self) -> None:
        """Send what is ready; called a few times a second."""
        now = monotonic()
        for key, pending in list(self._pending.items()):
            rested = now - pending.last >= _PAUSE
            due = now - self._sent.get(key, -_INTERVAL) >= _INTERVAL
            if rested and due and not pending.sending:
                pending.sending = True
                self._prepare(key)

    def close(self) -> None:
        """Send nothing any more."""
        self._closed = True
        self._pending.clear()

    def _note(self, key: tuple[str, Place], box: Box | None) -> None:
        pending = self._pending.get(key)
        if pending is None:
            self._pending[key] = _Pending(box, monotonic())
            return
        pending.box = _union(pending.box, box)
        pending.last = monotonic()

    def _prepare(self, key: tuple[str, Place]) -> None:
        """Make sure that the worker can read the pixels, then send.

        The frame is wanted whole: grey values are normalised over all of it.
        """
        image_id, (t, _) = key
        if not self._images.layers(image_id):
            del self._pending[key]
            return
        try:
            ready = self._images.ensure(image_id, ((t, None),))
        except KeyError:
            del self._pending[key]  # removed from the project
            return
        except (OSError, ValueError) as error:
            self._drop(key, str(error))
            return
        ready.then(lambda: self._deliver(key), lambda why: self._drop(key, why))

    def _drop(self, key: tuple[str, Place], why: str) -> None:
        """Forget what cannot be copied, and say so."""
        if self._pending.pop(key, None) is not None:
            self.failed.emit(why)

    def _deliver(self, key: tuple[str, Place]) -> None:
        pending = self._pending.pop(key, None)
        if self._closed or pending is None:
            return
        image_id, (t, z) = key
        try:
            annotation = self._images.stored_annotation(image_id)
        except KeyError:
            return  # removed from the project
        if annotation is None:
            return
        self._sent[key] = monotonic()
        index = self._ids.index(image_id)
        self._send(Correction(index, t, z, pending.box, annotation))


def _union(one: Box | None, other: Box | None) -> Box | None:
    """Return the smallest box around two; None is all."""
    if one is None or other is None:
        return None
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(one, other, strict=True)
    )
