"""Memory maps that are open only while they are in use.

Each map keeps a file open, and some systems allow a process 256 of them in all, fewer
than a large project has images.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

if TYPE_CHECKING:
    from napari_unet.core.images.array_reference import ArrayReference

_MOST = 16


class LazyMap:
    """A writable map of a file, opened when it is asked for.

    When 16 others were asked for since, it is closed; what was written stays. Who gets
    it has to let go of it soon, for it stays open as long as it is held.
    """

    _recent: ClassVar[OrderedDict[int, ref[LazyMap]]] = OrderedDict()

    def __init__(self, reference: ArrayReference) -> None:
        self._reference = reference
        self._map: Any = None

    def open(self) -> Any:
        """Return the map; OSError if the file is no longer there."""
        if self._map is None:
            self._map = self._reference.open(writable=True)
        recent = self._recent
        if next(reversed(recent), None) != id(self):
            recent[id(self)] = ref(self)
            recent.move_to_end(id(self))
            while len(recent) > _MOST:
                oldest = recent.popitem(last=False)[1]()
                if oldest is not None:
                    oldest.close()
        return self._map

    def flush(self) -> None:
        """Hand what was written over to the file; Linux needs no such call."""
        mapped = self._map
        if mapped is not None and sys.platform != "linux":
            mapped.flush()

    def close(self) -> None:
        """Close the map; who asks for it opens it again."""
        self.flush()
        self._map = None
        self._recent.pop(id(self), None)
