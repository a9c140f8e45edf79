"""Tiles to annotate next: found by looks and by a network, in planes and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_jobs import CPU, discs, stored_annotation, stored_image
from example_models import random_model
from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.events import TileSeen, TilesSuggested
from napari_unet.core.images.image import Image
from napari_unet.core.jobs import SuggestJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.suggestions.known import KnownParts
from napari_unet.engine.network.network import prepare
from napari_unet.engine.suggesting import suggest
from napari_unet.engine.worker import suggest_job
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.model_file import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.model import Model

NARROW = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)


def last(events: list[Event | None]) -> TilesSuggested:
    *seen, found = (event for event in events if event is not None)
    assert all(isinstance(event, TileSeen) for event in seen)
    progress = [event.progress for event in seen]  # type: ignore[attr-defined]
    assert progress == sorted(progress)
    assert 0 < progress[0] < progress[-1] <= 1
    assert isinstance(found, TilesSuggested)
    return found


def scene() -> tuple[list[Image], np.ndarray]:
    """An image with discs in its left half alone, and an empty one; the labels."""
    pixels, labels = discs(1, 256)
    noise = np.random.default_rng(0).normal(0, 0.05, pixels.shape)
    pixels[:, 128:] = noise[:, 128:]
    labels[:, 128:] = 1
    images = [Image(noise.astype(np.float32), "yx", name="empty"), Image(pixels, "yx")]
    return images, labels


def at(found: TilesSuggested) -> list[tuple[int, int, int, int]]:
    places = [one.place for one in found.suggestions]
    return [(p.image, p.z, p.box[0].start, p.box[1].start) for p in places]


def ready(model: Model) -> tuple:
    return prepare(model, "cpu", "fp32"), model.card


def test_first_tile_shows_something_and_says_why() -> None:
    images, _ = scene()
    found = last(list(suggest(images, [(0,), (0,)], [None, None])))
    first = found.suggestions[0]
    assert first.place.image == 1
    assert first.place.box[1].start == 0
    assert first.reasons
    assert found.sentence == (
        "8 tiles of 2 images compared by their looks; nothing is annotated yet."
    )


def test_annotated_tiles_are_left_and_a_network_is_asked() -> None:
    images, labels = scene()
    known = np.where(np.arange(256)[:, None] < 128, labels, 0)
    parts = KnownParts({(0, 0)}, lambda t, z, box: Annotation(known[box]))
    model = ready(random_model(NARROW))
    events = suggest(images, [(0,), (0,)], [None, parts], model, settings=CPU)
    found = last(list(events))
    assert at(found)[0] == (1, 0, 128, 0)
    assert not {(1, 0, 0, 0), (1, 0, 0, 128)} & set(at(found))
    assert found.sentence == (
        "8 tiles of 2 images compared, by their looks and by what is annotated."
    )
    # of which it knows nothing
    assert any("uncertain" in "".join(one.reasons) for one in found.suggestions)


def test_slices_and_times_are_looked_through_also_for_volumes() -> None:
    pixels, _ = discs(2, 96)
    stack = np.random.default_rng(0).normal(0, 0.02, (2, 6, 96, 96))
    stack[1, 3] += pixels
    image = Image(stack.astype(np.float32), "tzyx")
    table = u_shape(ndim=3, channels=1, classes=2, width=2, depth=1)
    model = ready(random_model(table))
    for told in (None, model):
        found = last(list(suggest([image], [(0, 1)], [None], told, 1, CPU)))
        (only,) = found.suggestions
        assert (only.place.t, only.place.z) == (1, 3)
        assert only.thumbnail.shape == (48, 48)
    unseen = last(list(suggest([image], [(0,)], [None], None)))
    assert {one.place.t for one in unseen.suggestions} <= {0}


def test_what_cannot_be_compared_is_refused() -> None:
    grey = Image(np.zeros((8, 8)), "yx", name="grey")
    colour = Image(np.zeros((8, 8, 3)), "yxc", name="colour")
    with pytest.raises(ValueError, match="no image"):
        list(suggest([], [], []))
    with pytest.raises(ValueError, match=r"found 1 \(grey\) and 3 \(colour\)"):
        list(suggest([grey, colour], [(0,), (0,)], [None, None]))
    with pytest.raises(ValueError, match=r"trained on 1 channel\(s\), the image has 3"):
        list(suggest([colour], [(0,)], [None], ready(random_model(NARROW))))


def test_the_worker_finds_what_the_function_finds(tmp_path: Path) -> None:
    images, labels = scene()
    known = np.where(np.arange(256)[:, None] < 128, labels, 0)
    model = random_model(NARROW)
    save_model(model, tmp_path / "model.safetensors")
    job = SuggestJob(
        images=tuple(
            stored_image(tmp_path, np.asarray(image.data), "yx", image.name)
            for image in images
        ),
        frames=((0,), (0,)),
        annotations=(None, stored_annotation(tmp_path, known, "yx")),
        places=((), ((0, 0),)),
        model=str(tmp_path / "model.safetensors"),
        settings=CPU,
    )
    context = Context(Task(1, job), ModelCache())
    found = last(list(suggest_job.run(job, context)))
    parts = KnownParts({(0, 0)}, lambda t, z, box: Annotation(known[box]))
    expected = suggest(images, [(0,), (0,)], [None, parts], ready(model), settings=CPU)
    assert at(found) == at(last(list(expected)))
