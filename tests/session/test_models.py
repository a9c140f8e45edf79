from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from example_models import random_model
from napari_unet.core.model import ImageRecord, Score
from napari_unet.core.network.architecture import u_shape
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.pretrained import pretrained_model
from napari_unet.session.models import ModelList, describe, purpose_of
from napari_unet.session.preferences import Preferences
from napari_unet.session.project.store import ProjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.core.model import Model


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProjectStore]:
    store = ProjectStore.create(tmp_path / "projects")
    yield store
    store.close()


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))


def saved(model: Model, path: Path, written: float = 0) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    save_model(model, path)
    if written:
        os.utime(path, (written, written))
    return path


def names(models: ModelList) -> list[str]:
    return [entry.card.name for entry in models.entries]


def test_models_of_runs_and_of_the_preferred_folder_are_listed_latest_first(
    store: ProjectStore, model: Model, tmp_path: Path
) -> None:
    saved(model, store.run_folder / "old.safetensors", 1000)
    saved(model, store.run_folder / "new.safetensors", 3000)
    saved(model, tmp_path / "mine" / "middle.safetensors", 2000)
    models = ModelList(store, Preferences(model_folder=str(tmp_path / "mine")))
    assert names(models) == ["new", "middle", "old"]
    assert models.selected == store.run_folder / "new.safetensors"


def test_checkpoints_are_not_listed_but_can_be_added(
    store: ProjectStore, model: Model
) -> None:
    path = saved(model, store.run_folder / "run.checkpoint.safetensors")
    saved(model, store.run_folder / "run.checkpoint")
    models = ModelList(store, Preferences())
    assert names(models) == []
    models.select(path)
    assert models.selected == path


def test_a_model_that_was_added_is_at_the_top_and_remembered(
    store: ProjectStore, model: Model, tmp_path: Path
) -> None:
    saved(model, store.run_folder / "run.safetensors")
    models = ModelList(store, Preferences())
    changes: list[int] = []
    models.changed.connect(lambda: changes.append(1))
    models.add(saved(model, tmp_path / "dropped.safetensors", 1000))
    assert names(models) == ["dropped", "run"]
    assert changes == [1]
    assert models.selected == store.run_folder / "run.safetensors"
    assert names(ModelList(store, Preferences())) == ["dropped", "run"]


def test_the_model_used_last_is_chosen_next_time(
    store: ProjectStore, model: Model
) -> None:
    saved(model, store.run_folder / "new.safetensors", 3000)
    old = saved(model, store.run_folder / "old.safetensors", 1000)
    models = ModelList(store, Preferences())
    models.select(old)
    models.note_use()
    assert ModelList(store, Preferences()).selected == old


def test_a_file_that_is_no_model_is_told_in_a_sentence(
    store: ProjectStore, tmp_path: Path
) -> None:
    bad = store.run_folder / "bad.safetensors"
    bad.write_bytes(b"nothing")
    models = ModelList(store, Preferences())
    assert models.entries == ()
    assert "bad.safetensors is not a napari-unet model" in models.problems[bad]
    with pytest.raises(ValueError, match="is not a napari-unet model"):
        models.select(bad)
    with pytest.raises(ValueError, match="there is no model file"):
        models.add(tmp_path / "gone.safetensors")
    assert models.selected is None


def test_a_chosen_model_that_is_written_anew_is_read_again(
    store: ProjectStore, model: Model
) -> None:
    path = saved(model, store.run_folder / "run.safetensors", 1000)
    models = ModelList(store, Preferences())
    told: list[int] = []
    models.selected_changed.connect(lambda: told.append(1))
    models.refresh()
    assert told == []
    saved(type(model)(model.card.replace(steps=70), model.weights), path, 2000)
    models.refresh()
    assert told == [1]
    assert models.card is not None
    assert models.card.steps == 70


def test_a_chosen_model_that_is_gone_is_not_chosen(
    store: ProjectStore, model: Model
) -> None:
    path = saved(model, store.run_folder / "run.safetensors")
    models = ModelList(store, Preferences())
    path.unlink()
    models.refresh()
    assert models.selected is None
    assert models.entries == ()


def test_a_model_is_described_for_people(model: Model) -> None:
    records = tuple(
        ImageRecord(name=f"image {k}", sha256="0", annotated=1) for k in range(5)
    )
    card = model.card.replace(
        spacing_um=(0.65, 0.65),
        score=Score(loss=0.1, iou=0.876, pixels=10),
        steps=400,
        images=records,
        parent="first",
    )
    assert describe(card) == [
        ("Finds", "class 1"),
        ("Network", "2-D U-Net"),
        ("Pixel size", "0.65 × 0.65 µm"),
        ("Trained on", "image 0, image 1, image 2 and 2 more"),
        ("Held-out IoU", "0.88"),
        ("Steps", "400"),
        ("Started from", "first"),
    ]


def test_a_model_of_before_windows_were_recorded_says_what_is_taken(
    model: Model,
) -> None:
    table = model.card.architecture.replace(norm="instance")
    rows = dict(describe(model.card.replace(architecture=table)))
    assert "older programs set such windows side by side" in rows["Window"]
    recorded = model.card.replace(architecture=table.replace(window=(64, 64)))
    assert "Window" not in dict(describe(recorded))


def test_a_starter_that_was_corrected_is_for_what_the_starter_is_for(
    store: ProjectStore,
) -> None:
    starter = load_model(pretrained_model("nuclei"))
    names = ("well a1.tif t=3 z=1", "well a1.tif t=3 z=2", "well a2.tif")
    learnt = tuple(ImageRecord(name=n, sha256=n, annotated=9) for n in names)
    for number in range(4):
        card = starter.card.replace(images=starter.card.images + learnt[:number])
        path = store.run_folder / f"{number}.safetensors"
        save_model(type(starter)(card, starter.weights), path)
    entries = {entry.path.stem: entry for entry in ModelList(store, Preferences()).own}
    made_for = "nuclei in fluorescence, bright on dark, 8 to 120 pixels wide, corrected"
    assert [purpose_of(entries[name]) for name in "0123"] == [
        made_for,
        f"{made_for} on well a1.tif",
        f"{made_for} on well a1.tif",
        f"{made_for} on well a1.tif and 1 more",
    ]


def test_a_model_of_own_images_is_for_images_like_them(
    store: ProjectStore, model: Model
) -> None:
    images = (ImageRecord(name="well a1.tif", sha256="a", annotated=9),)
    own = type(model)(model.card.replace(images=images), model.weights)
    saved(own, store.run_folder / "own.safetensors")
    (entry,) = ModelList(store, Preferences()).own
    assert purpose_of(entry).endswith(" in images like well a1.tif")
