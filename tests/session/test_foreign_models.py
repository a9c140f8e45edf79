from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from example_models import random_model
from napari_unet.core.events import ModelFormatsFound, ModelWritten
from napari_unet.core.jobs import ConvertModelJob, ExportModelJob, ModelFormatsJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.io.model_file import save_model
from napari_unet.session.foreign_models import ForeignModels, is_foreign
from napari_unet.session.models import ModelList
from napari_unet.session.preferences import Preferences
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.session.project.store import ProjectStore

MODEL = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))


class Bench(SessionBench):
    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.models = ModelList(store, Preferences())
        self.foreign = ForeignModels(self.session, self.models)
        self.told: list[tuple[str, str]] = []
        self.foreign.message.connect(lambda *words: self.told.append(words))

    def close(self) -> None:
        self.foreign.close()
        super().close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, lambda call: call())
    yield bench
    bench.close()


def converted(bench: Bench, *notes: str) -> str:
    """The worker does its job; where it wrote."""
    (handle,) = bench.worker.running(ConvertModelJob)
    target = bench.worker.jobs(ConvertModelJob)[-1].target
    (bench.store.run_folder / "converted").mkdir(exist_ok=True)
    save_model(MODEL, target)
    bench.worker.emit(handle, ModelWritten(target, notes))
    bench.worker.end(handle)
    return str(target)


def test_a_foreign_model_becomes_one_of_the_project_and_is_chosen(
    bench: Bench, tmp_path: Path
) -> None:
    source = tmp_path / "cell_net.modeldef.h5"
    bench.foreign.take(source)
    assert bench.foreign.running
    assert bench.foreign.status == "Reading cell_net.modeldef.h5 …"
    (job,) = bench.worker.jobs(ConvertModelJob)
    assert job.source == str(source)
    target = converted(bench, "Its classes have no names.")
    assert target == str(bench.store.run_folder / "converted" / "cell_net.safetensors")
    assert str(bench.models.selected) == target
    assert not bench.foreign.running
    ((level, sentence),) = bench.told
    assert level == "info"
    assert sentence.startswith("cell_net.modeldef.h5 is the model “cell_net” of this")
    # what was assumed is told
    assert sentence.endswith("Its classes have no names.")
    # it is there when the project is opened again
    bench.reopen()
    assert [str(e.path) for e in bench.models.entries] == [target]


def test_a_model_of_the_same_name_replaces_none(bench: Bench, tmp_path: Path) -> None:
    targets = []
    for _ in range(3):
        bench.foreign.take(tmp_path / "cell_net.caffemodel.h5")
        targets.append(converted(bench).rpartition("/")[2])
    names = ["cell_net", "cell_net 2", "cell_net 3"]
    assert targets == [f"{name}.safetensors" for name in names]


def test_what_cannot_be_read_is_told_and_chooses_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    bench.foreign.take(tmp_path / "a.pth")
    bench.worker.fail(bench.worker.last, "a.pth is no model.")
    assert bench.told == [("error", "a.pth is no model.")]
    assert bench.models.selected is None
    assert not bench.foreign.running


def test_one_model_is_read_at_a_time(bench: Bench, tmp_path: Path) -> None:
    bench.foreign.take(tmp_path / "a.pth")
    bench.foreign.take(tmp_path / "b.pth")
    assert bench.told == [("error", "Reading a.pth … Wait until it is done.")]
    assert len(bench.worker.jobs(ConvertModelJob)) == 1


def test_both_files_of_one_model_may_be_dropped(bench: Bench, tmp_path: Path) -> None:
    first, second = (tmp_path / f"a.{part}.h5" for part in ("modeldef", "caffemodel"))
    bench.foreign.take(first)
    bench.foreign.take(second)
    assert not bench.told
    assert [job.source for job in bench.worker.jobs(ConvertModelJob)] == [str(first)]
    bench.foreign.take(tmp_path / "b.caffemodel.h5")
    ((level, _),) = bench.told
    assert level == "error"


def test_what_comes_after_the_project_is_closed_chooses_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    bench.foreign.take(tmp_path / "a.pth")
    handle = bench.worker.last
    bench.foreign.close()
    assert bench.worker.cancelled == [handle]
    bench.worker.emit(handle, ModelWritten(str(tmp_path / "a.safetensors"), ()))
    bench.worker.end(handle, cancelled=True)
    assert bench.told == []
    assert bench.models.selected is None


def test_a_model_is_written_for_another_program(bench: Bench, tmp_path: Path) -> None:
    model, path = tmp_path / "cells.safetensors", tmp_path / "cells.modeldef.h5"
    bench.foreign.export(model, path, "fiji")
    (job,) = bench.worker.jobs(ExportModelJob)
    assert (job.model, job.target, job.format) == (str(model), str(path), "fiji")
    assert bench.foreign.status == "Writing cells.modeldef.h5 …"
    bench.worker.emit(bench.worker.last, ModelWritten(str(path), ("No names.",)))
    bench.worker.end(bench.worker.last)
    assert bench.told == [("info", f"{path} is written. No names.")]


def test_the_formats_are_those_of_the_worker(bench: Bench) -> None:
    bench.foreign.ask_formats()
    assert bench.foreign.formats == ()
    (handle,) = bench.worker.running(ModelFormatsJob)
    (event,) = bench.worker.compute(handle)
    assert isinstance(event, ModelFormatsFound)
    bench.worker.emit(handle, event)
    bench.worker.end(handle)
    found = {one.name: one for one in bench.foreign.formats}
    assert found["fiji"].suffixes[0] == ".modeldef.h5"
    bench.foreign.ask_formats()
    assert len(bench.worker.jobs(ModelFormatsJob)) == 1


@pytest.mark.parametrize(
    ("file", "is_model"),
    [
        ("a.modeldef.h5", True),
        ("a.CaffeModel.h5", True),
        ("a.pth", True),
        ("a.onnx", True),
        ("rdf.yaml", True),
        ("plans.json", True),
        ("other.json", False),
        ("image.h5", False),
        ("a.tif", False),
        ("gone.zip", False),
    ],
)
def test_what_is_of_another_program_is_seen_by_its_name(
    tmp_path: Path, file: str, is_model: bool
) -> None:
    assert is_foreign(tmp_path / file) == is_model


def test_folders_and_zip_files_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    for name, inside in (("package", "rdf.yaml"), ("rois", "1.roi")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / inside).write_text("a: b")
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as file:
            file.write(folder / inside, inside)
        for path in (folder, tmp_path / f"{name}.zip"):
            assert is_foreign(path) == (name == "package")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 no more")
    assert not is_foreign(tmp_path / "broken.zip")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("v1.2 net.caffemodel.h5", "v1.2 net"),
        ("Dataset1/plans.json", "Dataset1"),
        ("broad/rdf.yaml", "broad"),
        ("my.model.zip", "my.model"),
        ("weights", "weights"),
    ],
)
def test_a_model_is_called_as_its_file_or_folder(
    bench: Bench, tmp_path: Path, given: str, name: str
) -> None:
    bench.foreign.take(tmp_path / given)
    (job,) = bench.worker.jobs(ConvertModelJob)
    assert job.source == str(tmp_path / given)
    assert job.target.endswith(f"/{name}.safetensors")
