"""Nothing of a project is lost: kills, full disks, undo, another machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from example_models import cropping_model
from napari_unet.core.annotation.annotations import FinishedPart
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import Segmentation
from napari_unet.io import project_record as project_module
from napari_unet.io.image_paths import is_missing, located, resolved
from napari_unet.io.model_file import save_model
from napari_unet.io.project_record import (
    ImageSource,
    Project,
    ProjectClass,
    ProjectFile,
    ProjectImage,
)
from napari_unet.session import throttle
from napari_unet.session.annotating.edits import EditStream
from napari_unet.session.project.recovery import ProjectLockedError, default_root
from napari_unet.session.project.store import ProjectStore
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHOLE = (slice(None), slice(None))


def image(id_: str = "a", **changes: Any) -> ProjectImage:
    fields = {
        "id": id_,
        "name": f"cells {id_}",
        "sources": (ImageSource(layer="cells"),),
        "axes": "zcyx",
        "shape": (3, 2, 8, 10),
        "fingerprint": f"mark {id_}",
    }
    return ProjectImage.model_validate({**fields, **changes})


def plane(value: int = 0, **pixels: int) -> np.ndarray[Any, Any]:
    """Return a plane of one value, with pixels such as y2x3=5."""
    values = np.full((8, 10), value, np.int32)
    for name, pixel in pixels.items():
        y, x = name[1:].split("x")
        values[int(y), int(x)] = pixel
    return values


@pytest.fixture
def store(tmp_path: Path) -> ProjectStore:
    store = ProjectStore.create(tmp_path / "projects", "my work")
    store.update(store.project.with_image(image()))
    return store


def reopened(store: ProjectStore) -> ProjectStore:
    store.close()
    return ProjectStore.open(store.folder)


def paint(store: ProjectStore, z: int, y: int, x: int, value: int) -> None:
    box = (slice(y, y + 1), slice(x, x + 1))
    store.annotation("a").write(0, z, box, np.array([[value]]))


def test_projects_are_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    home = os.environ["NAPARI_UNET_HOME"]
    assert default_root() == Path(home) / "projects"
    monkeypatch.delenv("NAPARI_UNET_HOME")
    assert default_root().parts[-2:] == ("napari-unet", "projects")


def test_a_project_is_there_again_with_its_annotation(store: ProjectStore) -> None:
    paint(store, 1, 2, 3, 7)
    store.update(store.project.replace(name="renamed"))
    project = store.project
    store = reopened(store)
    assert store.project == project
    assert store.project.image("a").annotated
    assert store.annotation("a").array[1, 2, 3] == 7
    assert store.annotation("a").axes == "zyx"
    assert store.annotation("a").places == ((0, 1),)


def test_the_record_names_an_annotation_before_anything_is_painted(
    store: ProjectStore,
) -> None:
    store._saving.later(lambda: sleep(0.2))  # as on a disk that is slow
    store.annotation("a")
    kept = json.loads((store.folder / "project.json").read_text())
    assert list(kept["files"]) == ["a"]
    assert kept["project"]["images"][0]["annotated"]


def test_a_change_is_told_once_and_an_equal_project_is_none(
    store: ProjectStore,
) -> None:
    told: list[Project] = []
    store.changed.connect(told.append)
    store.update(store.project.replace(name="b"))
    store.update(store.project.replace(name="b"))
    assert [project.name for project in told] == ["b"]


def test_an_unknown_image_has_no_annotation(store: ProjectStore) -> None:
    with pytest.raises(KeyError, match="was removed from the project"):
        store.annotation("zzz")


def test_a_new_project_in_which_nothing_was_done_is_removed(tmp_path: Path) -> None:
    empty = ProjectStore.create(tmp_path)
    assert empty.folder.is_dir()
    empty.close()
    empty.close()
    assert not empty.folder.exists()
    kept = ProjectStore.create(tmp_path)
    (kept.run_folder / "model.safetensors").write_bytes(b"m")
    kept.close()
    assert kept.folder.is_dir()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which is saved, in seconds."""
    now = [100.0]
    monkeypatch.setattr(throttle, "monotonic", lambda: now[0])
    return now


def test_ticks_save_record_and_strokes_within_two_seconds(
    store: ProjectStore, clock: list[float]
) -> None:
    store.flush()
    store.update(store.project.replace(name="later"))
    paint(store, 0, 0, 0, 2)
    file = store.annotation("a")
    store.tick()
    assert file.dirty
    for _ in range(7):
        clock[0] += 0.25
        store.tick()
        # the disk has taken what was begun
        until(lambda: all(future.done() for future in store._saving._running))
    assert (
        json.loads((store.folder / "project.json").read_text())["project"]["name"]
        == "later"
    )
    assert not file.dirty


