"""A summary of the training data of a project, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.text import counted, listed
from napari_unet.session.annotating.object_index import (
    PlaneObjects,
    describe_objects,
)
from napari_unet.session.forward_signal import forward_signal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from napari_unet.core.jobs import Place
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.session import Session

_EMPTY = "Paint a few cells and some background in the Annotate dock, then press Train."


@dataclass(frozen=True, slots=True)
class TrainingDataSummary:
    """What a network would be trained on."""

    images: int = 0
    slices: int = 0  # with annotation
    objects: str = "0 cells"  # the cells, and the regions that there are, in words
    background: int = 0  # slices with background
    # class numbers that are annotated, 0 for background
    classes: frozenset[int] = frozenset()
    complete: bool = True  # whether all planes were counted
    # annotated images that are left out, each with the reason
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.images:
            return "nothing annotated"
        slices, images = counted(self.slices, "slice"), counted(self.images, "image")
        background = "no background"
        if self.background:
            background = f"background in {counted(self.background, 'slice')}"
        return f"{slices} of {images}: {self.objects}, {background}"

    @property
    def omission(self) -> str:
        """The images that are left out, in a sentence; empty if there are none."""
        if not self.left_out:
            return ""
        return f"Not learnt from: {listed(self.left_out)}."


class TrainingData:
    """Sums up what is painted in the images that are ticked."""

    changed = Signal()
    """Something was counted anew."""

    def __init__(self, session: Session) -> None:
        store, images = self._store, self._images = session.store, session.images
        self._object_index = session.annotating.object_index
        self._cached: TrainingDataSummary | None = None
        self._sources = (
            self._object_index.changed,
            session.annotating.edited,
            store.changed,
            images.changed,
            store.replaced,
        )
        for source in self._sources:
            source.connect(self._forget)
        # after the summary was dropped: listeners read it
        forward_signal(self._object_index.changed, self.changed)

    def close(self) -> None:
        """Disconnect from the annotation."""
        for source in self._sources:
            source.disconnect(self._forget)

    def chosen(self) -> tuple[ProjectImage, ...]:
        """Return the images to train on: ticked, open, and with annotation."""
        return tuple(
            image
            for image in self._store.project.images
            if image.use_for_training
            and self._images.places(image.id)
            and self._images.layers(image.id)
        )

    def places(self, image: ProjectImage, ndim: Literal[2, 3]) -> tuple[Place, ...]:
        """Return the annotated planes, or the volumes with annotation."""
        planes = self._images.places(image.id)
        if ndim == 2:
            return tuple(planes)
        return tuple((t, None) for t in sorted({t for t, _ in planes}))

    def summary(self) -> TrainingDataSummary:
        """Return what is counted so far."""
        if self._cached is None:
            self._cached = self._sum_up()
        return self._cached

    def problem(self, ndim: Literal[2, 3]) -> str:
        """Return why training cannot start, and what to do; empty if it can."""
        project = self._store.project
        ticked = [image for image in project.images if image.use_for_training]
        if not project.images:
            return "Open an image and add it in the Annotate dock first."
        if not ticked:
            return "Tick an image to train on in the Annotate dock."
        chosen = self.chosen()
        if not chosen:
            return self._why_none(ticked)
        channels = sorted({image.channels for image in chosen})
        if len(channels) > 1:
            found = " and ".join(map(str, channels))
            return f"The ticked images have {found} channels: tick only one kind."
        flat = [image.name for image in chosen if "z" not in image.axes]
        if ndim == 3 and flat:
            return f"{flat[0]} has no z axis: train on slices (2-D), or untick it."
        return self._problem_of_classes(self.summary())

    def _sum_up(self) -> TrainingDataSummary:
        slices = background = 0
        # numbered through all images: class numbers by objects
        every: list[int] = []
        complete = True
        images = self.chosen()
        for image in images:
            # one id is one object in all slices of a time point
            objects: set[tuple[int, int]] = set()
            finished = {(part.t, part.z) for part in image.finished}
            for t, z in self._images.places(image.id):
                found = self._object_index.of(image.id, t, z)
                complete = complete and found is not None
                found = found or PlaneObjects()
                slices += 1
                background += found.background or (t, z) in finished
                objects.update((t, i) for i in found.ids)
            every += [image.class_of.get(i, 1) for _, i in objects]
        infos, class_of = self._store.project.classes, dict(enumerate(every))
        return TrainingDataSummary(
            images=len(images),
            slices=slices,
            objects=describe_objects(class_of, class_of, infos),
            background=background,
            classes=frozenset({*every, 0} if background else every),
            complete=complete,
            left_out=tuple(self._left_out(images)),
        )

    def _left_out(self, chosen: tuple[ProjectImage, ...]) -> Iterator[str]:
        """Name the images that have annotation and are not chosen."""
        for image in self._store.project.images:
            if image not in chosen and self._images.places(image.id):
                why = "closed" if image.use_for_training else "not ticked"
                yield f"{image.name} ({why})"

    def _why_none(self, ticked: list[ProjectImage]) -> str:
        for image in ticked:
            if image.annotated and not self._images.layers(image.id):
                return f"Open {image.name} again: its layer is not in the viewer."
        for image in self._store.project.images:
            if self._images.places(image.id):
                return (
                    f"{image.name} is annotated, but not ticked: tick it in the "
                    "Annotate dock to train on it."
                )
        return _EMPTY

    def _problem_of_classes(self, summary: TrainingDataSummary) -> str:
        """Return what to do if fewer than two classes are annotated."""
        if not summary.complete or len(summary.classes) > 1:
            return ""
        if not summary.classes:
            return _EMPTY
        if summary.classes == {0}:
            return "Only background is painted: paint a few cells, too."
        (number,) = summary.classes
        name = self._store.project.classes[number - 1].name
        return (
            f"Only {name} are painted: paint background too, or press Fix in the "
            "data check (Annotate)."
        )

    def _forget(self) -> None:
        """Drop the summary; it is made anew at the next request."""
        self._cached = None
