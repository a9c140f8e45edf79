from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.commands import Attempt, evaluation, written
from benchmarks.accuracy.curve import PICTURE
from benchmarks.accuracy.everything import commands
from benchmarks.accuracy.experiment import own_command, run_experiment
from benchmarks.accuracy.export import export, read_planes
from benchmarks.accuracy.report import report, score_table, write_report
from benchmarks.accuracy.result import Forest, Result, Run, Spread
from benchmarks.accuracy.scribbles import scribble
from benchmarks.accuracy.task import Sample, Target, Task
from benchmarks.accuracy.tasks import TASKS
from benchmarks.accuracy.trial import SETS, trial
from benchmarks.interaction.__main__ import report as interaction_report
from benchmarks.interaction.watchdog import running
from benchmarks.pretrained import COLLECTIONS, MODELS
from benchmarks.pretrained import export as export_learnt
from benchmarks.pretrained import main as make_starter
from napari_unet.cli.pairing import pair_files
from napari_unet.core.images.image import Field
from napari_unet.engine.training.preparation import fingerprint
from napari_unet.io import samples
from napari_unet.io.images import read_image
from napari_unet.io.model_file import read_card
from napari_unet.io.pretrained import PRETRAINED, model_path, pretrained_model

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"

TASK = Task(
    name="plates",
    title="Plates",
    folder="plates",
    learnt=(Sample("section01", "volume.tif", "labels.tif", range(1, 2)),),
    tested=(Sample("section02", "volume.tif", "labels.tif", range(2, 3)),),
    labels="binary",
    metrics=("pixel_error@0.5", "iou"),
    shown=("pixel_error@0.5", "iou"),
    targets=(
        Target("pixel_error@0.5", 1.0, at_most=0.9, relative=True),
        Target("iou", 5.0, at_least=0.75),
    ),
)


def run(minutes: float, seed: int, error: float, iou: float) -> Run:
    return Run(
        minutes=minutes,
        seed=seed,
        steps=100 + seed,
        seconds=60 * minutes,
        prediction_seconds=2.0,
        device="cpu (2 threads)",
        precision="bf16",
        scores={"pixel_error@0.5": error, "iou": iou},
        commands=("napari-unet train", "napari-unet predict", "napari-unet evaluate"),
    )


RESULT = Result(
    task="plates",
    command="python -m benchmarks.accuracy plates",
    versions={"torch": "2.0"},
    runs=(
        # not in order, so that the median has to sort
        run(1.0, 2, 0.15, 0.5),
        run(1.0, 0, 0.05, 0.5),
        run(1.0, 1, 0.09, 0.5),
        run(5.0, 0, 0.08, 0.7),
    ),
    forest=Forest(
        settings="100 trees",
        seconds=31.4,
        prediction_seconds=9.6,
        scores={"pixel_error@0.5": 0.1, "iou": 0.6},
        command="napari-unet evaluate forest",
    ),
)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_task_tests_nothing_that_it_learns(task: Task) -> None:
    learnt, tested = ({s.name for s in part} for part in (task.learnt, task.tested))
    assert learnt.isdisjoint(tested)
    assert len(learnt) == len(task.learnt)  # equal names would overwrite each other
    assert len(tested) == len(task.tested)
    planes = [
        {(s.image, p) for s in part for p in s.planes or (None,)}
        for part in (task.learnt, task.tested)
    ]
    assert planes[0].isdisjoint(planes[1])


@pytest.mark.parametrize(
    ("name", "learnt", "tested"),
    [
        ("isbi2012", 3, 8),
        ("hela", 5, 25),
        ("hela_other", 5, 24),
        ("isbi2012_accurate", 15, 4),
        ("hela_accurate", 50, 25),
        ("usiigaci", 6, 3),
        ("dsb2018", 20, 30),
        ("qcanet", 1, 1),
        ("bbbc039", 10, 8),
    ],
)
def test_the_splits_have_the_published_sizes(
    name: str, learnt: int, tested: int
) -> None:
    assert (len(TASKS[name].learnt), len(TASKS[name].tested)) == (learnt, tested)


def test_bbbc039_is_tested_on_other_wells() -> None:
    task = TASKS["bbbc039"]
    learnt, tested = (
        {s.name.split("_")[1] for s in part} for part in (task.learnt, task.tested)
    )
    assert learnt.isdisjoint(tested)


