from __future__ import annotations

import numpy as np
import pytest

from napari_unet.io.images import read_image
from napari_unet.io.resumable_output import (
    HoleError,
    LargeArray,
    ResumableOutput,
    RunEndedError,
    discard_if_complete,
)

MADE = {"model": "a", "tile": 3, "sizes": (1, 2)}


def test_notes_and_pixels_are_there_the_next_time(tmp_path):
    target = tmp_path / "out" / "image.zarr"
    with ResumableOutput(tmp_path / "unfinished" / "image", MADE) as work:
        cells = work.array("cells", target, (4, 6), "yx", np.uint8, (0.5, 0.25), 2)
        cells.write((slice(0, 2), slice(0, 6)), np.full((2, 6), 7))
        work.done("one", found=np.arange(3))
    assert not target.exists()
    with ResumableOutput(tmp_path / "unfinished" / "image", MADE) as work:
        assert work.is_done("one")
        assert not work.is_done("two")
        assert work.results("one")["found"].tolist() == [0, 1, 2]
        cells = work.array("cells", target, (4, 6), "yx", np.uint8, (0.5, 0.25), 2)
        assert cells.data[:, 0].tolist() == [7, 7, 0, 0]
        work.array("other", tmp_path / "other.zarr", (2, 2), "yx", np.uint8)
        work.publish({"cells": target})
    written = read_image(target)
    assert written.spacing_um == (0.5, 0.25)
    assert written.data[:, 0].tolist() == [7, 7, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_was_made_from_something_else_is_begun_anew(tmp_path):
    with ResumableOutput(tmp_path / "a", MADE) as work:
        work.done("one")
    with ResumableOutput(tmp_path / "a", {**MADE, "tile": 4}) as work:
        assert not work.is_done("one")


def test_what_can_be_done_about_other_work_is_told_where_it_has_steps(tmp_path):
    other = ResumableOutput(tmp_path / "a", {"model": "b"}, ways_out="use another")
    with ResumableOutput(tmp_path / "a", MADE) as work:
        work.array("cells", tmp_path / "c.zarr", (2, 2), "yx", np.uint8)
    with other:  # nothing was done yet
        pass
    with ResumableOutput(tmp_path / "a", MADE) as work:
        work.done("one")
    told = r"a: is unfinished work of another version of napari-unet; use another\.$"
    with pytest.raises(FileExistsError, match=told), other:
        pass
    assert work.is_done("one")


def test_after_a_crash_between_two_names_the_others_follow(tmp_path, monkeypatch):
    targets = {kind: tmp_path / kind / "image.zarr" for kind in ("one", "two")}
    module = "napari_unet.io.resumable_output.move"

    def crash(source, target):
        source.rename(target)
        raise KeyboardInterrupt

    with ResumableOutput(tmp_path / "a", MADE) as work:
        for number, (kind, target) in enumerate(targets.items(), start=1):
            array = work.array(kind, target, (2, 2), "yx", np.uint8)
            array.write((slice(0, 2), slice(0, 2)), np.full((2, 2), number))
        with monkeypatch.context() as patch:
            patch.setattr(module, crash)
            with pytest.raises(KeyboardInterrupt):
                work.publish(targets)
    assert [t.exists() for t in targets.values()] == [True, False]
    with ResumableOutput(tmp_path / "a", MADE) as work:
        # what has got its name is read there, e.g. by a step that is still to do
        for number, (kind, target) in enumerate(targets.items(), start=1):
            array = work.array(kind, target, (2, 2), "yx", np.uint8)
            assert array.data[0, 0] == number
        work.publish(targets)
    assert read_image(targets["two"]).data[...].tolist() == [[2, 2], [2, 2]]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "record", [None, "", "[1]", '{"model": "x"}', "[" * 100_000, b"\xff"]
)
def test_a_folder_that_is_no_unfinished_work_is_not_removed(tmp_path, record):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    if record is not None:
        data = record if isinstance(record, bytes) else record.encode()
        (tmp_path / "a" / "record.json").write_bytes(data)
    with (
        pytest.raises(FileExistsError, match="is no unfinished work of napari-unet"),
        ResumableOutput(tmp_path / "a", MADE),
    ):
        pass
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    target = tmp_path / "mine.zarr"
    target.mkdir()
    (target / "notes.txt").write_text("keep")
    with (
        ResumableOutput(tmp_path / "a", MADE) as work,
        pytest.raises(FileExistsError, match="is no OME-Zarr image"),
    ):
        work.array("cells", target, (2, 2), "yx", np.uint8)


