"""Corrections during a training, sent to its worker in small portions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.geometry.boxes import union
from napari_unet.core.jobs import Correction
from napari_unet.session.throttle import Debounce, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.jobs import Place
    from napari_unet.session.annotating.edits import Edit
    from napari_unet.session.images.image_list import ImageList

    _Key = tuple[str, Place]

# Seconds without an edit after which a stroke counts as finished.
_PAUSE = 0.5
# At least this many seconds from one portion of a plane to the next.
_INTERVAL = 1.0


@dataclass(slots=True)
class _Field:
    """A plane or volume, and the edits of it that the worker does not know yet."""

    box: Box | None = None  # around all of them; None for the whole field
    # whether its pixels are being copied, so that the edits can be sent
    sharing: bool = False
    edited: Debounce = field(default_factory=lambda: Debounce(_PAUSE))
    sent: Throttle = field(default_factory=lambda: Throttle(_INTERVAL))


class Corrections:
    """Coalesces edits until a stroke is over, and sends them.

    `ids` are the images that are learnt from, in the order of their numbers; `ndim` is
    that of the network, which may change with the next of several.
    """

    failed = Signal(str)
    """Why pixels cannot be copied; what was painted there is not learnt from."""

    def __init__(
        self,
        images: ImageList,
        ids: Sequence[str],
        ndim: Literal[2, 3],
        send: Callable[[Correction], None],
    ) -> None:
        self._images = images
        self._ids = ids
        self.ndim = ndim
        self._send = send
        self._fields: dict[_Key, _Field] = {}
        self._closed = False

    def add(self, image_id: str, edit: Edit) -> None:
        """Note an edit, in whatever image."""
        if self.ndim == 3:
            box: Box = (slice(edit.z, edit.z + 1), *edit.box)
            self._note(image_id, (edit.t, None), box)
        else:
            self._note(image_id, (edit.t, edit.z), edit.box)

    def add_plane(self, image_id: str, t: int, z: int | None) -> None:
        """Note that all of a plane may have changed."""
        self._note(image_id, (t, None if self.ndim == 3 else z), None)

    def send_due(self) -> None:
        """Send what is ready; called a few times a second."""
        for key, known in list(self._fields.items()):
            if known.sent.due and not known.sharing and known.edited.take():
                self._share_pixels(key)

    def close(self) -> None:
        """Stop sending."""
        self._closed = True
        self._fields.clear()

    def _note(self, image_id: str, place: Place, box: Box | None) -> None:
        if image_id not in self._ids:
            return
        known = self._fields.setdefault((image_id, place), _Field())
        if known.edited.pending or known.sharing:
            box = union(known.box, box) if known.box and box else None
        known.box = box
        known.edited.note()

    def _share_pixels(self, key: _Key) -> None:
        """Make sure that the worker can read the pixels, then send."""
        image_id, (t, _) = key
        if not self._images.layers(image_id):
            return  # closed, or removed from the project
        self._fields[key].sharing = True
        pixels = self._images.share_frames(image_id, [t])
        pixels.then(lambda: self._deliver(key), lambda why: self._drop(key, why))

    def _drop(self, key: _Key, why: str) -> None:
        """Drop a field that cannot be copied, and report it."""
        if self._fields.pop(key, None) is not None:
            self.failed.emit(why)

    def _deliver(self, key: _Key) -> None:
        if self._closed:
            return
        known, (image_id, (t, z)) = self._fields[key], key
        # with what was edited while the pixels were copied
        known.sharing = known.edited.pending = False
        try:
            annotation = self._images.annotation_reference(image_id)
        except KeyError:
            return  # removed from the project
        if annotation is None:
            return
        known.sent.restart()
        index = self._ids.index(image_id)
        self._send(Correction(index, t, z, known.box, annotation))