def test_hela_other_is_tested_long_after_what_is_learnt() -> None:
    task = TASKS["hela_other"]
    learnt, tested = (
        [int(s.name[1:]) for s in part] for part in (task.learnt, task.tested)
    )
    assert min(tested) - max(learnt) == 44


def test_qcanet_is_learnt_and_tested_on_every_plane_once() -> None:
    task = TASKS["qcanet"]
    planes = [s.planes for s in (*task.learnt, *task.tested)]
    assert planes == [range(34), range(34, 51)]


@pytest.mark.skipif(not DATA.is_dir(), reason="the datasets are not here")
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_file_of_a_task_is_there_and_large_enough(task: Task) -> None:
    task.check(DATA)
    for sample in (*task.learnt, *task.tested):
        files = [DATA / task.folder / f for f in (sample.image, sample.labels)]
        shapes = []
        for file in files:
            with tifffile.TiffFile(file) as tiff:
                shapes.append(tiff.series[0].shape)
        # the last axis of colours has no label
        assert shapes[0][: len(shapes[1])] == shapes[1]
        if sample.planes is not None:
            assert sample.planes.stop <= shapes[0][0]


def test_missing_data_are_named_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    options = ["--data", str(tmp_path), "--output", str(output)]
    assert main(["usiigaci", *options]) == 1
    told = capsys.readouterr().err
    assert "usiigaci: 18 file(s) are missing" in told
    assert "set01.tif" in told
    assert not output.exists()