def test_a_record_that_cannot_be_saved_is_told_once_and_tried_again(
    store: ProjectStore, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    store.flush()
    told: list[str] = []
    store.save_failed.connect(told.append)
    tries: list[int] = []

    def full(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise OSError("the disk is full.")

    monkeypatch.setattr(project_module, "write_text", full)
    store.update(store.project.replace(name="later"))

    def tick() -> None:
        clock[0] += 0.1
        store.tick()

    until(lambda: len(tries) >= 3 and not store._saving._running, tick)
    assert told == ["the disk is full."]
    monkeypatch.undo()
    store = reopened(store)
    assert store.project.name == "later"


def test_a_project_is_open_once(store: ProjectStore) -> None:
    with pytest.raises(ProjectLockedError, match="is open in another napari window"):
        ProjectStore.open(store.folder)
    store.close()
    ProjectStore.open(store.folder).close()


def test_a_project_is_of_the_oldest_format_that_can_say_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "other", NETWORKS["unet"])  # type: ignore[arg-type]
    project = Project(id="a")
    for network, version in (("unet", 1), ("other", 2), ("unet", 1)):
        settings = project.training.with_network(network)
        project = project.replace(training=settings)
        ProjectFile(project=project).write(tmp_path)
        written = json.loads((tmp_path / "project.json").read_text())["project"]
        assert written["version"] == version
        assert ("network" in written["training"]) == (version == 2)
        project = ProjectFile.read(tmp_path).project
        assert project.training == settings
    for track, version in ((True, 2), (False, 1)):
        project = project.replace(segmentation=Segmentation(track=track))
        ProjectFile(project=project).write(tmp_path)
        written = json.loads((tmp_path / "project.json").read_text())["project"]
        assert written["version"] == version
        assert ("track" in written["segmentation"]) == track
        assert ProjectFile.read(tmp_path).project.segmentation.track == track


def test_so_it_is_with_what_came_later_for_cells_and_regions(tmp_path: Path) -> None:
    for changes, version in (({}, 1), ({"edge_smoothing": 2.0}, 2)):
        project = Project(id="a", segmentation=Segmentation(threshold=0.4, **changes))
        ProjectFile(project=project).write(tmp_path)
        written = json.loads((tmp_path / "project.json").read_text())["project"]
        assert written["version"] == version
        assert written["segmentation"].keys() >= {"threshold", *changes}
        assert "cells_by" not in written["segmentation"]
        assert ProjectFile.read(tmp_path).project == project.replace(version=version)


def test_what_cannot_be_read_is_refused_and_left_as_it_is(store: ProjectStore) -> None:
    store.close()
    path = store.folder / "project.json"
    whole = path.read_text()
    newer = json.loads(whole)
    newer["project"]["version"] = 3
    strange = json.loads(whole)
    strange["project"]["images"] = 3
    for text, sentence in [
        (whole[:100], "is damaged, it is no JSON"),
        ("[]", "the project file is damaged"),
        (json.dumps(newer), r"of a newer napari-unet \(format 3\); formats up to 2"),
        (json.dumps(strange), "damaged: project.images should be a valid tuple"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            ProjectStore.open(store.folder)
        assert path.read_text() == text
    path.write_text(whole)
    ProjectStore.open(store.folder).close()
    with pytest.raises(FileNotFoundError, match="is no project"):
        ProjectStore.open(store.folder.parent)


def test_images_of_an_older_project_are_trained_on_as_they_were_ticked(
    store: ProjectStore,
) -> None:
    store.update(store.project.with_image(image("b", use_for_training=False)))

    def as_before(kept: Any) -> None:
        for one in kept["project"]["images"]:
            one["ticked"] = one.pop("use_for_training")

    with contextlib.closing(ProjectStore.open(altered(store, as_before))) as opened:
        assert [i.use_for_training for i in opened.project.images] == [True, False]


def altered(store: ProjectStore, change: Callable[[Any], object]) -> Path:
    """Close a project and change what its file says; return its folder."""
    store.close()
    path = store.folder / "project.json"
    kept = json.loads(path.read_text())
    change(kept)
    path.write_text(json.dumps(kept))
    return store.folder


def first(kept: Any) -> Any:
    return kept["project"]["images"][0]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """Give a folder of somebody else, which is as before in the end."""
    folder = tmp_path / "victim"
    folder.mkdir()
    contents = {
        "notes.txt": b"precious",
        "notes.raw": b"",
        "notes.places": b"mine",
        "notes.raw.bak": b"precious",
        "notes.0-0-0-0.pending.npy": b"mine",
        "pixels.raw": bytes(3 * 8 * 10 * 4),
        "pixels.tif": b"II*",
        "secret.safetensors": b"PRIVATE KEY",
        "run.checkpoint.safetensors": b"weights",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    yield folder
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == contents


class TestHostile:
    """What a project's file says leads nowhere, and is refused in one sentence."""

    @pytest.mark.parametrize(
        "name",
        [
            "../victim/notes.raw",
            "../../victim/notes.raw",
            "../../victim/pixels.raw",
            "VICTIM/notes.raw",
            "VICTIM/pixels.raw",
            "..\\victim\\notes.raw",
            "C:notes.raw",
            "models/x.raw",
            "..",
            "",
            ".",
            "notes\x00.raw",
            "notes\n.raw",
            "n" * 300 + ".raw",
            "project.json",
            "open.lock",
        ],
    )
    def test_names_of_annotations_are_no_paths(
        self, name: str, store: ProjectStore, victim: Path
    ) -> None:
        paint(store, 1, 2, 3, 7)
        name = name.replace("VICTIM", str(victim))
        folder = altered(store, lambda kept: kept["files"].update(a=name))
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        with pytest.raises(
            ValueError, match=r"project\.json: .* files\.a|files \*"
        ) as e:
            ProjectStore.open(folder)
        assert "\n" not in str(e.value)
        assert len(str(e.value)) < 600
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

    @pytest.mark.parametrize("name", ["../../victim/notes", "..", "a/b", "/notes"])
    def test_nor_are_ids_of_images(
        self, name: str, store: ProjectStore, victim: Path
    ) -> None:
        folder = altered(store, lambda kept: first(kept).update(id=name))
        with pytest.raises(ValueError, match="id should be the plain name of a file"):
            ProjectStore.open(folder)

    @pytest.mark.skipif(os.name == "nt", reason="links need rights there")
    @pytest.mark.parametrize(
        ("name", "target"),
        [
            ("annotation-a.raw", "pixels.raw"),
            ("annotation-a.raw", "nothing"),
            ("annotation-a.places", "notes.txt"),
            ("annotation-a.0-0-0-0.pending.npy", "notes.txt"),
            ("project.json", "notes.txt"),
            ("open.lock", "notes.txt"),
            ("open.lock", "nothing"),
            ("models", ""),
        ],
    )
    def test_links_are_not_followed(
        self, name: str, target: str, store: ProjectStore, victim: Path
    ) -> None:
        paint(store, 1, 2, 3, 7)
        store.close()
        path = store.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(victim / target)
        told: list[str] = []
        try:
            opened = ProjectStore.open(store.folder)
            opened.opening_notes.connect(told.append)
            with contextlib.closing(opened):
                opened.annotation("a").write(0, 0, WHOLE, plane(3))
                opened.tick()
        except ValueError as error:
            told.append(str(error))
        assert len(told) == 1
        assert f"{path}: is a link" in told[0] or str(path) in told[0]

    @pytest.mark.parametrize("kind", ["working", "saved"])
    @pytest.mark.parametrize(
        "model",
        ["VICTIM/secret.safetensors", "../../victim/secret.safetensors", "models/../x"],
    )
    def test_models_of_this_person_are_not_copied_into_what_is_sent_back(
        self, kind: str, model: str, store: ProjectStore, tmp_path: Path, victim: Path
    ) -> None:
        if kind == "saved":
            store.save_as(tmp_path / "sent" / "project")
        model = model.replace("VICTIM", str(victim))
        store.close()
        foreign = tmp_path / "sent" / "project"
        if kind == "working":
            shutil.copytree(store.folder, foreign)
        kept = json.loads((foreign / "project.json").read_text())
        kept["project"]["models"] = ["models/own.safetensors", model]
        kept["project"]["start"] = model
        (foreign / "project.json").write_text(json.dumps(kept))
        (foreign / "models").mkdir(exist_ok=True)
        (foreign / "models" / "own.safetensors").write_bytes(b"own")
        if os.name == "posix":
            secret = victim / "secret.safetensors"
            (foreign / "models" / "linked.safetensors").symlink_to(secret)
        with contextlib.closing(ProjectStore.open(foreign)) as opened:
            told: list[str] = []
            opened.opening_notes.connect(told.append)
            opened.tick()
            assert opened.project.models == ("models/own.safetensors",)
            assert opened.project.start is None
            assert [model in sentence for sentence in told] == [True]
            opened.save_as(tmp_path / "back")
        back = [p for p in (tmp_path / "back").rglob("*") if p.is_file()]
        assert [p.name for p in back if b"PRIVATE" in p.read_bytes()] == []
        assert (tmp_path / "back" / "models" / "own.safetensors").exists()

    @pytest.mark.parametrize("name", ["../victim/pixels.tif", "VICTIM/pixels.tif"])
    def test_a_saved_folder_takes_no_masks_from_elsewhere(
        self, name: str, store: ProjectStore, tmp_path: Path, victim: Path
    ) -> None:
        paint(store, 1, 2, 3, 7)
        store.save_as(tmp_path / "saved")
        path = tmp_path / "saved" / "project.json"
        kept = json.loads(path.read_text())
        kept["files"]["a"] = name.replace("VICTIM", str(victim))
        path.write_text(json.dumps(kept))
        with pytest.raises(ValueError, match="should be the plain name of a file"):
            ProjectStore.open(tmp_path / "saved")

    @pytest.mark.skipif(os.name == "nt", reason="links need rights there")
    def test_nor_through_a_link(
        self, store: ProjectStore, tmp_path: Path, victim: Path
    ) -> None:
        paint(store, 1, 2, 3, 7)
        store.save_as(tmp_path / "saved")
        masks = tmp_path / "saved" / "cells a annotation.tif"
        masks.rename(tmp_path / "private.tif")
        masks.symlink_to(tmp_path / "private.tif")
        root = default_root()
        with pytest.raises(ValueError, match="is a link, and is not opened"):
            ProjectStore.open(tmp_path / "saved")
        assert not root.exists() or list(root.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda kept: first(kept).update(shape=[10**12] * 4), "less than or equal"),
            (lambda kept: first(kept).update(shape=[2**30] * 4), "pixels in all"),
            (
                lambda kept: first(kept).update(shape=[2**30, 1, 1, 1]),
                "planes are kept",
            ),
            (
                lambda kept: first(kept).update(shape=[0, 2, 8, 10]),
                "greater than or eq",
            ),
            (lambda kept: first(kept).update(shape=[3, 2, 8]), "one size for each of"),
            (lambda kept: first(kept).update(shape=[1e300] * 4), "number 1e\\+300"),
            (lambda kept: first(kept).update(axes="zcyxx"), "different letters"),
            (lambda kept: first(kept).update(axes="zczx"), "different letters"),
            (lambda kept: first(kept).update(axes="qcyx"), "different letters"),
            (lambda kept: first(kept).update(level=10**400), "the number 1000"),
            (
                lambda kept: first(kept).update(
                    finished=[{"z": 0, "box": [[0, 1e300], [0, 1]]}]
                ),
                "number 1e\\+300",
            ),
            (
                lambda kept: first(kept).update(
                    finished=[{"z": 10**30, "box": [[0, 1], [0, 1]]}]
                ),
                "finished",
            ),
            (lambda kept: first(kept).update(class_of={"7": 0}), "class_of"),
            (lambda kept: first(kept).update(class_of={"x": 1}), "class_of"),
            (lambda kept: kept["project"]["images"].append(first(kept)), "the same"),
            (lambda kept: kept["files"].update(b=kept["files"]["a"]), "the same"),
            (lambda kept: kept["project"].update(version="1.0.0"), "version"),
            (lambda kept: kept["project"].update(version=-1), "version"),
            (lambda kept: kept["project"].update(classes=[{}] * 9 + [7]), "classes"),
            (lambda kept: kept.update(project=[]), "is damaged"),
            (lambda kept: kept["project"].update(name=["x" * 10**6]), "name"),
        ],
        ids=map(str, range(21)),
    )
    def test_wild_values_are_told_in_one_short_sentence(
        self, change: Callable[[Any], object], told: str, store: ProjectStore
    ) -> None:
        paint(store, 1, 2, 3, 7)
        folder = altered(store, change)
        with pytest.raises(ValueError, match=told) as caught:
            ProjectStore.open(folder)
        assert str(caught.value).startswith(str(folder / "project.json"))
        assert len(str(caught.value)) < 700
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            b'{"project":' * 5000 + b"1" + b"}" * 5000,
            b"[" * 100_000,
            b"\xff\xfe{}",
            b'{"project": {"name": "\xff"}}',
            b'{"project": {"name": "\\ud800"}}',
            b'{"project": {"version": ' + b"9" * 10_000 + b"}}",
            b'{"project": {"version": NaN}}',
            b"",
            bytes(1000),
            b" " * (2**26 + 1),
            b"null",
            b'"project"',
        ],
        ids=map(str, range(12)),
    )
    def test_what_is_no_record_is_told(self, text: bytes, store: ProjectStore) -> None:
        store.close()
        (store.folder / "project.json").write_bytes(text)
        with pytest.raises(ValueError, match="is damaged") as caught:
            ProjectStore.open(store.folder)
        assert str(caught.value).startswith(str(store.folder / "project.json"))
        assert len(str(caught.value)) < 400


