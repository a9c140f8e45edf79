from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from napari_unet.core.training.training_settings import Training
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


GOOD = json.loads(RECORD.model_dump_json())


def told_of(folder: Path) -> list[str]:
    """Read a record that is none, and return what was told."""
    told: list[str] = []
    assert RunRecord.read(folder, told.append) is None
    return told


@pytest.mark.parametrize(
    "name",
    ["../victim/run", "..", "", "a/b", "/victim", "a\\b", "C:x", "a\nb", "x" * 250],
)
def test_the_name_of_a_run_is_no_path(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "run.checkpoint.safetensors").write_bytes(b"weights")
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({**GOOD, "name": name}))
    told = told_of(folder)
    assert len(told) == 1
    assert "name should be the plain name of a file" in told[0]
    assert "\n" not in told[0]
    assert (victim / "run.checkpoint.safetensors").read_bytes() == b"weights"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("which", ["run.json", "checkpoint"])
def test_a_link_is_not_followed(which: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    RECORD.write(folder)
    RECORD.checkpoint(folder).touch()
    path = folder / which if which == "run.json" else RECORD.checkpoint(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    told = told_of(folder)
    assert len(told) == 1
    assert f"{path}: is a link" in told[0]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"7",
        b"\xff\xfe",
        b'{"name":' * 2000 + b"1" + b"}" * 2000,
        json.dumps({**GOOD, "classes": 0}).encode(),
        json.dumps({**GOOD, "classes": 1e300}).encode(),
        json.dumps({**GOOD, "classes": 10**5}).encode(),
        json.dumps({**GOOD, "places": []}).encode(),
        json.dumps({**GOOD, "places": [[[0, -1]], [[0, 0]]]}).encode(),
        json.dumps({**GOOD, "places": [[[2**40, 0]], [[0, 0]]]}).encode(),
        json.dumps({**GOOD, "images": [], "places": []}).encode(),
        json.dumps({**GOOD, "images": [["a"]] * 10**5}).encode(),
        json.dumps({**GOOD, "settings": {"patch": "x" * 10**6}}).encode(),
        json.dumps({**GOOD, "spam": 1}).encode(),
        b" " * (2**26 + 1),
    ],
    ids=map(str, range(16)),
)
def test_a_damaged_record_is_told_in_one_short_sentence(
    text: bytes, tmp_path: Path
) -> None:
    RECORD.checkpoint(tmp_path).touch()
    (tmp_path / "run.json").write_bytes(text)
    told = told_of(tmp_path)
    assert len(told) == 1
    assert str(tmp_path / "run.json") in told[0]
    assert len(told[0]) < 700
    assert "\n" not in told[0]


def test_no_record_is_nothing_to_tell(tmp_path: Path) -> None:
    assert told_of(tmp_path) == []
    RECORD.write(tmp_path)
    assert told_of(tmp_path) == []


def test_a_long_title_makes_a_name_that_disks_hold(tmp_path: Path) -> None:
    name = name_for_run("\U0001f52c" * 99, NOW, tmp_path)
    record = RECORD.replace(name=name)
    record.write(tmp_path)
    record.checkpoint(tmp_path).touch()
    assert RunRecord.read(tmp_path) == record


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