@pytest.mark.skipif(not DATA.is_dir(), reason="the datasets are not here")
def test_what_predicts_with_models_of_another_task_says_which_has_to_be_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(DATA), "--output", str(tmp_path / "out")]
    assert main(["hela_averaged", *options]) == 1
    assert "models of hela_whole, which has to be run first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_single_planes_are_exported_as_planes_and_ranges_as_stacks(
    tmp_path: Path,
) -> None:
    volume = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    tifffile.imwrite(tmp_path / "volume.tif", volume, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", volume + 100, photometric="minisblack")
    samples = (
        Sample("one", "volume.tif", "labels.tif", range(3, 4)),
        Sample("some", "volume.tif", "labels.tif", range(2, 5)),
        Sample("file", "volume.tif", "labels.tif"),
    )
    export(samples, tmp_path, tmp_path / "learnt")
    for kind, added in (("images", 0), ("labels", 100)):
        folder = tmp_path / "learnt" / kind
        assert sorted(f.name for f in folder.iterdir()) == [
            "file.tif",
            "one.tif",
            "some.tif",
        ]
        one, some = (tifffile.imread(folder / f"{n}.tif") for n in ("one", "some"))
        np.testing.assert_array_equal(
            one, np.array([[18, 19, 20], [21, 22, 23]]) + added
        )
        np.testing.assert_array_equal(some, volume[2:5] + added)
        copied = folder / "file.tif"
        original = tmp_path / {"images": "volume.tif", "labels": "labels.tif"}[kind]
        assert copied.read_bytes() == original.read_bytes()


def test_planes_beyond_a_stack_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "volume.tif"
    tifffile.imwrite(file, np.zeros((5, 2, 3), np.uint8), photometric="minisblack")
    assert read_planes(file, range(4, 5)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"stack of 6 planes .* shape \(5, 2, 3\)"):
        read_planes(file, range(5, 6))


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_command_line_understands_what_it_is_given(task: Task) -> None:
    attempt = Attempt(task, Path("out") / task.name, 0.2, 3)
    train, predict, evaluate = (
        parsed(attempt.train()),
        parsed(attempt.predict()),
        parsed(attempt.evaluate()),
    )
    folder = Path("out") / task.name / "minutes0.2-seed3"
    assert (train.minutes, train.seed, train.kind) == (0.2, 3, task.labels)
    trained = Path("out") / (task.trained or task.name) / "minutes0.2-seed3"
    own = model_path(task.starter) if task.starter else trained / "model.safetensors"
    assert predict.model == own
    if task.starter:
        return
    assert train.output == own
    assert train.images == str(Path("out") / task.name / "learnt" / "images")
    assert predict.images == [str(Path("out") / task.name / "tested" / "images")]
    assert predict.save == task.save
    assert predict.output == Path(evaluate.predictions) == folder
    assert evaluate.truth == [str(Path("out") / task.name / "tested" / "labels")]
    assert evaluate.metric == list(task.metrics)
    assert train.axes == predict.axes == evaluate.axes == task.axes
    is_volume = task.name in {"qcanet", "plantseg", "vnc"}
    assert (train.ndim, evaluate.volumes) == (3 if is_volume else 2, is_volume)


@pytest.mark.skipif(not DATA.is_dir(), reason="the datasets are not here")
@pytest.mark.parametrize("name", SETS)
def test_a_trial_is_judged_by_what_is_neither_learnt_nor_tested(name: str) -> None:
    task = trial(name, DATA, ("--steps", "300", "--border-w0", "10"))
    judged = {sample.name for sample in task.tested}
    assert len(judged) == len(task.tested) >= 2
    assert judged.isdisjoint(sample.name for sample in task.learnt)
    assert judged.isdisjoint(sample.name for sample in TASKS[name].tested)
    task.check(DATA)
    options = parsed(Attempt(task, Path("out"), 0.0, 3).train())
    # a budget in steps is the only one
    assert (options.steps, options.minutes, options.seed) == (300, None, 3)


@pytest.mark.parametrize("name", commands())
def test_the_command_line_understands_how_all_is_learnt(name: str) -> None:
    train, predict = (parsed(line.split()[1:]) for line in commands(str(DATA))[name])
    assert (train.preset, train.minutes) == ("accurate", 60)
    assert predict.model == train.output == Path(f"{name}.safetensors")
    assert predict.averaging == "dihedral"
    assert train.axes == predict.axes == ("zyx" if train.ndim == 3 else None)
    if DATA.exists():
        assert pair_files([train.images], [train.labels]).pairs


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Parse with the options of the product's own subcommand."""
    name, *rest = arguments
    parser = argparse.ArgumentParser()
    import_module(f"napari_unet.cli.{name}").add_options(parser)
    return parser.parse_args(rest)


def test_a_metric_finds_its_kind_among_the_predictions_saved() -> None:
    from napari_unet.cli.predictions import SOURCES
    from napari_unet.core.metrics import METRICS

    for task in TASKS.values():
        wanted = {SOURCES[METRICS[name].wants][0] for name in task.metrics}
        assert wanted == set(task.save.split(","))


def test_grey_labels_become_membrane_and_inside(tmp_path: Path) -> None:
    grey = np.array([[[0, 128], [159, 255]]] * 4, np.uint8)
    for name in ("raw.tif", "labels.tif"):
        tifffile.imwrite(tmp_path / name, grey, photometric="minisblack")
    sample = Sample("planes0-1", "raw.tif", "labels.tif", range(2))
    export((sample,), tmp_path, tmp_path / "out", membrane=128)
    labels = tifffile.imread(tmp_path / "out" / "labels" / "planes0-1.tif")
    image = tifffile.imread(tmp_path / "out" / "images" / "planes0-1.tif")
    assert labels.tolist() == [[[0, 0], [255, 255]]] * 2
    np.testing.assert_array_equal(image, grey[:2])


def test_the_forest_is_evaluated_as_we_are() -> None:
    task = TASKS["isbi2012"]
    place = Path("out")
    ours = Attempt(task, place, 1.0, 0)
    forest = evaluation(task, place, place / "forest")
    swapped = [
        a.replace(str(ours.folder), str(place / "forest")) for a in ours.evaluate()
    ]
    assert forest == swapped


def test_the_forest_learns_bright_objects(tmp_path: Path) -> None:
    forest = pytest.importorskip("benchmarks.accuracy.forest")
    y, x = np.mgrid[:48, :64]
    labels = ((y // 12 + x // 16) % 2).astype(np.uint8) * 255
    rng = np.random.default_rng(0)
    for kind, data in (
        ("images", (labels // 2 + rng.integers(0, 60, labels.shape)).astype(np.uint8)),
        ("labels", labels),
    ):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "board.tif", data)
    trained, seconds = forest.train_forest(tmp_path)
    assert trained.n_features_in_ == 20
    assert seconds > 0
    forest.predict_forest(trained, tmp_path / "images", tmp_path / "found")
    found = tifffile.imread(tmp_path / "found" / "probabilities" / "board.tif")
    classes = tifffile.imread(tmp_path / "found" / "classes" / "board.tif")
    assert (found.dtype, classes.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(classes, found > 0.5)
    assert np.mean(classes == (labels > 0)) > 0.95


def test_the_table_shows_median_ends_ratio_and_verdict() -> None:
    assert score_table(TASK, RESULT)[2:] == [
        "| 1 | `pixel_error@0.5` | 0.0900 [0.0500–0.1500] | 0.1000 | 0.900 "
        "| ≤ 0.9 × reference | met |",
        "| 1 | `iou` | 0.5000 | 0.6000 | 0.833 | – | – |",
        "| 5 | `pixel_error@0.5` | 0.0800 | 0.1000 | 0.800 | – | – |",
        "| 5 | `iou` | 0.7000 | 0.6000 | 1.167 | ≥ 0.75 | **missed** |",
    ]


def test_a_score_that_older_results_lack_is_not_measured() -> None:
    newer = replace(
        TASK,
        shown=("iou", "dice"),
        targets=(Target("dice", 5.0, at_least=0.9),),
    )
    assert score_table(newer, RESULT)[4:] == [
        "| 5 | `iou` | 0.7000 | 0.6000 | 1.167 | – | – |",
        "| 5 | `dice` | not measured | – | – | ≥ 0.9 | – |",
    ]
    full = replace(TASK, name="strokes", full=TASK.name, shown=("dice",))
    runs = [run(5.0, 0, 0.1, 0.8).model_copy(update={"scores": {"dice": 0.8}})]
    few = Result(task="strokes", command="x", versions={}, runs=tuple(runs))
    assert score_table(full, few, RESULT)[2:] == [
        "| 5 | `dice` | 0.8000 | – | – | – | – |"
    ]


def test_a_target_holds_at_its_bounds_and_not_beyond() -> None:
    most, least = Target("a", 1.0, at_most=0.9), Target("a", 1.0, at_least=0.8)
    assert most.met(0.9)
    assert not most.met(0.9001)
    assert least.met(0.8)
    assert not least.met(0.7999)
    both = replace(most, at_least=0.8, relative=True)
    assert str(both) == "≤ 0.9 and ≥ 0.8 × reference"


def test_without_a_forest_nothing_is_compared_with_it() -> None:
    alone = RESULT.model_copy(update={"forest": None, "runs": RESULT.runs[3:]})
    assert score_table(TASK, alone)[2:] == [
        "| 5 | `pixel_error@0.5` | 0.0800 | – | – | – | – |",
        "| 5 | `iou` | 0.7000 | – | – | ≥ 0.75 | **missed** |",
    ]


def test_a_target_relative_to_a_forest_without_error_has_no_verdict() -> None:
    forest = RESULT.forest
    assert forest is not None
    perfect = forest.model_copy(update={"scores": {"pixel_error@0.5": 0.0, "iou": 1.0}})
    first = score_table(TASK, RESULT.model_copy(update={"forest": perfect}))[2]
    assert first.endswith("| 0.0000 | – | ≤ 0.9 × reference | – |")


def test_the_page_holds_every_result_and_names_what_is_not_run(tmp_path: Path) -> None:
    RESULT.write(tmp_path / "plates.json")
    other = replace(TASK, name="dishes", title="Dishes")
    write_report([TASK, other], tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.index("## Plates") < page.index("## Dishes")
    assert "Learnt: section01. Labels: binary. Tested: section02." in page
    assert (
        "| 1 | 60.0 | 101 [100–102] | 2.0 | cpu (2 threads) | bf16 | 0, 1, 2 |" in page
    )
    assert "Reference: a forest, 100 trees; trained in 31 s, predicted in 10 s." in page
    assert "python -m benchmarks.accuracy plates\nnapari-unet train\n" in page
    assert "No result yet: `python -m benchmarks.accuracy dishes`." in page
    assert "No result yet: `python -m benchmarks.accuracy plates`." not in page


def test_the_committed_page_is_the_one_the_committed_results_give(
    tmp_path: Path,
) -> None:
    write_report(TASKS.values(), ROOT / "docs" / "accuracy", tmp_path / "page.md")
    committed = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == committed
    drawn = [(place / PICTURE) for place in (tmp_path, ROOT / "docs")]
    pictures = [p.read_text(encoding="utf-8") for p in drawn if p.exists()]
    assert len(pictures) in {0, 2}
    assert len(set(pictures)) <= 1


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_starter_has_learnt_no_pixels_that_are_tested(name: str) -> None:
    learnt = {r.sha256 for r in read_card(pretrained_model(name)).images}
    assert learnt
    if not DATA.is_dir():
        pytest.skip("there are no images that are tested")
    planar = [t for t in TASKS.values() if not t.axes and "isbi" not in t.folder]
    for file in {DATA / t.folder / s.image for t in planar for s in t.tested}:
        assert fingerprint(Field(read_image(file), z=0)) not in learnt, file


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_starter_without_a_collection_learns_nothing_of_it(
    name: str, collection: str, tmp_path: Path
) -> None:
    if not DATA.is_dir():
        pytest.skip("there are no images to learn")
    place = tmp_path / name
    if MODELS[name].collections == (collection,):
        with pytest.raises(ValueError, match="nothing is left to learn"):
            export_learnt(MODELS[name], DATA, place, collection)
        return
    learnt = set(export_learnt(MODELS[name], DATA, place, collection))
    assert learnt
    for folder in COLLECTIONS[collection]:
        assert not learnt & {f.name for f in (DATA / folder / "images").iterdir()}


def test_a_starter_is_made_by_trainings_that_go_on_from_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(MODELS["smear"], trainings=(("--steps", "2"), ("--steps", "3")))
    monkeypatch.setitem(MODELS, "smear", recipe)
    for kind, one in zip(("images", "labels"), samples.smear()[0], strict=True):
        folder = tmp_path / COLLECTIONS["bbbc038_smear"][0] / kind
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "one.tif", one.data[:300, :300])
    output = tmp_path / "new" / "smear.safetensors"
    make_starter(["smear", "--data", str(tmp_path), "--output", str(output)])
    card = read_card(output)
    assert card.steps == 5
    assert [record.name for record in card.images] == ["one"]


def test_scores_of_scribbles_are_shares_of_those_of_all_labels() -> None:
    few = replace(TASK, name="strokes", full=TASK.name, scribbles=True)
    result = Result(
        task="strokes",
        command="x",
        versions=RESULT.versions,
        runs=(run(1.0, 0, 0.28, 0.6),),
    )
    full = Result(
        task=TASK.name,
        command="x",
        versions=RESULT.versions,
        runs=(run(1.0, 0, 0.1, 0.8),),
    )
    error, iou = score_table(few, result, full)[2:4]
    # of errors, what is right is compared: 0.72 with 0.9
    assert "| 0.2800 | 0.1000 | 0.800 |" in error
    assert "| 0.6000 | 0.8000 | 0.750 |" in iou


@pytest.mark.parametrize("seed", [0, 1])
def test_scribbles_cover_one_percent_and_keep_away_from_borders(seed: int) -> None:
    y, x = np.mgrid[:300, :300]
    # touching squares of 50 pixels in two thirds of the image
    labels = np.where(x < 200, 1 + (y // 50) * 4 + x // 50, 0)
    drawn = scribble(labels, seed)
    painted = drawn > 0
    assert 0.01 <= painted.mean() < 0.0101
    background = np.count_nonzero(drawn == 1)
    assert background / np.count_nonzero(painted) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(drawn[drawn > 1] - 1, labels[drawn > 1])
    assert not labels[drawn == 1].any()
    for dy, dx in ((0, 2), (2, 0), (0, -2), (-2, 0), (1, 1)):
        moved = np.roll(labels, (dy, dx), (0, 1))
        inside = (y > 2) & (y < 297) & (x > 2) & (x < 297)
        assert (moved == labels)[painted & inside].all()


def test_scribbles_are_drawn_by_their_seed() -> None:
    labels = np.zeros((100, 100), int)
    labels[20:60, 20:60] = 7
    np.testing.assert_array_equal(scribble(labels, 3), scribble(labels, 3))
    assert (scribble(labels, 3) != scribble(labels, 4)).any()


def test_where_there_is_no_room_nothing_is_painted() -> None:
    stripes = np.tile((np.arange(60) + 2) // 4 % 2, (60, 1))
    assert not scribble(stripes, 0).any()


def test_exported_scribbles_are_labels_of_an_annotation(tmp_path: Path) -> None:
    labels = np.zeros((100, 100), np.uint16)
    labels[20:60, 20:60] = 7
    for name in ("image.tif", "labels.tif"):
        tifffile.imwrite(tmp_path / name, labels)
    sample = Sample("a", "image.tif", "labels.tif")
    export((sample,), tmp_path, tmp_path / "out", scribbles=True)
    written = tifffile.imread(tmp_path / "out" / "labels" / "a.tif")
    np.testing.assert_array_equal(written, scribble(labels, 0))
    assert set(np.unique(written)) == {0, 1, 8}


def test_the_committed_page_on_interaction_is_the_one_its_results_give() -> None:
    docs = ROOT / "docs"
    runs = json.loads((docs / "interaction.json").read_text(encoding="utf-8"))
    committed = (docs / "interaction.md").read_text(encoding="utf-8")
    assert interaction_report(runs) == committed


def test_what_napari_does_for_the_plugin_is_told_from_code_of_the_plugin() -> None:
    seen: list[tuple[str, bool]] = []

    def look(*_: object) -> None:
        seen.append(running(sys._getframe()))

    def function_of(module: str, call: Callable[..., object]) -> FunctionType:
        known = {"__name__": module, "call": call}
        return FunctionType(compile("call()", "<test>", "exec"), known)

    ours = function_of("napari_unet.session.showing", look)
    ours()
    function_of("napari_unet.gui.page", function_of("napari.layers.base", look))()
    function_of("napari.utils.events", ours)()
    look()
    assert seen == [
        ("session.showing.<module>", False),
        ("gui.page.<module>", True),
        ("session.showing.<module>", False),
        ("", False),
    ]


def test_the_page_on_interaction_has_the_share_of_napari_in_the_longest_steps() -> None:
    runs = json.loads((ROOT / "docs" / "interaction.json").read_text(encoding="utf-8"))
    longest = {"own": 30.0, "where": "", "napari": 100.0, "both": 120.0}
    alone = {"append": 75.0, "remove": 330.0}
    runs["steps"] = [{"predicting": longest, "napari alone": alone}]
    page = interaction_report(runs)
    assert "| longest step, predicting | 30 ms | ≤ 50 ms | met |" in page
    assert "| predicting | 30 | 100 | 120 |" in page


def test_a_result_of_no_task_is_refused() -> None:
    stray = RESULT.model_copy(update={"task": "stray"})
    with pytest.raises(ValueError, match="tasks plates, found 'stray'"):
        report([TASK], [stray], [])


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    undefined = run(5.0, 1, float("nan"), 0.5)
    RESULT.model_copy(update={"runs": (undefined,)}).write(tmp_path / "r" / "a.json")
    back = Result.read(tmp_path / "r" / "a.json")
    assert np.isnan(back.runs[0].scores["pixel_error@0.5"])
    assert back.forest == RESULT.forest
    assert [f.name for f in (tmp_path / "r").iterdir()] == ["a.json"]


def test_runs_are_added_to_those_of_an_earlier_call(tmp_path: Path) -> None:
    nuclei = tmp_path / "nuclei"
    nuclei.mkdir()
    for name, pixels in zip(("image", "labels"), samples.nuclei()[0], strict=True):
        crop = np.asarray(pixels.data).squeeze()[150:300, 180:330]
        tifffile.imwrite(nuclei / f"{name}.tif", crop)
    task = replace(
        TASKS["dsb2018_same_starter"],
        folder=nuclei.name,
        learnt=(),
        tested=(Sample("a", "image.tif", "labels.tif"),),
    )
    with pytest.raises(FileNotFoundError, match="there is no result to add to"):
        run_experiment(task, nuclei.parent, tmp_path, (0.0,), (0,), add=True)
    first = run_experiment(task, nuclei.parent, tmp_path, (0.0,), (1,))
    both = run_experiment(task, nuclei.parent, tmp_path, (0.0,), (0, 1), add=True)
    assert [run.seed for run in both.runs] == [1, 0]
    # measured once: its seconds are the same
    assert both.runs[0] == first.runs[0]
    assert both.command.endswith("--minutes 0 --seeds 0 1")
    assert both == Result.read(tmp_path / f"{task.name}.json")
    assert both.versions["processor"]
    assert both.versions["precision"] in {"fp32", "bf16", "fp16"}
    both.model_copy(update={"versions": {"torch": "1.0"}}).write(
        tmp_path / f"{task.name}.json"
    )
    with pytest.raises(ValueError, match="measure all of it anew"):
        run_experiment(task, nuclei.parent, tmp_path, (0.0,), (2,), add=True)


def test_a_file_that_is_no_result_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"task": "plates", "colour": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.json: is no result of this benchmark"):
        Result.read(file)


def test_the_spread_of_an_even_number_is_the_middle_of_two() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 9.0]) == Spread(middle=3.0, least=1.0, most=9.0)


def test_commands_are_written_as_one_would_type_them() -> None:
    assert written(["train", "a b", "--3d"]) == "napari-unet train 'a b' --3d"
    line = own_command("hela", (0.2, 5.0), (0, 1), "cuda")
    assert line == (
        "python -m benchmarks.accuracy hela --minutes 0.2 5 --seeds 0 1 --device cuda"
    )
