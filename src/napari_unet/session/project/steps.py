"""The steps of a project that can be undone, the last twenty."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.session.project.places_log import PlaneIndex
    from napari_unet.session.project.record import Project

_LIMIT = 20


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What was done, and how it was before.

    Attributes
    ----------
    what : str
        In words.
    before, after : Project
    image_id : str or None
        Whose annotation was replaced or removed.
    file : str or None
        The annotation's file before; None if there was none.
    touched : dict or None
        What was tracked of that file, see `AnnotationFile`.
    """

    what: str
    before: Project
    after: Project
    image_id: str | None = None
    file: str | None = None
    touched: dict[PlaneIndex, NDArray[Any]] | None = None


class Steps:
    """Steps in order; beyond the limit the first is forgotten."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=_LIMIT)

    @property
    def last(self) -> Step | None:
        """The step to undo next."""
        return self._steps[-1] if self._steps else None

    def add(self, step: Step) -> None:
        """Remember a step."""
        self._steps.append(step)

    def drop(self) -> None:
        """Forget the last step: it was undone."""
        self._steps.pop()

    def clear(self) -> None:
        """Forget all."""
        self._steps.clear()

    def files(self) -> list[str]:
        """Return the files that are needed to undo."""
        return [step.file for step in self._steps if step.file is not None]

    def concern(self, image_id: str) -> bool:
        """Whether the annotation of an image would change by undoing."""
        return any(step.image_id == image_id for step in self._steps)
