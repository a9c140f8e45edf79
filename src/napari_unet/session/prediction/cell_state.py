"""Which cells of an image are up to date, and which are to be found or linked again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.jobs import Place

_NEVER = -1


@dataclass(slots=True)
class CellState:
    """How old the cells of each plane or volume are."""

    ndim: Literal[2, 3] = 2  # of the network
    # by how much the image was resampled for the network: the settings are in pixels of
    # the network
    scale: tuple[float, ...] | None = None
    growing: bool = False  # whether more planes are being predicted
    # for each plane or volume that is predicted, the version of the settings that its
    # cells were found with
    version: dict[Place, int] = field(default_factory=dict)
    # when each was predicted, counted in predictions
    predicted: dict[Place, int] = field(default_factory=dict)
    counts: dict[Place, int] = field(default_factory=dict)  # number of its cells
    found: int = 0  # how often: ids of before may be those of others now
    # version of the settings of which all cells were linked through z and time
    linked: int = _NEVER
    # no id of a cell in any slice is higher
    highest: int = 0
    parents: Mapping[int, int] | None = None  # of tracks; None if ids are none

    def note_prediction(self, place: Place, number: int) -> None:
        """Forget the cells of what was predicted before."""
        self.version[place] = self.linked = _NEVER
        self.predicted[place] = number
        self.parents = None

    def forget(self) -> None:
        """Find all cells anew: some may be half linked."""
        self.version = dict.fromkeys(self.version, _NEVER)

    def place_of(self, t: int, z: int) -> Place:
        """Return the volume that a slice is a part of, or the slice itself."""
        return (t, None) if (t, None) in self.version else (t, z)

    def edited(self, place: Place, number: int, *, again: bool) -> None:
        """Note that cells were edited; `again` if they are to be found anew."""
        self.linked = _NEVER
        if place in self.version:
            self.predicted[place] = number
            if again:
                self.version[place] = _NEVER

    def stale(self, version: int) -> list[Place]:
        """Return the planes whose cells are to be found anew."""
        return [place for place, v in self.version.items() if v != version]

    def to_be_linked(self, version: int, *, track: bool) -> bool:
        """Whether all cells are found, and parts of one may have several ids.

        So it is if a frame has several slices that were done one by one, or if cells
        are followed, through several frames.
        """
        if self.growing or self.linked == version or self.stale(version):
            return False
        frames = [t for t, _ in self.version]
        slices = [t for t, z in self.version if z is not None] if self.ndim == 2 else []
        in_time = track and len(set(frames)) > 1
        return in_time or len(slices) > len(set(slices))
