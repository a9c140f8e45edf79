from __future__ import annotations

import json
import os
import random
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("resource", reason="the trials are for Linux and macOS")

from benchmarks.reliability.faults import FAULTS, PACKAGE, Fault
from benchmarks.reliability.material import Material
from benchmarks.reliability.mutations import mutate_bytes, mutate_json
from benchmarks.reliability.report import TOLD, report, store, summary, table
from benchmarks.reliability.trial import Fuse, Trial
from benchmarks.reliability.trial import report as tell

ROOT = Path(__file__).parents[1]
# newer Pythons warn of what is meant here: the copies do nothing with other threads
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial("kill.train", 3, tmp_path / "trial", Material(tmp_path))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_text_of_a_planted_fault_is_in_the_source(fault: Fault) -> None:
    text = (PACKAGE / fault.file).read_text(encoding="utf-8")
    planted = fault.planted()
    assert planted != text
    compile(planted, fault.file, "exec")
    part, _, kind = fault.kind.partition(".")
    assert kind in import_module(f"benchmarks.reliability.{part}").KINDS


def test_at_least_twenty_faults_are_planted_and_every_part_has_to_notice_some() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 20
    parts = {fault.kind.partition(".")[0] for fault in FAULTS}
    assert parts == {"kill", "disk", "mutate", "options", "soak"}


def test_a_fault_that_is_out_of_date_is_refused() -> None:
    gone = Fault("gone", "core/geometry/blocks.py", "no such text", "", "kill.train", 1)
    with pytest.raises(ValueError, match=r"blocks\.py has the text of 'gone' 0 times"):
        gone.planted()


def test_every_kind_of_trial_is_on_the_page() -> None:
    parts = ("kill", "disk", "mutate", "options", "soak", "planted")
    kinds = {
        f"{part}.{kind}": count
        for part in parts
        for kind, (_, count) in import_module(
            f"benchmarks.reliability.{part}"
        ).KINDS.items()
    }
    assert set(kinds) == set(TOLD)
    assert sum(n for k, n in kinds.items() if k.startswith("mutate.")) >= 1000
    assert kinds["options.bad"] >= 200
    killed = ("train", "predict", "blocks", "strokes", "worker", "napari")
    assert sum(kinds[f"kill.{name}"] for name in killed) >= 200


def say(words: str, status: int) -> int:
    sys.stdout.write(f"{words}\n")
    return status


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda: 1 / 0, "traceback"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "signal"),
        (lambda: 3, "status"),
        (lambda: say("what now", 1), "words"),
        (lambda: Path("new.txt").touch(), "outside"),
        (lambda: Path("notes.txt").unlink(), "outside"),
        (lambda: Path("../stray").touch(), "outside"),
        (lambda: tell("lost", "a stroke"), "lost"),
    ],
    ids=["error", "signal", "3", "words", "new", "removed", "beside", "told"],
)
def test_what_is_not_handled_is_a_fault(trial: Trial, work: Any, kind: str) -> None:
    trial.judge(trial.run(work))
    trial.finish()
    assert [found for found, _ in trial.faults] == [kind]


@pytest.mark.parametrize(
    "work",
    [
        lambda: say("done", 0),
        lambda: say("napari-unet: x.tif: cannot be read.", 1),
        lambda: say("usage: x\nnapari-unet train: error: no such option", 2),
        lambda: Path(os.environ["HOME"], "kept").touch(),
    ],
    ids=["done", "sentence", "option", "at home"],
)
def test_a_result_or_one_sentence_is_handled(trial: Trial, work: Any) -> None:
    trial.judge(trial.run(work))
    trial.finish()
    assert trial.faults == []


def test_what_does_not_end_is_a_hang(trial: Trial) -> None:
    trial.judge(trial.run(signal.pause, wall_s=0.1))
    assert [kind for kind, _ in trial.faults] == ["hang"]


@pytest.mark.parametrize(("before", "left"), [(0, 5), (1, 0), (3, 2), (5, 4)])
def test_a_fuse_ends_a_process_before_a_change_on_the_disk(
    trial: Trial, before: int, left: int
) -> None:
    fuse = Fuse(trial.work, before)

    def work() -> None:
        fuse.arm()
        for number in range(5):
            (trial.work / str(number)).mkdir()
            (trial.work / str(number)).exists()

    ended = trial.run(work)
    assert (ended.killed, trial.kills) == (before > 0, before > 0)
    assert len(list(trial.work.iterdir())) == left
    assert fuse.changes == (before or 5)


@pytest.mark.parametrize("seed", range(12))
def test_damage_follows_from_its_seed(seed: int) -> None:
    data = bytes(range(256)) * 3
    first, again = (mutate_bytes(data, random.Random(seed)) for _ in range(2))
    assert first == again
    assert first[0] != data
    text = '{"a": [1, {"b": 2}], "c": "d"}'
    one, other = (
        json.dumps(mutate_json(json.loads(text), random.Random(seed))[0])
        for _ in range(2)
    )
    assert one == other != text


KINDS = {
    "kill.train": {
        "tried": 80,
        "kills": 75,
        "figures": {"seconds of training lost": 19.5},
        "failures": [{"seed": 4, "faults": [["traceback", "Error | (a.py)"]]}],
    },
    "mutate.tiff": {"tried": 300, "kills": 0, "figures": {}, "failures": []},
    "planted.fault": {
        "tried": 25,
        "kills": 0,
        "figures": {},
        "failures": [{"seed": 1, "faults": [["missed", "strokes are not written"]]}],
    },
}


def test_the_table_counts_what_was_tried_handled_and_failed() -> None:
    assert table(KINDS)[2:4] == [
        "| kill -9 of `train`, then `--resume` | 80 | 79 | 1 |",
        "| damaged TIFFs of seven kinds: `predict` | 300 | 300 | 0 |",
    ]
    assert summary(KINDS) == [
        "2 failed, 1 tracebacks, 0 files outside, 0 times finished strokes lost, "
        "19.5 s of training lost at most, 75 kills, 300 damaged files, "
        "1 of 25 planted faults missed."
    ]
    page = report({"kinds": KINDS, "machine": "two cores"})
    assert "- `kill.train --seed 4`: traceback: Error / (a.py)" in page


def test_parts_that_were_run_apart_are_put_together(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    store(file, "a", {"mutate.tiff": KINDS["mutate.tiff"]})
    store(file, "b", {"kill.train": {**KINDS["kill.train"], "tried": 1}})
    content = store(file, "b", {"kill.train": KINDS["kill.train"]})
    assert content == json.loads(file.read_text(encoding="utf-8"))
    assert list(content["kinds"]) == ["kill.train", "mutate.tiff"]
    assert content["kinds"]["kill.train"]["tried"] == 80


def test_the_committed_page_is_the_one_its_results_give() -> None:
    docs = ROOT / "docs"
    content = json.loads((docs / "reliability.json").read_text(encoding="utf-8"))
    committed = (docs / "reliability.md").read_text(encoding="utf-8")
    assert report(content) == committed