def test_a_failed_write_is_one_sentence(tmp_path):
    with ResumableOutput(tmp_path / "a", MADE) as work:
        cells = work.array("cells", tmp_path / "c.zarr", (2, 2), "yx", np.uint8)
        inner = tmp_path / "a" / "cells" / "c.zarr" / "0"
        (inner / "c").write_text("a file where zarr wants a folder")
        with pytest.raises(OSError, match=r"c\.zarr: cannot be written"):
            cells.write((slice(0, 2), slice(0, 2)), np.ones((2, 2)))


def fail_after_a_step(work):
    work.done("one")
    raise OSError("cannot")


def test_work_that_fails_before_its_first_step_leaves_nothing(tmp_path):
    folder = tmp_path / "unfinished" / "a"
    with pytest.raises(ValueError, match="no"), ResumableOutput(folder, MADE):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="cannot"), ResumableOutput(folder, MADE) as work:
        fail_after_a_step(work)
    assert (folder / "done" / "one").exists()


def test_what_a_kill_leaves_behind_finished_work_goes(tmp_path):
    target = tmp_path / "image.zarr"
    folder = tmp_path / "unfinished" / "image"
    with ResumableOutput(folder, MADE) as work:
        work.array("one", target, (2, 2), "yx", np.uint8)
        # zarr writes a chunk under another name first
        (folder / "one" / "image.zarr" / "0" / "c.6f2.partial").write_bytes(b"half")
        work.publish({"one": target})
    assert not list(target.rglob("*.partial"))
    with ResumableOutput(folder, MADE) as work:
        work.done("one")
    discard_if_complete(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["image.zarr"]
    folder.mkdir(parents=True)
    (folder / "mine.txt").touch()
    discard_if_complete(folder)
    assert (folder / "mine.txt").exists()


def test_what_is_missing_of_an_array_is_no_zeros(tmp_path):
    target = tmp_path / "p.zarr"
    with ResumableOutput(tmp_path / "a", MADE) as work:
        parts = work.array("parts", target, (4, 6), "yx", np.uint32, chunk=2)
        box = (slice(0, 2), slice(0, 4))
        parts.write(box, np.zeros((2, 4)))
        assert parts.whole[box].tolist() == [[0] * 4] * 2
        (hole,) = (tmp_path / "a" / "parts" / "p.zarr" / "0").glob("c/0/1")
        hole.unlink()
        with pytest.raises(HoleError, match=r"c/0/1: is not there, although"):
            parts.whole[box]
        assert parts.whole[0:2, 0:2].tolist() == [[0] * 2] * 2


def test_a_hole_is_waited_for_where_others_write(tmp_path, monkeypatch):
    with ResumableOutput(tmp_path / "a", MADE) as work:
        parts = work.array("parts", tmp_path / "p.zarr", (2, 2), "yx", np.uint32)
        mine = ResumableOutput.joined(tmp_path / "a", work.run)
        seen = mine.array("parts", tmp_path / "p.zarr", (2, 2), "yx", np.uint32)
        slept = []

        def sleep(seconds):
            slept.append(seconds)
            if len(slept) == 2:
                parts.write((slice(0, 2), slice(0, 2)), np.full((2, 2), 7))

        monkeypatch.setattr("napari_unet.io.resumable_output.sleep", sleep)
        assert seen.whole[...].tolist() == [[7, 7], [7, 7]]
        assert len(slept) == 2


def test_who_joined_a_run_that_ended_writes_nothing(tmp_path):
    whole = (slice(0, 2), slice(0, 2))
    target = tmp_path / "c.zarr"
    with ResumableOutput(tmp_path / "a", MADE) as work:
        work.array("cells", target, (2, 2), "yx", np.uint8)
        orphan = ResumableOutput.joined(tmp_path / "a", work.run)
        cells = orphan.array("cells", target, (2, 2), "yx", np.uint8)
        cells.write(whole, np.ones((2, 2)))
        orphan.done("one")
    # the next run, of the same
    with ResumableOutput(tmp_path / "a", MADE) as work:
        with pytest.raises(RunEndedError):
            cells.write(whole, np.full((2, 2), 9))
        with pytest.raises(RunEndedError):
            orphan.done("two")
        assert work.finished() == {"one"}
        assert work.array("cells", target, (2, 2), "yx", "u1").data[0, 0] == 1


def test_a_run_that_fails_ends_for_those_who_joined(tmp_path):
    with (
        pytest.raises(OSError, match="cannot"),
        ResumableOutput(tmp_path / "a", MADE) as work,
    ):
        fail_after_a_step(work)
    with pytest.raises(RunEndedError):
        ResumableOutput.joined(tmp_path / "a", work.run).check_run()


def test_thousands_of_notes_are_found_at_once(tmp_path):
    steps = {f"parts-0-{k}" for k in (0, 999, 1000, 2500)} | {"instances"}
    with ResumableOutput(tmp_path / "a", MADE) as work:
        for step in steps:
            work.done(step, at=np.arange(3), beside=np.ones(2))
        assert work.finished() == steps
        assert work.is_done("parts-0-2500")
        assert not work.is_done("parts-0-2501")
        assert work.results("parts-0-1000", "at").keys() == {"at"}
    folders = [p.name for p in (tmp_path / "a" / "done").iterdir() if p.is_dir()]
    assert sorted(folders) == ["1", "2"]


def test_numbers_of_a_table_are_read_by_their_place(tmp_path):
    with ResumableOutput(tmp_path / "a", MADE) as work:
        work.write_table("cells", iter(np.arange(10, dtype=np.uint32).reshape(2, 5)))
        assert work.table("cells", 3, 7).tolist() == [3, 4, 5, 6]
        assert work.table("cells", 3, 3).tolist() == []


def test_files_that_are_on_the_disk_are_not_brought_there_again(tmp_path, monkeypatch):
    target = tmp_path / "out" / "image.zarr"
    flushed = []
    with ResumableOutput(tmp_path / "a", MADE) as work:
        cells = work.array("cells", target, (64, 64), "yx", np.uint8, chunk=2)
        cells.write((slice(0, 64), slice(0, 64)), np.ones((64, 64)))
        monkeypatch.setattr("os.fsync", flushed.append)
        work.publish({"cells": target})
    assert len(list(target.rglob("*"))) > 1024
    assert len(flushed) < 5  # of the folders around


def test_a_box_in_a_shard_is_one_file(tmp_path):
    target = tmp_path / "image.zarr"
    with ResumableOutput(tmp_path / "a", MADE) as work:
        out = work.array(
            "probabilities", target, (2, 7, 8), "cyx", "f4", chunk=2, shard=(2, 4, 3)
        )
        assert out.in_shards
        assert out.data.shards == (2, 4, 4)
        values = np.arange(32.0).reshape(2, 4, 4)
        out.write((slice(0, 2), slice(0, 4), slice(4, 8)), values)
        files = [p for p in (tmp_path / "a").rglob("c/*/*/*") if p.is_file()]
        assert len(files) == 1
        assert out.whole[:, 0:4, 4:8].tolist() == values.tolist()
        work.publish({"probabilities": target})
    assert read_image(target).data[1, 0, 7] == 19


def test_chunks_written_after_the_end_are_in_nobodys_way(tmp_path):
    folder, target = tmp_path / "unfinished" / "a", tmp_path / "c.zarr"
    with ResumableOutput(folder, MADE) as work:
        work.array("cells", target, (2, 2), "yx", np.uint8)
        late = LargeArray(folder / "cells" / "c.zarr", "yx")
        work.publish({"cells": target})
    assert not folder.exists()
    # as by a worker that was about to write when the run ended
    late.write_part((slice(0, 2), slice(0, 2)), np.ones((2, 2)))
    assert folder.exists()
    with ResumableOutput(folder, MADE) as work:
        assert not work.finished()
        assert not (folder / "cells").exists()


def test_while_results_get_their_names_nobody_else_writes(tmp_path, monkeypatch):
    folder, target = tmp_path / "unfinished" / "a", tmp_path / "c.zarr"
    refused = []

    def move(source, path):
        with pytest.raises(RunEndedError):
            joined.check_run()
        refused.append(path)
        source.rename(path)

    monkeypatch.setattr("napari_unet.io.resumable_output.move", move)
    with ResumableOutput(folder, MADE) as work:
        work.array("cells", target, (2, 2), "yx", np.uint8)
        joined = ResumableOutput.joined(folder, work.run)
        joined.check_run()
        work.publish({"cells": target})
    assert refused == [target]


def test_work_that_is_not_to_be_seen_is_told(tmp_path):
    joined = ResumableOutput.joined(tmp_path / "elsewhere", "run")
    with pytest.raises(RunEndedError, match="does not see this work, or it was rem"):
        joined.check_run()
