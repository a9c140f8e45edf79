from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import pytest

from benchmark_cells import measured
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.auto import SETS, Cell, cells, section
from benchmarks.accuracy.commands import Attempt


def test_cells_are_both_presets_on_all_sets_with_three_seeds() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names) == 3 * 5 * 3 * 2
    assert names[:2] == ["bbbc039/quick/2/0", "bbbc039/auto/2/0"]
    assert {cell.set for cell in cells()} == set(SETS)


@pytest.mark.parametrize(
    "cell",
    [cell for cell in cells() if (cell.minutes, cell.seed) == (5, 0)],
    ids=lambda cell: cell.name,
)
def test_the_command_line_understands_a_cell(cell: Cell) -> None:
    attempt = Attempt(cell.task, Path("out"), cell.minutes, cell.seed)
    parser = argparse.ArgumentParser()
    import_module("napari_unet.cli.train").add_options(parser)
    options = parser.parse_args(attempt.train()[1:])
    assert (options.preset, options.minutes) == (cell.preset, cell.minutes)
    # stacks are slices unless auto chooses otherwise
    assert options.ndim == 2


def test_the_table_says_where_auto_is_better_or_worse() -> None:
    scores = {
        "bbbc039": ([0.90, 0.92, 0.91], [0.93, 0.95, 0.91]),
        "isbi2012": ([0.7, 0.7, 0.7], [0.70, 0.71, 0.69]),
        "qcanet": ([0.8], [0.7]),
    }
    done = {}
    for kind, (quick, auto) in scores.items():
        for preset, values in (("quick", quick), ("auto", auto)):
            for seed, score in enumerate(values):
                name = Cell(kind, preset, 5.0, seed).name
                chosen = ("depth 4", "patch 180") if preset == "auto" else ()
                done[name] = measured(name, score, decisions=chosen)
    lines = list(section(done))
    row = "| bbbc039 | 5 | `ap@0.5` | 0.910 [0.900–0.920] | 0.930 [0.910–0.950] "
    assert f"{row}| better | depth 4; patch 180 |" in lines
    assert any("0.700 [0.690–0.710] | alike |" in line for line in lines)
    assert any("| 0.800 | 0.700 | **worse** |" in line for line in lines)
    assert "With torch 2." in lines
    assert any("No result yet" in line for line in section({}))


def test_a_name_that_no_cell_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["auto", "--cell", "em/auto/5/0", "--output", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "cells are named SET/PRESET/MINUTES/SEED, such as bbbc039/quick/2/0" in told
