"""A plane whose border weights are shown, and what they depend on beside its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.annotation.annotations import plain_classes

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import ClassInfo, FinishedPart
    from napari_unet.core.jobs import Place
    from napari_unet.core.settings import BorderWeights
    from napari_unet.session.project.record import Project, ProjectImage


@dataclass(frozen=True, slots=True)
class WeightedPlane:
    """A plane of an image and how its borders are weighted.

    Attributes
    ----------
    image_id : str
    t, z : int
    settings : BorderWeights
    spacing : tuple of float
        Pixel size in y and x relative to the finer.
    classes : tuple of ClassInfo
    class_of : dict of int to int
    finished : tuple of FinishedPart
        Of this plane.
    """

    image_id: str
    t: int
    z: int
    settings: BorderWeights
    spacing: tuple[float, ...]
    classes: tuple[ClassInfo, ...]
    class_of: dict[int, int]
    finished: tuple[FinishedPart, ...]

    @classmethod
    def of(
        cls,
        project: Project,
        image: ProjectImage,
        place: Place,
        settings: BorderWeights,
    ) -> WeightedPlane:
        """Describe a plane of an image of a project."""
        t, z = place[0], place[1] or 0
        yx = image.spacing_um[-2:] if image.spacing_um is not None else (1.0, 1.0)
        return cls(
            image.id,
            t,
            z,
            settings,
            tuple(length / min(yx) for length in yx),
            plain_classes(project.classes),
            image.class_of,
            tuple(p for p in image.finished if (p.t, p.z) == (t, z)),
        )

    @property
    def place(self) -> tuple[str, int, int]:
        """Which plane it is."""
        return self.image_id, self.t, self.z

    def weighs_like(self, other: WeightedPlane, highest: int) -> bool:
        """Whether the weights are the same, as long as the labels are.

        Parameters
        ----------
        other : WeightedPlane
        highest : int
            Highest id that was ever painted: classes of higher ones do not matter yet.
        """
        mine = (self.place, self.settings, self.spacing, self.finished)
        if mine != (other.place, other.settings, other.spacing, other.finished):
            return False
        # A class that is added at the end has no cells yet, and names do not weigh.
        pairs = zip(self.classes, other.classes, strict=False)
        if len(other.classes) < len(self.classes) or any(
            a.kind != b.kind for a, b in pairs
        ):
            return False
        if self.class_of is other.class_of:
            return True
        ids = self.class_of.keys() | other.class_of.keys()
        return all(
            i > highest or self.class_of.get(i, 1) == other.class_of.get(i, 1)
            for i in ids
        )
