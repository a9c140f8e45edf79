from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from benchmark_cells import fake_product, measured
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.commands import Attempt
from benchmarks.accuracy.curve import (
    BUDGETS,
    CURVE,
    PICTURE,
    PUBLISHED,
    Cell,
    cells,
    check_starter,
    chosen,
    draw,
    section,
)
from benchmarks.accuracy.family import Measured, read_cells
from benchmarks.accuracy.report import write_report
from benchmarks.accuracy.tasks import TASKS
from napari_unet.io.model_file import read_card
from napari_unet.io.pretrained import pretrained_model

TASK = TASKS["dsb2018"]
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of the nuclei: those of the task, and thirty others."""
    data = tmp_path / "data"
    files = TASK.files(data)
    others = [
        data / TASK.folder / kind / f"other{number:02}.tif"
        for kind in ("images", "labels")
        for number in range(30)
    ]
    for file in (*files, *others):
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, np.zeros((5, 4), np.uint8))
    return data


def test_cells_are_all_choices_in_both_ways_and_budgets(data: Path) -> None:
    found = cells(data, BUDGETS, Path("starter.safetensors"))
    names = [cell.name for cell in found]
    assert len(set(names)) == len(names) == 2 * 2 * (20 + 3 + 3 + 3)
    # a run that is broken off has something of each number of images
    assert names[:4] == [
        "scratch/1/1min/0",
        "starter/1/1min/0",
        "scratch/5/1min/0",
        "starter/5/1min/0",
    ]
    # each in a folder of its own: several may run at the same time
    assert len({cell.task.name for cell in found}) == len(found)
    assert {cell.start for cell in cells(data)} == {"scratch"}


def test_no_image_is_tested_or_comes_again_before_all_were_there(data: Path) -> None:
    tested = {sample.name for sample in TASK.tested}
    for count, choices in ((1, 20), (5, 3), (10, 3), (20, 2)):
        names = [s.name for c in range(choices) for s in chosen(data, count, c)]
        assert len(set(names)) == len(names) == count * choices
        assert tested.isdisjoint(names)
    names = [sample.name for sample in chosen(data, 20, 2)]
    assert len(set(names)) == 20
    assert any(name.startswith("other") for name in names)


@pytest.mark.parametrize(
    ("budget", "minutes", "steps"), [("5min", 5.0, None), ("300steps", None, 300)]
)
def test_the_command_line_understands_a_cell(
    budget: str, minutes: float | None, steps: int | None
) -> None:
    parser = argparse.ArgumentParser()
    import_module("napari_unet.cli.train").add_options(parser)
    starter = pretrained_model("phase_contrast")
    for init in (None, starter):
        cell = Cell("starter", 5, budget, 3, TASK.learnt[:5], init)
        attempt = Attempt(cell.task, Path("out"), cell.minutes, cell.seed)
        options = parser.parse_args(attempt.train()[1:])
        assert (options.minutes, options.steps, options.seed) == (minutes, steps, 3)
        assert options.init == init


def test_a_cell_is_kept_with_the_images_it_learnt(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    called = fake_product(monkeypatch)
    options = ["--steps", "300", "--data", str(data), "--output", "out"]
    assert main(["curve", "--cell", "scratch/5/300steps/0", *options]) == 0
    (done,) = read_cells(Path("docs/accuracy") / CURVE).values()
    assert done.cell == "scratch/5/300steps/0"
    assert done.learnt == tuple(sample.name for sample in chosen(data, 5, 0))
    exported = Path("out/curve/scratch-5-300steps-0/learnt/images")
    assert {file.stem for file in exported.iterdir()} == set(done.learnt)
    assert called[0][called[0].index("--steps") + 1] == "300"
    assert "--minutes" not in called[0]


def test_a_starter_that_saw_the_collection_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starter = pretrained_model("nuclei")
    check_starter(starter, data / "elsewhere")
    # as an export of several sets may call it
    learnt = read_card(starter).images[0].name.removesuffix(".tif")
    pool = data / "starter_pool" / "bbbc038_smear" / "images"
    pool.mkdir(parents=True)
    (pool / f"{learnt}.tif").touch()
    options = ["--data", str(data), "--output", str(tmp_path)]
    assert main(["curve", "--starter", str(starter), *options]) == 1
    assert "of BBBC038, such as" in capsys.readouterr().err
    assert main(["curve", "--cell", "starter/1/*", *options]) == 1
    assert "need --starter MODEL" in capsys.readouterr().err


def test_a_name_that_no_cell_has_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(data), "--output", str(tmp_path)]
    assert main(["curve", "--cell", "scratch/2/1min/0", *options]) == 1
    told = capsys.readouterr().err
    assert "named START/IMAGES/BUDGET/CHOICE, such as scratch/1/1min/0" in told


def points(start: str, budget: str, images: int, scores: list[float]) -> list[Measured]:
    names = [Cell(start, images, budget, n).name for n in range(len(scores))]
    return [measured(name, score) for name, score in zip(names, scores, strict=True)]


def by_name(*groups: list[Measured]) -> dict[str, Measured]:
    return {cell.cell: cell for group in groups for cell in group}


def test_the_table_has_medians_tenths_and_verdicts_of_whole_rows() -> None:
    single = [0.6 + 0.01 * n for n in range(20)]
    done = by_name(
        points("starter", "1min", 1, single),
        points("starter", "1min", 5, [0.85, 0.84, 0.86]),
        points("starter", "1min", 10, [0.9, 0.9]),
        points("starter", "250steps", 10, [0.86]),
        points("starter", "250steps", 5, [0.86, 0.84, 0.85]),
        points("scratch", "1240steps", 10, [0.5]),
        points("scratch", "300steps", 1, [0.5, 0.25]),
        points("scratch", "5min", 20, [0.75]),
    )
    lines = list(section(done))
    rows = [line for line in lines if line.startswith(("| scratch", "| a starter"))]
    assert rows == [
        "| scratch | 5 min | 20 | 1 of 3 | 0.750 | – | 0.750 | 100 | – | – |",
        "| scratch | 300 steps | 1 | 2 of 20 | 0.375 [0.250–0.500] | 0.275 | 0.375 "
        "| 100 | – | – |",
        "| scratch | 1,240 steps | 10 | 1 of 3 | 0.500 | – | 0.500 | 100 | – | – |",
        "| a starter | 1 min | 1 | 20 of 20 | 0.695 [0.600–0.790] | 0.619 | 0.695 "
        "| 100 | ≥ 0.8, 10th percentile ≥ 0.7 | **missed** |",
        "| a starter | 1 min | 5 | 3 of 3 | 0.850 [0.840–0.860] | – | 0.850 | 100 "
        "| ≥ 0.85 | met |",
        "| a starter | 1 min | 10 | 2 of 3 | 0.900 | – | 0.900 | 100 | ≥ 0.865 | – |",
        "| a starter | 250 steps | 5 | 3 of 3 | 0.850 [0.840–0.860] | – | 0.850 | 100 "
        "| ≥ 0.85 | met |",
        "| a starter | 250 steps | 10 | 1 of 3 | 0.860 | – | 0.860 | 100 "
        "| ≥ 0.865 | – |",
    ]
    assert "With torch 2." in lines
    assert any("No result yet" in line for line in section({}))
    assert not any("![" in line for line in section({}))


def test_single_images_need_their_median_and_their_tenth_percentile() -> None:
    good = [0.85] * 20
    for scores, verdict in ((good, "met"), ([*good[:17], 0.6, 0.6, 0.6], "**missed**")):
        lines = section(by_name(points("starter", "1min", 1, scores)))
        assert any(line.endswith(f"≥ 0.7 | {verdict} |") for line in lines)


def test_the_picture_has_every_line_and_what_others_published() -> None:
    done = by_name(
        points("scratch", "1min", 1, [0.25] * 20),
        points("scratch", "1min", 5, [0.75]),
        points("starter", "1min", 5, [0.85]),
    )
    root = ElementTree.fromstring(draw(done))
    words = [text.text for text in root.iter(f"{_SVG}text")]
    assert "from scratch, 1 min" in words
    assert "from a starter, 1 min" in words
    assert set(PUBLISHED) < set(words)
    # the axis begins below the lowest value
    assert min(w for w in words if w and w[:2] == "0.") == "0.2"
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    marks: dict[str, list[tuple[float, float]]] = {"scratch": [], "starter": []}
    for path in root.iter(f"{_SVG}path"):
        if "transform" not in path.attrib:
            continue
        inside = path.attrib["transform"].removeprefix("translate(").rstrip(")")
        x, y = map(float, inside.split())
        assert 0 < x < width
        assert 0 < y < height
        for start, colour in (("scratch", "#0072B2"), ("starter", "#D55E00")):
            if path.attrib["stroke"] == colour:
                marks[start].append((x, y))
    # the first of each is in the legend
    (one, five), (starter,) = marks["scratch"][1:], marks["starter"][1:]
    assert one[0] < five[0] < starter[0]
    assert one[1] > five[1] > starter[1]


def test_the_picture_is_drawn_beside_the_page_where_there_are_results(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md"
    write_report([], tmp_path, page)
    told = page.read_text(encoding="utf-8")
    assert "No result yet: `python -m benchmarks.accuracy curve" in told
    assert not (tmp_path / PICTURE).exists()
    (cell,) = points("scratch", "1min", 1, [0.5])
    (tmp_path / CURVE).write_text(f"{cell.model_dump_json()}\n", encoding="utf-8")
    write_report([], tmp_path, page)
    assert f"]({PICTURE})" in page.read_text(encoding="utf-8")
    drawn = (tmp_path / PICTURE).read_text(encoding="utf-8")
    assert drawn == draw({cell.cell: cell})
