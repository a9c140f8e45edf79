"""Where to annotate next, for a list in napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.suggestions.known import KnownParts
from napari_unet.engine.suggesting import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.jobs import Place, SuggestJob
    from napari_unet.engine.worker.model_cache import Context


def run(job: SuggestJob, context: Context) -> Iterator[Event | None]:
    """Look for tiles; the events are those of `suggest`."""
    images = [reference.open() for reference in job.images]
    known = [_known(*one) for one in zip(job.annotations, job.places, strict=True)]
    model = None
    if job.model is not None:
        model = context.cache.network(job.model, job.settings)
    yield from suggest(images, job.frames, known, model, settings=job.settings)


def _known(
    annotation: AnnotationReference | None, places: tuple[Place, ...]
) -> KnownParts | None:
    if annotation is None:
        return None
    return KnownParts({(t, z or 0) for t, z in places}, annotation.field)