def test_strays_of_killed_writers_go_when_the_project_is_opened(
    store: ProjectStore,
) -> None:
    models = store.run_folder
    store.close()
    old, new = f".napari-unet-{'a' * 32}.part", f".napari-unet-{'b' * 32}.part"
    for path in (store.folder / new, models / new, models / old):
        path.write_bytes(b"half")
    os.utime(models / old, (0, 0))
    (models / f".napari-unet-{'c' * 32}.mine").touch()
    ProjectStore.open(store.folder).close()
    assert not (store.folder / new).exists()
    # a worker may be writing that one still
    assert sorted(p.name for p in models.iterdir()) == [
        new,
        f".napari-unet-{'c' * 32}.mine",
    ]


def test_an_annotation_that_is_gone_is_told(store: ProjectStore) -> None:
    paint(store, 1, 2, 3, 7)
    store.close()
    for path in store.folder.glob("annotation-*"):
        path.unlink()
    told: list[str] = []
    with contextlib.closing(ProjectStore.open(store.folder)) as opened:
        opened.opening_notes.connect(told.append)
        assert not opened.annotation("a").array.any()
        opened.tick()
        opened.tick()
    assert len(told) == 1
    assert "the annotation of cells a is not there any more" in told[0]


@pytest.mark.skipif(os.name == "nt", reason="has no such permissions")
def test_all_of_it_is_of_this_person_alone(tmp_path: Path) -> None:
    home = tmp_path / "home" / "napari-unet"
    store = ProjectStore.create(home / "projects")
    store.update(store.project.with_image(image()))
    paint(store, 1, 2, 3, 7)
    store.flush()
    assert store.run_folder.is_dir()
    store.save_as(tmp_path / "shared" / "saved")
    for path in (home.parent, *home.parent.rglob("*")):
        if path.name != "open.lock":
            allowed = 0o700 if path.is_dir() else 0o600
            assert path.stat().st_mode & 0o777 == allowed, path
    # where it is sent to others, the person's own mask holds
    mask = os.umask(0)
    os.umask(mask)
    saved = tmp_path / "shared" / "saved" / "project.json"
    assert saved.stat().st_mode & 0o777 == 0o666 & ~mask
    store.close()


