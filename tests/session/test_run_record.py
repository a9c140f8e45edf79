from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from napari_unet.core.recipe import Training
from napari_unet.session.training.run_record import (
    RunRecord,
    latest_model,
    name_for_run,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 21, 14, 3)
RECORD = RunRecord(
    name="nuclei 2026-11-21 14.03",
    settings=Training(patch=20),
    images=("a", "b"),
    places=(((0, 3), (1, 0)), ((0, None),)),
)


def test_a_name_is_what_was_trained_on_and_when(tmp_path: Path) -> None:
    assert name_for_run("nuclei", NOW, tmp_path) == "nuclei 2026-11-21 14.03"


def test_a_name_holds_nothing_that_files_cannot(tmp_path: Path) -> None:
    assert name_for_run('a/b:c* "d"', NOW, tmp_path) == "a b c d 2026-11-21 14.03"
    assert name_for_run("../..", NOW, tmp_path) == "model 2026-11-21 14.03"


def test_two_runs_in_one_minute_have_two_names(tmp_path: Path) -> None:
    (tmp_path / "nuclei 2026-11-21 14.03.safetensors").touch()
    (tmp_path / "nuclei 2026-11-21 14.03 (2).checkpoint.safetensors").touch()
    assert name_for_run("nuclei", NOW, tmp_path) == "nuclei 2026-11-21 14.03 (3)"


def test_a_run_with_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    RECORD.write(folder)
    RECORD.checkpoint(folder).touch()
    assert RunRecord.read(folder) == RECORD


def test_a_run_without_a_checkpoint_cannot_go_on(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    assert RunRecord.read(tmp_path) is None


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    RECORD.checkpoint(tmp_path).touch()
    (tmp_path / "run.json").write_text('{"name": "nuclei"')
    assert RunRecord.read(tmp_path) is None


def test_a_run_at_its_end_leaves_only_its_model(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    RECORD.checkpoint(tmp_path).touch()
    RECORD.output(tmp_path).touch()
    RECORD.remove(tmp_path)
    assert list(tmp_path.iterdir()) == [RECORD.output(tmp_path)]


def test_a_smaller_run_has_half_the_patch_but_never_none() -> None:
    assert RECORD.smaller().settings.patch == 10
    assert RECORD.smaller().smaller().smaller().smaller().settings.patch == 4


def test_the_latest_model_is_no_checkpoint(tmp_path: Path) -> None:
    import os

    assert latest_model(tmp_path) is None
    for age, name in enumerate(["c.checkpoint", "b", "a"]):
        path = tmp_path / f"{name}.safetensors"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert latest_model(tmp_path) == tmp_path / "b.safetensors"
