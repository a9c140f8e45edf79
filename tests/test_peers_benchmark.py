from __future__ import annotations

import json
import sys
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import pytest
import tifffile

import benchmark_cells
from benchmarks.accuracy import family
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.family import Measured, read_cells
from benchmarks.accuracy.peers import environment, hand_over, table
from benchmarks.accuracy.peers.catalogue import OURS, PEERS, Peer
from benchmarks.accuracy.peers.hand_over import Given, Learnt, apart
from benchmarks.accuracy.peers.table import SETS, Cell, cells, run_peers, section
from benchmarks.accuracy.tasks import TASKS

PEER_NAMES = [peer.name for peer in (OURS, *PEERS)]
NOTHING = Peer("nothing", "Nothing", "nothing", ("nothing==1.0",))


def measured(cell: str, score: float, **changes: Any) -> Measured:
    """Return what came out of a cell, with one value for the scores of the table."""
    told = {
        "scores": {name: score for names in SETS.values() for name in names},
        "versions": {"torch": "2", "processor": "A"},
    }
    return benchmark_cells.measured(cell, score, **(told | changes))


def given(folder: Path, **changes: Any) -> Given:
    told: dict[str, Any] = {
        "learnt": str(folder / "learnt"),
        "tested": str(folder / "tested"),
        "output": str(folder),
        "kind": "objects",
        "began": time(),
        "minutes": 5.0,
        "seed": 3,
        "threads": 2,
    }
    return Given(**(told | changes))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Bright squares under the names of the cells in phase contrast."""
    labels = np.zeros((64, 64), np.uint8)
    for number, corner in enumerate((4, 24, 44), start=1):
        labels[corner : corner + 12, 10:30] = number
    rng = np.random.default_rng(0)
    task = TASKS["usiigaci"]
    for sample in (*task.learnt, *task.tested):
        image = (labels > 0) * 100 + rng.integers(0, 60, labels.shape)
        for file, content in ((sample.image, image), (sample.labels, labels)):
            path = tmp_path / "data" / task.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, content.astype(np.uint8))
    return tmp_path / "data"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"python": "3", "processor": "A"}
    monkeypatch.setattr(family, "versions", lambda: versions)


def test_cells_are_all_programs_on_all_sets_the_first_seed_first() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names) == len(SETS) * len(PEER_NAMES) * (3 + 1)
    assert names[:2] == ["dsb2018/napari-unet/5/0", "dsb2018/stardist/5/0"]
    seeds = [cell.seed for cell in cells()]
    assert seeds == sorted(seeds)
    few = cells((0.5,), (4,))
    assert {(cell.minutes, cell.seed) for cell in few} == {(0.5, 4)}
    assert len(few) == len(SETS) * len(PEER_NAMES)


def test_every_program_learns_and_tests_what_the_task_does() -> None:
    for cell in cells():
        task, own = cell.task, TASKS[cell.set]
        assert (task.learnt, task.tested) == (own.learnt, own.tested)
        assert (task.metrics, task.save) == (own.metrics, own.save)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_its_module_and_fixed_versions(peer: Peer) -> None:
    file = Path(table.__file__).with_name(f"run_{peer.name}.py")
    assert "def learn(given: Given) -> Learnt:" in file.read_text(encoding="utf-8")
    assert all(one.count("==") == 1 for one in peer.requirements)


@pytest.mark.usefixtures("told")
def test_a_peer_learns_and_is_evaluated(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    results, output = tmp_path / "peers.jsonl", tmp_path / "out" / "accuracy"
    # time for all trees, however slow the machine is
    wanted, minutes = ["usiigaci/forest/5000/0"], (5000.0,)
    assert run_peers(data, output, results, wanted, "auto", minutes=minutes) == 0
    found = read_cells(results)[wanted[0]]
    assert found.scores["ap@0.5"] == 1
    assert found.steps == 100
    assert found.seconds > 0
    assert found.seconds_per_megapixel > 0
    assert found.versions["processor"] == "A"
    assert found.versions["scikit-learn"]
    assert len(found.learnt) == 6
    # what is exported stays for the others
    place = output / "peers" / "usiigaci"
    assert {p.name for p in place.iterdir()} == {"learnt", "tested"}
    before = results.read_bytes()
    assert run_peers(data, output, results, wanted, "cpu", minutes=minutes) == 0
    assert results.read_bytes() == before


@pytest.mark.usefixtures("told")
def test_what_fails_is_kept_with_its_reason_and_tried_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("cannot be installed: no such version")

    results, wanted = tmp_path / "peers.jsonl", ["usiigaci/stardist/5/*"]
    monkeypatch.setattr(table, "python_of", fail)
    assert run_peers(data, tmp_path, results, wanted, "auto") == 3
    done = read_cells(results)
    assert done["usiigaci/stardist/5/0"].problem == (
        "cannot be installed: no such version"
    )
    lines = list(section(done))
    assert any(
        line == "* `usiigaci/stardist/5/0` could not be run: cannot be installed: "
        "no such version"
        for line in lines
    )
    assert "| usiigaci | `ap@0.5` | StarDist | – | – | – | – | – |" in lines
    assert run_peers(data, tmp_path, results, wanted, "auto") == 3
    assert len(results.read_text(encoding="utf-8").splitlines()) == 6


def test_only_the_processor_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peers", "--device", "cuda", "--output", str(tmp_path)]) == 1
    assert "compared on the processor, found 'cuda'" in capsys.readouterr().err


def test_a_peer_that_fails_or_hangs_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    failing = [sys.executable, "-c", "print(1); raise MemoryError('too large')"]
    with pytest.raises(RuntimeError, match="status 1: MemoryError: too large"):
        environment._run(failing, log, 600)
    assert log.read_text(encoding="utf-8").startswith("1\n")
    hanging = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(RuntimeError, match="did not end within 0 s"):
        environment._run(hanging, log, 0.01)


def test_what_a_peer_is_given_survives_its_file(tmp_path: Path) -> None:
    one = given(tmp_path, began=time() - 60)
    assert Given.read(one.write(tmp_path)) == one
    assert one.left == pytest.approx(240, abs=30)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("objects", {"instances": (np.uint16, [[0, 9, 4], [0, 0, 0]])}),
        (
            "class",
            {
                "probabilities": (np.float32, [[0, 0.9, 0.4], [0, 0, 0]]),
                "classes": (np.uint8, [[0, 1, 0], [0, 0, 0]]),
            },
        ),
        ("image", {"image": (np.float32, [[0, 0.9, 0.4], [0, 0, 0]])}),
    ],
)
def test_predictions_lie_where_evaluate_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: dict[str, Any]
) -> None:
    (tmp_path / "tested").mkdir()
    image = np.array([[0, 9, 4], [0, 0, 0]], np.uint8)
    tifffile.imwrite(tmp_path / "tested" / "a.tif", image)
    file = given(tmp_path, kind=kind).write(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_x", str(file)])

    def learn(what: Given) -> Learnt:
        predict = np.int64 if what.objects else lambda pixels: pixels / 10
        return Learnt(predict, 7, 8, ("patch 9",))

    hand_over.run(learn, ("numpy",))
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["steps"], report["parameters"]) == (7, 8)
    assert report["choices"] == ["patch 9"]
    assert report["versions"] == {"numpy": np.__version__}
    assert report["images"][0]["image"] == str(tmp_path / "tested" / "a.tif")
    for folder, (dtype, values) in expected.items():
        found = tifffile.imread(tmp_path / folder / "a.tif")
        assert found.dtype == dtype
        np.testing.assert_allclose(found, values, rtol=1e-6)


def test_objects_that_touch_have_a_membrane_between_them() -> None:
    objects = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 0, 2]])
    np.testing.assert_array_equal(
        apart(objects), [[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1]]
    )


def test_an_environment_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def call(command: list[str]) -> None:
        called.append(command)
        (tmp_path / "nothing").mkdir(exist_ok=True)

    monkeypatch.setattr(environment, "_call", call)
    python = environment.python_of(NOTHING, tmp_path)
    assert tmp_path / "nothing" in python.parents
    assert called[1][-2:] == ["--quiet", "nothing==1.0"]
    assert environment.python_of(NOTHING, tmp_path) == python
    assert len(called) == 2
    newer = Peer("nothing", "Nothing", "nothing", ("nothing==2.0",))
    environment.python_of(newer, tmp_path)
    assert len(called) == 4
    ours = environment.python_of(OURS, tmp_path)
    assert ours == Path(sys.executable)


def test_what_cannot_be_installed_leaves_no_environment_that_counts() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('ERROR: no version')"]
    with pytest.raises(RuntimeError, match="cannot be installed: ERROR: no version"):
        environment._call(command)


def test_the_table_shows_medians_the_best_and_versions() -> None:
    ours, star = OURS, PEERS[0]
    found = [
        measured(Cell("dsb2018", ours, 5.0, 0).name, 0.8),
        measured(Cell("dsb2018", ours, 5.0, 1).name, 0.9, seconds_per_megapixel=1.5),
        measured(Cell("dsb2018", star, 5.0, 0).name, 0.7, versions={"stardist": "0"}),
        measured(Cell("dsb2018", star, 15.0, 0).name, 0.95, steps=400),
        measured(Cell("isbi2012", ours, 5.0, 0).name, 0.3),
        measured(Cell("isbi2012", star, 5.0, 0).name, 0.2),
    ]
    lines = list(section({cell.cell: cell for cell in found}))
    assert (
        "| dsb2018 | `ap@0.5` | napari-unet | **0.850 [0.800–0.900]** | 100 | – | – "
        "| 1.00 |"
    ) in lines
    assert (
        "| dsb2018 | `ap@0.5` | StarDist | 0.700 | 100 | **0.950** | 400 | 0.50 |"
    ) in lines
    # of errors the least is best
    row = "| isbi2012 | `adapted_rand_error` | StarDist | **0.200** | 100 "
    assert f"{row}| – | – | 0.50 |" in lines
    assert "Not run yet: bbbc039, hela, usiigaci." in lines
    assert not any(line.startswith("| hela") for line in lines)
    assert "StarDist with stardist 0." in lines
    assert "napari-unet with torch 2, processor A." in lines
    assert any("No result yet" in line for line in section({}))