class TestUndo:
    """Steps of the record and of annotations."""

    def test_a_step_is_undone_but_not_what_came_later(
        self, store: ProjectStore
    ) -> None:
        undone: list[None] = []
        store.undone.connect(lambda: undone.append(None))
        part = FinishedPart(z=1, box=((0, 8), (0, 10)))
        start = store.project.image("a").replace(class_of={3: 2})
        store.update(store.project.with_image(start))
        changed = start.replace(class_of={3: 1, 4: 2}, finished=(part,))
        store.update(store.project.with_image(changed), "finish slice")
        later = FinishedPart(z=2, box=((0, 8), (0, 10)))
        now = store.project.image("a").replace(
            class_of={3: 1, 4: 2, 9: 2}, finished=(part, later), use_for_training=False
        )
        store.update(store.project.with_image(now).with_image(image("b")))
        assert store.can_undo == "finish slice"
        assert store.undo() == "finish slice"
        back = store.project.image("a")
        assert back.class_of == {3: 2, 9: 2}
        assert back.finished == (later,)
        assert not back.use_for_training
        assert [i.id for i in store.project.images] == ["a", "b"]
        assert len(undone) == 1
        assert store.can_undo is None
        assert store.undo() is None

    def test_classes_and_removed_images_come_back(self, store: ProjectStore) -> None:
        paint(store, 1, 2, 3, 7)
        classes = (ProjectClass(name="x"), ProjectClass(name="y"))
        store.update(store.project.replace(classes=classes), "add class")
        store.update(store.project.without_image("a"), "remove image")
        store.flush()
        assert store.undo() == "remove image"
        assert store.annotation("a").array[1, 2, 3] == 7
        assert store.undo() == "add class"
        assert store.project.classes == (ProjectClass(),)

    def test_cells_of_a_class_whose_adding_is_undone_are_of_the_first(
        self, store: ProjectStore
    ) -> None:
        classes = (ProjectClass(), ProjectClass(name="debris"))
        store.update(store.project.replace(classes=classes), "add class debris")
        store.update(store.project.with_image(image(class_of={4: 2, 5: 1})))
        assert store.undo() == "add class debris"
        assert store.project.classes == classes[:1]
        assert store.project.image("a").class_of == {5: 1}

    def test_an_import_is_undone_but_not_what_was_painted_since(
        self, store: ProjectStore
    ) -> None:
        paint(store, 1, 2, 3, 7)
        replaced: list[str] = []
        store.replaced.connect(replaced.append)
        before = store.annotation("a")
        imported = np.stack([plane(5), plane(6), plane(0)])
        store.replace_annotation("a", imported, "import masks")
        assert before.retired
        np.testing.assert_array_equal(store.annotation("a").array, imported)
        assert store.annotation("a").places == ((0, 0), (0, 1))
        paint(store, 0, 4, 4, 9)
        paint(store, 2, 5, 5, 8)
        assert store.undo() == "import masks"
        expected = np.stack([plane(y4x4=9), plane(y2x3=7), plane(y5x5=8)])
        np.testing.assert_array_equal(store.annotation("a").array, expected)
        assert store.annotation("a").highest == 9
        assert replaced == ["a", "a"]
        store = reopened(store)
        np.testing.assert_array_equal(store.annotation("a").array, expected)
        assert len(list(store.folder.glob("*.raw"))) == 1

    def test_what_no_event_told_of_is_kept_when_an_annotation_is_replaced(
        self, store: ProjectStore
    ) -> None:
        layer = ViewerModel().add_labels(store.annotation("a").copy())
        stream = EditStream(layer, store.annotation("a"))
        layer.data[1, 2, 3] = 7
        store.replace_annotation("a", {(0, 0): plane(2)}, "import")
        assert store.annotation("a").array[1, 2, 3] == 7
        stream.detach()
        layer.data = store.annotation("a").copy()
        EditStream(layer, store.annotation("a"))
        layer.data[2, 4, 5] = 8
        store.undo()
        expected = np.stack([plane(), plane(y2x3=7), plane(y4x5=8)])
        np.testing.assert_array_equal(store.annotation("a").array, expected)

    def test_imports_are_undone_one_after_the_other(self, store: ProjectStore) -> None:
        store.replace_annotation("a", np.stack([plane(2)] * 3), "first")
        paint(store, 0, 1, 1, 5)
        store.replace_annotation("a", {(0, 2): plane(3)}, "second")
        expected = np.stack([plane(2, y1x1=5), plane(2), plane(3)])
        np.testing.assert_array_equal(store.annotation("a").array, expected)
        paint(store, 1, 7, 7, 6)
        store.undo()
        expected = np.stack([plane(2, y1x1=5), plane(2, y7x7=6), plane(2)])
        np.testing.assert_array_equal(store.annotation("a").array, expected)
        store.undo()
        expected = np.stack([plane(y1x1=5), plane(y7x7=6), plane()])
        np.testing.assert_array_equal(store.annotation("a").array, expected)

    def test_undoing_the_first_import_leaves_no_annotation(
        self, store: ProjectStore
    ) -> None:
        store.replace_annotation("a", np.stack([plane(2)] * 3), "import")
        assert store.project.image("a").annotated
        store.undo()
        assert not store.project.image("a").annotated
        assert not store.annotation("a").array.any()

    def test_a_record_that_belongs_to_an_import_is_undone_with_it(
        self, store: ProjectStore
    ) -> None:
        classed = store.project.with_image(image().replace(class_of={2: 1}))
        store.replace_annotation("a", {(0, 0): plane(2)}, "import", classed)
        assert store.project.image("a").class_of == {2: 1}
        store.undo()
        assert store.project.image("a").class_of == {}
        assert store.can_undo is None

    def test_a_removed_annotation_comes_back_with_what_was_painted_since(
        self, store: ProjectStore
    ) -> None:
        paint(store, 1, 2, 3, 7)
        store.remove_annotation("a", "remove annotation")
        assert not store.project.image("a").annotated
        assert not store.annotation("a").array.any()
        paint(store, 0, 0, 0, 4)
        store.undo()
        expected = np.stack([plane(y0x0=4), plane(y2x3=7), plane()])
        np.testing.assert_array_equal(store.annotation("a").array, expected)
        store.remove_annotation("a", "again")
        store = reopened(store)
        assert not store.project.image("a").annotated
        assert list(store.folder.glob("*.raw")) == []

    def test_only_the_last_twenty_steps_keep_their_files(
        self, store: ProjectStore
    ) -> None:
        for number in range(25):
            store.replace_annotation("a", {(0, 0): plane(number + 2)}, str(number))
        # files are deleted in the background
        store._saving.now(lambda: None)
        assert len(list(store.folder.glob("*.raw"))) == 21
        assert [store.undo() for _ in range(21)][-2:] == ["5", None]
        assert store.annotation("a").array[0, 0, 0] == 4 + 2

    def test_an_annotation_that_does_not_fit_changes_nothing(
        self, store: ProjectStore
    ) -> None:
        paint(store, 1, 2, 3, 7)
        for planes, sentence in [
            (
                np.zeros((3, 8, 11), int),
                r"has the shape \(3, 8, 10\), found \(3, 8, 11",
            ),
            (np.full((3, 8, 10), -1), "found -1 to -1"),
            ({(0, 0): np.zeros((8, 11), int)}, r"is \(8, 10\) pixels, found \(8, 11\)"),
        ]:
            with pytest.raises(ValueError, match=sentence):
                store.replace_annotation("a", planes, "import")
        assert store.can_undo is None
        assert store.annotation("a").array[1, 2, 3] == 7
        assert len(list(store.folder.glob("*.raw"))) == 1

    def test_a_full_disk_changes_nothing(
        self, store: ProjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paint(store, 1, 2, 3, 7)
        store.flush()

        def full(*_: Any, **__: Any) -> None:
            raise OSError("the disk is full.")

        monkeypatch.setattr(project_module, "write_text", full)
        project = store.project
        with pytest.raises(OSError, match="the disk is full"):
            store.replace_annotation("a", {(0, 1): plane(2)}, "import")
        assert store.project == project
        assert store.can_undo is None
        paint(store, 1, 2, 4, 8)
        monkeypatch.undo()
        assert reopened(store).annotation("a").array[1, 2, 3:5].tolist() == [7, 8]


class TestSavedFolder:
    """A project saved as a folder opens anywhere."""

    @pytest.fixture
    def saved(self, store: ProjectStore, tmp_path: Path) -> Path:
        pictures = tmp_path / "work" / "pictures"
        pictures.mkdir(parents=True)
        for name in ("one.tif", "two.tif"):
            (pictures / name).write_bytes(b"pixels")
        outside = tmp_path / "outside.safetensors"
        save_model(cropping_model(), outside)
        (store.run_folder / "run.safetensors").write_bytes(b"run")
        sources = tuple(
            ImageSource(path=str(pictures / name)) for name in ("one.tif", "two.tif")
        )
        first = image("a", sources=sources, class_of={7: 1}, spacing_um=(2, 1, 1))
        flat = image("b", name="cells a", axes="yx", shape=(8, 10))
        project = store.project.with_image(first).with_image(flat)
        letter = tmp_path / "letter.safetensors"
        letter.write_text("private")
        models = ("models/run.safetensors", str(outside), str(letter))
        store.update(project.replace(models=models, start=str(outside)))
        paint(store, 2, 3, 4, 70_000)
        store.annotation("b").write(0, 0, WHOLE, plane(1))
        folder = tmp_path / "work" / "saved"
        store.save_as(folder)
        return folder

    def test_fiji_can_read_its_annotations(self, saved: Path) -> None:
        assert sorted(p.name for p in saved.iterdir()) == [
            "cells a annotation 2.tif",
            "cells a annotation.tif",
            "models",
            "project.json",
        ]
        labels = tifffile.imread(saved / "cells a annotation.tif")
        assert labels.shape == (3, 8, 10)
        assert labels[2, 3, 4] == 70_000
        with tifffile.TiffFile(saved / "cells a annotation 2.tif") as flat:
            assert flat.is_imagej

    def test_it_opens_on_another_machine(
        self, saved: Path, store: ProjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.close()
        elsewhere = saved.parents[1] / "elsewhere"
        saved.parent.rename(elsewhere)
        outside = elsewhere.parent / "outside.safetensors"
        content = outside.read_bytes()
        outside.unlink()
        monkeypatch.setenv("NAPARI_UNET_HOME", str(elsewhere / "home"))
        opened = ProjectStore.open(elsewhere / "saved")
        assert opened.folder.parent == default_root()
        assert opened.annotation("a").array[2, 3, 4] == 70_000
        assert opened.annotation("a").places == ((0, 2),)
        assert opened.annotation("a").highest == 70_000
        assert (opened.annotation("b").array == 1).all()
        assert opened.missing == []
        found = [source.path for source in opened.project.image("a").sources]
        assert found == [
            str(elsewhere / "pictures" / name) for name in ("one.tif", "two.tif")
        ]
        assert opened.project.classes == store.project.classes
        assert opened.project.image("a").class_of == {7: 1}
        models = [opened.folder / model for model in opened.project.models]
        assert [model.read_bytes() for model in models] == [b"run", content]
        # what is no model is handed on to nobody
        sent = (elsewhere / "saved" / "models").iterdir()
        assert sorted(f.name for f in sent) == [
            "outside.safetensors",
            "run.safetensors",
        ]
        assert opened.project.start == "models/outside.safetensors"

    def test_opened_again_it_has_what_was_done_in_it(self, saved: Path) -> None:
        first = ProjectStore.open(saved)
        paint(first, 0, 0, 0, 5)
        with pytest.raises(ProjectLockedError, match="open in another napari"):
            ProjectStore.open(saved)
        first.close()
        again = ProjectStore.open(saved)
        assert again.folder == first.folder
        assert again.annotation("a").array[0, 0, 0] == 5

    def test_saved_again_it_is_opened_anew(
        self, saved: Path, store: ProjectStore
    ) -> None:
        first = ProjectStore.open(saved)
        paint(store, 0, 1, 1, 3)
        store.save_as(saved)
        second = ProjectStore.open(saved)
        assert second.folder != first.folder
        assert second.annotation("a").array[0, 1, 1] == 3

    def test_another_project_is_not_overwritten(
        self, saved: Path, store: ProjectStore, tmp_path: Path
    ) -> None:
        other = ProjectStore.create(tmp_path / "others")
        with pytest.raises(ValueError, match="holds the project 'my work'"):
            other.save_as(saved)
        with pytest.raises(ValueError, match="choose a new folder"):
            store.save_as(store.folder)

    def test_images_that_moved_are_missing_until_located(self, saved: Path) -> None:
        pictures = saved.parent / "pictures"
        moved = pictures.rename(saved.parents[1] / "moved")
        opened = ProjectStore.open(saved)
        assert [i.id for i in opened.missing] == ["a"]
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            located(opened.project, "a", pictures / "one.tif")
        # the second channel is found beside the first
        (image,) = located(opened.project, "a", moved / "one.tif")
        assert image.id == "a"
        opened.update(opened.project.with_image(image))
        assert opened.missing == []
        opened = reopened(opened)
        assert [s.path for s in opened.project.image("a").sources] == [
            str(moved / "one.tif"),
            str(moved / "two.tif"),
        ]

    def test_images_by_url_and_several_of_a_file_are_found(self, saved: Path) -> None:
        for path in ("s3://bucket/a.zarr", f"{saved.parent}/pictures/one.tif#2"):
            given = image("a", sources=(ImageSource(path=path),))
            assert not is_missing(given)
            assert resolved(given, saved, {}) == given

    def test_images_of_another_drive_of_windows_are_found_elsewhere(
        self, saved: Path
    ) -> None:
        record = saved / project_module.FILE_NAME
        kept = json.loads(record.read_text(encoding="utf-8"))
        names = [r"Z:\data\one.tif", r"\\server\data\two.tif"]
        for source, name in zip(
            kept["project"]["images"][0]["sources"], names, strict=True
        ):
            source["path"] = name
        record.write_text(json.dumps(kept), encoding="utf-8")
        opened = ProjectStore.open(saved)
        assert [s.path for s in opened.project.image("a").sources] == names
        assert [i.id for i in opened.missing] == ["a"]
        pictures = saved.parent / "pictures"
        found = [str(pictures / name) for name in ("one.tif", "two.tif")]
        (image,) = located(opened.project, "a", pictures / "one.tif")
        assert [s.path for s in image.sources] == found
        opened.close()
        for path in pictures.iterdir():
            path.rename(saved / path.name)
        shutil.rmtree(opened.folder)
        assert ProjectStore.open(saved).missing == []

    def test_images_beside_the_project_are_found(self, saved: Path) -> None:
        for path in (saved.parent / "pictures").iterdir():
            path.rename(saved / path.name)
        assert ProjectStore.open(saved).missing == []

    def test_a_damaged_annotation_is_told_and_no_copy_stays(self, saved: Path) -> None:
        wrong = np.zeros((3, 8, 9), np.uint8)
        path = saved / "cells a annotation.tif"
        tifffile.imwrite(path, wrong, photometric="minisblack")
        with pytest.raises(ValueError, match="3 × 8 × 9 in place of 1 × 3 × 8 × 10"):
            ProjectStore.open(saved)
        assert list(default_root().iterdir()) == []


PAINTER = """
import sys
from pathlib import Path
import numpy as np
from napari.components import ViewerModel
from napari_unet.session import throttle
from napari_unet.session.annotating.edits import EditStream
from napari_unet.io.project_record import ImageSource, ProjectImage
from napari_unet.session.project.store import ProjectStore

now, ticked, number = 0.0, 0.0, 2
throttle.monotonic = lambda: now
store = ProjectStore.create(Path(sys.argv[1]))
image = ProjectImage(
    id="a", name="a", sources=(ImageSource(),), axes="zyx", shape=(4, 600, 600),
    fingerprint="mark",
)
store.update(store.project.with_image(image))
file = store.annotation("a")
viewer = ViewerModel()
layer = viewer.add_labels(file.copy())
layer.brush_size = 1
stream = EditStream(layer, file, viewer)
stream.edited.connect(lambda edit: sys.stdout.write(f"{file.highest} {now}\\n"))
while True:
    z, rest = divmod(number, 90_000)
    place = (z % 4, 2 * (rest // 300), 2 * (rest % 300))
    if number % 2:
        layer.paint(place, number)
    else:
        layer.data_setitem(tuple(np.array([i]) for i in place), number)
    image = store.project.image("a").replace(class_of={2: 1, 3: number})
    store.update(store.project.with_image(image))
    sys.stdout.flush()
    number += 1
    now += 0.01
    if now > ticked + 0.1:
        stream.tick()
        store.tick()
        for running in store._saving._running:
            running.exception()
        ticked = now
"""


def test_a_kill_while_painting_loses_no_stroke(tmp_path: Path) -> None:
    painter = subprocess.Popen(
        [sys.executable, "-c", PAINTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with painter:
        if painter.stdout is None:
            pytest.fail("no output")
        painter.stdout.readline()
        folder = next(tmp_path.glob("*/project.json")).parent
        with pytest.raises(ProjectLockedError):
            ProjectStore.open(folder)
        lines = [painter.stdout.readline() for _ in range(500)]
        painter.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        lines += painter.stdout.read().split("\n")[:-1]
    painted = {int(number): float(time) for number, time in map(str.split, lines)}
    last = max(painted)
    store = ProjectStore.open(folder)  # the lock of a killed process is free
    file = store.annotation("a")
    assert file.places == ((0, 0),)
    there = np.unique(np.asarray(file.array)).tolist()
    # The stroke after the last one told may be there or not.
    assert there[1:] in (list(range(2, last + 1)), list(range(2, last + 2)))
    assert file.highest >= last
    # Of the record, at most the last two seconds of the painter's time are lost.
    recorded = store.project.image("a").class_of[3]
    assert painted[recorded] > painted[last] - 2
    store.close()
