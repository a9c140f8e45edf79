"""A plane whose border weights are shown, and what else they depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.annotation.annotations import plain_classes

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import ClassInfo, FinishedPart
    from napari_unet.core.settings import BorderWeights
    from napari_unet.io.project_record import Project, ProjectImage


@dataclass(frozen=True, slots=True)
class WeightedPlane:
    """A plane of an image and how its borders are weighted."""

    image_id: str
    t: int
    z: int
    settings: BorderWeights
    spacing: tuple[float, ...]  # pixel size in y and x relative to the finer
    classes: tuple[ClassInfo, ...]
    class_of: dict[int, int]
    finished: tuple[FinishedPart, ...]  # of this plane

    @classmethod
    def of(
        cls,
        project: Project,
        image: ProjectImage,
        place: tuple[int, int],
        settings: BorderWeights,
    ) -> WeightedPlane:
        """Describe a plane of an image of a project."""
        yx = image.spacing_um[-2:] if image.spacing_um is not None else (1.0, 1.0)
        finished = tuple(p for p in image.finished if (p.t, p.z) == place)
        spacing = tuple(length / min(yx) for length in yx)
        t, z = place
        classes, class_of = plain_classes(project.classes), image.class_of
        return cls(image.id, t, z, settings, spacing, classes, class_of, finished)

    @property
    def place(self) -> tuple[str, int, int]:
        """Which plane it is."""
        return self.image_id, self.t, self.z

    def weighs_like(self, other: WeightedPlane, highest: int) -> bool:
        """Whether the weights are the same, as long as the labels are.

        Classes of ids above `highest`, the highest ever painted, do not matter yet.
        """
        mine = (self.place, self.settings, self.spacing, self.finished)
        if mine != (other.place, other.settings, other.spacing, other.finished):
            return False
        # A class added at the end has no cells yet, and names do not affect the
        # weights.
        kinds = [info.kind for info in self.classes]
        if kinds != [info.kind for info in other.classes[: len(kinds)]]:
            return False
        if self.class_of is other.class_of:
            return True
        ids = self.class_of.keys() | other.class_of.keys()
        return all(
            i > highest or self.class_of.get(i, 1) == other.class_of.get(i, 1)
            for i in ids
        )
