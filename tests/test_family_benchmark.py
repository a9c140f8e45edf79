from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmark_cells import fake_product, measured
from benchmarks.accuracy import family
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.commands import Attempt
from benchmarks.accuracy.export import pixels
from benchmarks.accuracy.family import Cell, cells, read_cells, section
from benchmarks.accuracy.task import Task
from napari_unet.core.network.catalogue import NETWORKS

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    return fake_product(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with images of the names of the nuclei, 50 × 40 pixels each."""
    task = Cell("nuclei", "unet", 1.0, 0).task
    for file in task.files(tmp_path / "data"):
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, np.zeros((50, 40), np.uint8))
    return tmp_path / "data"


def test_cells_are_all_networks_in_the_budgets_and_seeds_asked_for() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names)
    flat = [name for name, entry in NETWORKS.items() if 2 in entry.ndims]
    assert sum(name.startswith("em/") for name in names) == 7 * len(flat)
    assert [n for n in names if n.startswith("em/unet/")] == [
        *(f"em/unet/1/{seed}" for seed in range(3)),
        *(f"em/unet/5/{seed}" for seed in range(3)),
        "em/unet/30/0",
    ]
    assert [n for n in names if n.startswith("volume/unet/")] == [
        "volume/unet/5/0",
        "volume/unet/30/0",
    ]


@pytest.mark.parametrize(
    "cell",
    [cell for cell in cells() if (cell.minutes, cell.seed) == (5, 0)],
    ids=lambda cell: cell.name,
)
def test_the_command_line_understands_a_cell(cell: Cell) -> None:
    attempt = Attempt(cell.task, Path("out"), cell.minutes, cell.seed)
    _, *rest = attempt.train()
    parser = argparse.ArgumentParser()
    import_module("napari_unet.cli.train").add_options(parser)
    options = parser.parse_args(rest)
    assert (options.minutes, options.seed) == (cell.minutes, cell.seed)
    if cell.network != "unet":
        assert options.network == cell.network
    assert isinstance(cell.task, Task)


def test_what_is_done_is_not_run_again_and_what_fails_stops_nothing_else(
    product: list[list[str]],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results, output = tmp_path / "docs" / "family.jsonl", tmp_path / "out"
    # what a run that was killed left there
    stray = output / "family" / "nuclei-unet" / "minutes1-seed0" / "stray.txt"
    stray.parent.mkdir(parents=True)
    stray.touch()

    def run(*wanted: str) -> int:
        return family.run_family(data, output, results, wanted, "auto")

    assert run("nuclei/unet/1/*") == 1
    assert "nuclei/unet/1/1: train ended" in capsys.readouterr().err
    done = read_cells(results)
    assert list(done) == ["nuclei/unet/1/0", "nuclei/unet/1/2"]
    first, last = done.values()
    assert (first.steps, first.parameters, first.problem) == (7, 15, None)
    assert first.seconds_per_megapixel == pytest.approx(1000)
    assert first.scores == {"ap@0.5": 0.5}
    assert "takes everything for background" in (last.problem or "")
    # once each, and only what is missing the second time
    assert len(product) == 3 + 1 + 3
    assert run("nuclei/unet/1/*") == 1
    assert len(product) == 3 + 1 + 3 + 1
    assert run("nuclei/unet/1/0") == 0
    assert len(product) == 3 + 1 + 3 + 1
    left = {p.name for p in (output / "family" / "nuclei-unet").iterdir()}
    assert left == {"learnt", "tested", "minutes1-seed1"}


def test_a_name_that_no_cell_has_is_refused(
    product: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--cell", "em/unet/7/0", "--output", str(tmp_path)]
    assert main(["family", *options]) == 1
    told = capsys.readouterr().err
    assert "SET/NETWORK/MINUTES/SEED" in told
    assert "'em/unet/7/0', which is none of them" in told
    assert not product


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "family.jsonl"
    whole = measured("em/unet/1/0", 0.5).model_dump_json()
    file.write_text(f'{whole}\n{{"cell": 3}}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: is no cell of this benchmark"):
        read_cells(file)


def test_the_table_shows_medians_ends_steps_and_what_is_missing() -> None:
    found = [
        measured("em/unet/1/0", 0.5),
        measured("em/unet/1/2", 0.25, steps=300, seconds_per_megapixel=1.5),
        measured("em/unet/1/1", 0.75, steps=200, seconds_per_megapixel=1.0),
        measured("em/unet/30/0", 0.125, steps=9000, problem="Nothing is learnt."),
        measured("nuclei/unet/5/0", 0.875),
    ]
    lines = list(section({cell.cell: cell for cell in found}))
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[1:] == [
        "| nuclei | unet | 12,345 | 0.50 | – | – | 0.875 | 100 | – | – |",
        "| em | unet | 12,345 | 0.75 | 0.500 [0.250–0.750] | 200 | – | – "
        "| 0.125* | 9000 |",
    ]
    assert rows[0].count("|") == rows[1].count("|")
    assert "With torch 2." in lines
    assert any("No result yet" in line for line in section({}))


def test_pixels_are_counted_without_their_colours(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((7, 5, 3), np.uint8), photometric="rgb")
    assert pixels(file) == 35
    tifffile.imwrite(file, np.zeros((4, 7, 5), np.uint8), photometric="minisblack")
    assert pixels(file) == 140
