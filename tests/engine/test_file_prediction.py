from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

from example_models import cropping_model, random_model
from large_images import ALL, CPU, SIZES, outputs, told, write_image
from napari_unet.core import events
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.instances import segment_instances  # noqa: F401 (in KILLED)
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.inference.block_sizes import BlockSizes
from napari_unet.engine.network.network import prepare
from napari_unet.io.export import write_weights
from napari_unet.io.images import read_image
from napari_unet.io.model_file import save_model
from napari_unet.io.ome_zarr import create_zarr
from napari_unet.io.prediction_folder import KINDS, PredictionFolder
from napari_unet.io.resumable_output import LargeArray


def predictor(
    model,
    folder,
    file,
    kinds=KINDS,
    settings=CPU,
    segmentation=ALL,
    overwrite=False,
    **rest,
):
    network = prepare(model, "cpu", "fp32")
    path = folder.with_suffix(".safetensors")
    if not path.exists():
        save_model(model, path)
    outputs = PredictionFolder(folder, kinds)
    made = FilePredictor(
        network, model.card, settings, segmentation, outputs, path, SIZES, **rest
    )
    return made.events(file, overwrite=overwrite)


@pytest.mark.parametrize(
    ("ndim", "shape", "axes"),
    [
        (2, (120, 140), "yx"),
        (2, (3, 100, 90), "zyx"),
        (3, (10, 36, 40), "zyx"),
        (2, (2, 3, 70, 60), "tzyx"),
    ],
)
def test_a_zarr_gives_what_a_tiff_gives(tmp_path, ndim, shape, axes):
    model = cropping_model(2, ndim)
    write_image(tmp_path / "a.zarr", shape, axes)
    write_image(tmp_path / "a.tif", shape, axes)
    cells = []
    for suffix in ("zarr", "tif"):
        running = predictor(model, tmp_path / suffix, tmp_path / f"a.{suffix}")
        made = list(running)
        cells.append(made[-1].cells)
        assert len([e for e in made if isinstance(e, events.PredictionFinished)]) == 1
    zarr, tiff = outputs(tmp_path / "zarr", "zarr"), outputs(tmp_path / "tif", "tif")
    np.testing.assert_allclose(zarr["probabilities"], tiff["probabilities"], atol=1e-6)
    np.testing.assert_array_equal(zarr["classes"], tiff["classes"])
    np.testing.assert_array_equal(zarr["instances"], tiff["instances"])
    assert cells[0] == cells[1] > 3
    assert sorted(p.name for p in (tmp_path / "zarr").iterdir()) == sorted(KINDS)


def test_a_tiff_whose_results_are_large_goes_by_blocks_into_zarr(tmp_path):
    model = cropping_model(2)
    file = tmp_path / "a.tif"
    write_image(file, (3, 100, 90), "zyx")
    whole = 3 * 100 * 90 * 2 * 4  # bytes of the probabilities of two classes
    made = {}
    for suffix, most in ("tif", whole), ("zarr", whole - 1):
        *_, made[suffix] = predictor(model, tmp_path / suffix, file, in_memory=most)
    tiff, zarr = outputs(tmp_path / "tif", "tif"), outputs(tmp_path / "zarr", "zarr")
    np.testing.assert_allclose(zarr["probabilities"], tiff["probabilities"], atol=1e-6)
    np.testing.assert_array_equal(zarr["instances"], tiff["instances"])
    assert made["tif"] == made["zarr"]
    assert made["zarr"].cells > 3
    # either way it is known again, and there once
    for suffix in ("tif", "zarr"):
        for most in (whole, 0):
            (again,) = predictor(model, tmp_path / suffix, file, in_memory=most)
            assert again.there


def test_what_is_made_again_in_blocks_replaces_the_tiff(tmp_path):
    model, file = cropping_model(2), tmp_path / "a.tif"
    write_image(file, (60, 70), "yx")
    kinds = ("instances",)
    list(predictor(model, tmp_path / "out", file, kinds))
    list(predictor(model, tmp_path / "out", file, kinds, in_memory=0, overwrite=True))
    assert [p.name for p in (tmp_path / "out" / "instances").iterdir()] == ["a.zarr"]


def test_an_image_of_other_pixels_is_resampled_as_in_memory(tmp_path):
    model = cropping_model(2)
    model = Model(model.card.replace(spacing_um=(1.0, 1.0)), model.weights)
    for suffix in ("zarr", "tif"):
        file = tmp_path / f"a.{suffix}"
        write_image(file, (120, 140), "yx", (0.6, 0.6))
        assert told(predictor(model, tmp_path / suffix, file), events.FilePredicted)
    zarr, tiff = outputs(tmp_path / "zarr", "zarr"), outputs(tmp_path / "tif", "tif")
    np.testing.assert_allclose(zarr["probabilities"], tiff["probabilities"], atol=1e-5)
    np.testing.assert_array_equal(zarr["instances"], tiff["instances"])


def test_a_network_that_normalises_its_window_has_the_same_in_blocks(tmp_path):
    table = u_shape(ndim=2, channels=2, classes=2, width=2, depth=2)
    model = random_model(table.replace(norm="instance", window=(40, 40)))
    kinds = ("probabilities",)
    found = {}
    for suffix in ("zarr", "tif"):
        file = tmp_path / f"a.{suffix}"
        write_image(file, (120, 140), "yx")
        list(predictor(model, tmp_path / suffix, file, kinds))
        found[suffix] = outputs(tmp_path / suffix, suffix, kinds)["probabilities"]
    np.testing.assert_array_equal(found["zarr"], found["tif"])


def test_only_cells_leave_no_probabilities_behind(tmp_path):
    write_image(tmp_path / "a.zarr", (100, 90), "yx")
    model = cropping_model(2)
    list(predictor(model, tmp_path / "all", tmp_path / "a.zarr"))
    kinds = ("instances",)
    list(predictor(model, tmp_path / "out", tmp_path / "a.zarr", kinds))
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["instances"]
    np.testing.assert_array_equal(
        outputs(tmp_path / "out", "zarr", kinds)["instances"],
        outputs(tmp_path / "all", "zarr", kinds)["instances"],
    )


def test_progress_goes_from_nothing_to_all_and_a_plane_is_done_once(tmp_path):
    write_image(tmp_path / "a.zarr", (2, 100, 90), "zyx")
    made = list(predictor(cropping_model(2), tmp_path / "out", tmp_path / "a.zarr"))
    tiles = [e for e in made if isinstance(e, events.TileDone)]
    assert np.all(np.diff([e.progress for e in tiles]) > 0)
    assert tiles[-1].progress == 1
    assert [(e.t, e.z) for e in tiles if e.field_done] == [(0, 0), (0, 1)]
    stages = [e.stage for e in made if isinstance(e, events.BlockDone)]
    assert list(dict.fromkeys(stages)) == ["classes", "cells", "numbers"]


def test_what_is_not_finite_is_told_before_anything_is_written(tmp_path):
    pixels = np.zeros((2, 150, 170), np.float32)
    pixels[1, 140, 3] = np.nan
    write_weights(tmp_path / "a.zarr", pixels, "cyx")
    with pytest.raises(ValueError, match="found nan at c=1, y=140, x=3"):
        list(predictor(cropping_model(2), tmp_path / "out", tmp_path / "a.zarr"))
    assert not list((tmp_path / "out").iterdir())


# Processes that are killed where a real one may be: after so many events. They are
# children of one that has torch loaded; what they leave behind is on disk only.
KILLED = """
import json, os, signal, sys
sys.path[:0] = json.loads(sys.argv[2])
import test_file_prediction as tests

folder = tests.Path(sys.argv[1])
model = tests.cropping_model(2)
import zarr
tests.segment_instances(tests.np.zeros((2, 9, 9)))
for stage, count in (("TileDone", 9), ("TileDone", 5), ("cells", 3), ("cells", 3)):
    child = os.fork()
    if not child:
        seen = 0
        for event in tests.predictor(model, folder / "out", folder / "a.zarr"):
            seen += stage in (type(event).__name__, getattr(event, "stage", ""))
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, stage
    assert not list(folder.glob("out/*/*.zarr/zarr.json")), stage
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_it_goes_on_and_ends_with_the_same(tmp_path):
    write_image(tmp_path / "a.zarr", (120, 140), "yx")
    paths = json.dumps([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", KILLED, str(tmp_path), paths]
    # threads do not survive a fork
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stderr
    last = list(predictor(cropping_model(2), tmp_path / "out", tmp_path / "a.zarr"))
    # the network had done all of it, and six of nine blocks had their cells
    names = [getattr(e, "stage", type(e).__name__) for e in last]
    assert names == ["PredictionFinished", *["cells"] * 3, "numbers", "FilePredicted"]
    (again,) = predictor(cropping_model(2), tmp_path / "out", tmp_path / "a.zarr")
    assert again.there
    assert not (tmp_path / "out" / "unfinished").exists()
    whole = list(predictor(cropping_model(2), tmp_path / "whole", tmp_path / "a.zarr"))
    assert last[-1].cells == whole[-1].cells > 10
    for kind, expected in outputs(tmp_path / "whole", "zarr").items():
        found = outputs(tmp_path / "out", "zarr")[kind]
        np.testing.assert_array_equal(found, expected)


def interrupted(tmp_path, count):
    """Predict up to some tile; return the file."""
    file = tmp_path / "a.zarr"
    write_image(file, (120, 140), "yx")
    running = predictor(cropping_model(2), tmp_path / "out", file)
    for _, event in zip(range(count), running, strict=False):
        assert isinstance(event, events.TileDone)
    running.close()
    return file


def test_finished_blocks_are_not_predicted_again(tmp_path):
    file = interrupted(tmp_path, 9)
    again = told(predictor(cropping_model(2), tmp_path / "out", file), events.TileDone)
    whole = told(
        predictor(cropping_model(2), tmp_path / "whole", file), events.TileDone
    )
    assert len(whole) - 9 <= len(again) < len(whole)
    assert again[0].progress > 1 / len(whole)
    assert again[-1].progress == 1


@pytest.mark.parametrize("failing", [0, 3, 10])
def test_a_block_that_could_not_be_written_is_predicted_again(
    tmp_path, monkeypatch, failing
):
    file = tmp_path / "a.zarr"
    write_image(file, (120, 140), "yx")
    write, writes = LargeArray.write_part, [0]

    def full(self, index, values):
        writes[0] += 1
        if writes[0] > failing:
            raise OSError("no space left on the disk")
        write(self, index, values)

    with monkeypatch.context() as patch:
        patch.setattr(LargeArray, "write_part", full)
        with pytest.raises(OSError, match="no space left"):
            list(predictor(cropping_model(2), tmp_path / "out", file))
    list(predictor(cropping_model(2), tmp_path / "out", file))
    list(predictor(cropping_model(2), tmp_path / "whole", file))
    for kind, expected in outputs(tmp_path / "whole", "zarr").items():
        found = outputs(tmp_path / "out", "zarr")[kind]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("named", [1, 2, 3])
def test_killed_while_results_get_their_names_it_goes_on(tmp_path, monkeypatch, named):
    write_image(tmp_path / "a.zarr", (120, 140), "yx")
    model, moved = cropping_model(2), []

    def crash(source, target):
        source.rename(target)
        moved.append(target)
        if len(moved) == named:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("napari_unet.io.resumable_output.move", crash)
        with pytest.raises(KeyboardInterrupt):
            list(predictor(model, tmp_path / "out", tmp_path / "a.zarr"))
    list(predictor(model, tmp_path / "out", tmp_path / "a.zarr"))
    list(predictor(model, tmp_path / "all", tmp_path / "a.zarr"))
    found, right = (outputs(tmp_path / name, "zarr") for name in ("out", "all"))
    for kind in KINDS:
        np.testing.assert_array_equal(found[kind], right[kind])
    assert not (tmp_path / "out" / "unfinished").exists()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("image", "of another image, or of this one before it was changed"),
        ("settings", "of other settings: threshold 0.5 instead of 0.6"),
        ("model", "of another model of the same name, out.safetensors"),
    ],
)
def test_unfinished_work_of_something_else_is_only_overwritten_on_demand(
    tmp_path, change, difference
):
    file = interrupted(tmp_path, 9)
    model, settings = cropping_model(2), ALL
    if change == "image":
        write_image(file, (120, 140), "yx", seed=1)
    elif change == "settings":
        settings = ALL.replace(threshold=0.6)
    else:
        bias = {"score.bias": model.weights["score.bias"] + 1}
        model = Model(model.card, {**model.weights, **bias})
        save_model(model, tmp_path / "out.safetensors")
    done = tmp_path / "out" / "unfinished" / "a" / "done"
    before = sorted(done.iterdir())
    with pytest.raises(FileExistsError, match=f"a: is unfinished work {difference}; u"):
        list(predictor(model, tmp_path / "out", file, segmentation=settings))
    assert sorted(done.iterdir()) == before
    made = predictor(
        model, tmp_path / "out", file, segmentation=settings, overwrite=True
    )
    tiles = told(made, events.TileDone)
    made = predictor(model, tmp_path / "whole", file, segmentation=settings)
    assert len(tiles) == len(told(made, events.TileDone))
    np.testing.assert_array_equal(
        outputs(tmp_path / "out", "zarr")["probabilities"],
        outputs(tmp_path / "whole", "zarr")["probabilities"],
    )


def test_names_and_tiles_are_no_other_work(tmp_path):
    file = interrupted(tmp_path, 9)
    (tmp_path / "out.safetensors").rename(tmp_path / "renamed.safetensors")
    model = cropping_model(2)
    folder = PredictionFolder(tmp_path / "out")
    path, settings = tmp_path / "renamed.safetensors", CPU.replace(tile=48)
    network = prepare(model, "cpu", "fp32")
    made = FilePredictor(network, model.card, settings, ALL, folder, path, SIZES)
    again = told(made.events(file), events.TileDone)
    whole = predictor(model, tmp_path / "whole", file, settings=settings)
    assert len(again) < len(told(whole, events.TileDone))


MEMORY = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
import test_file_prediction as tests

folder = tests.Path(sys.argv[1])
peaks = [tests.peak() for _ in tests.predict_large(folder / "a.zarr", folder / "out")]
print(peaks[0], peaks[-1])
"""


def peak():
    """Most memory that this process has had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(s.split()[1]) for s in lines if s.startswith("VmHWM")) / 1024


def large(path, shape):
    """A uint8 image of discs, two channels, written band by band."""
    y, x = np.ogrid[:512, : shape[1]]
    discs = (np.hypot(y % 32 - 16, x % 32 - 16) < 10).astype(np.uint8) * 200
    with create_zarr(path, (2, *shape), "cyx", np.uint8) as out:
        for row in range(0, shape[0], 512):
            out[0, row : row + 512] = 200 - discs
            out[1, row : row + 512] = discs


def predict_large(file, target):
    model = cropping_model(2)
    sizes = BlockSizes(
        predicted_plane=(1024, 1024), whole=0, plane=(512, 512), plane_margin=64
    )
    path = target.with_suffix(".safetensors")
    save_model(model, path)
    kinds = ("instances",)
    folder = PredictionFolder(target, kinds)
    settings = CPU.replace(tile=512)
    network = prepare(model, "cpu", "fp32")
    made = FilePredictor(network, model.card, settings, ALL, folder, path, sizes)
    return made.events(file)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_image(tmp_path):
    large(tmp_path / "a.zarr", (9216, 2048))
    paths = json.dumps([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", MEMORY, str(tmp_path), paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    begin, end = (float(peak) for peak in done.stdout.split())
    cells = read_image(tmp_path / "out" / "instances" / "a.zarr").data
    assert cells[-16, -16] == 288 * 64
    # before the first tile the grey values were measured; with the cells of the whole
    # it would be 200 MB more, with the probabilities in memory another 150
    assert end - begin < 200


def test_classes_of_a_model_without_cells_are_written_too(tmp_path):
    model = cropping_model(2)
    regions = (ClassInfo(name="gland", kind="regions"),)
    model = Model(model.card.replace(classes=regions), model.weights)
    write_image(tmp_path / "a.zarr", (70, 80), "yx")
    *_, last = predictor(model, tmp_path / "out", tmp_path / "a.zarr")
    assert last.cells == 0
    found = outputs(tmp_path / "out", "zarr")
    np.testing.assert_array_equal(found["classes"], found["probabilities"].argmax(0))
    assert found["classes"].any()
    assert not found["instances"].any()


@pytest.mark.parametrize("file", ["a.zarr", "a.tif"])
@pytest.mark.parametrize(
    ("ndim", "shape", "axes"), [(2, (2, 90, 100), "zyx"), (3, (12, 30, 40), "zyx")]
)
def test_pieces_of_regions_go_in_memory_and_in_blocks(
    tmp_path, file, ndim, shape, axes
):
    model = cropping_model(2, ndim)
    regions = (ClassInfo(name="gland", kind="regions"),)
    model = Model(model.card.replace(classes=regions), model.weights)
    write_image(tmp_path / file, shape, axes)
    kept = ALL.replace(smallest_piece=60, largest_only=(1,))
    list(predictor(model, tmp_path / "out", tmp_path / file, segmentation=kept))
    suffix = "zarr" if file.endswith("zarr") else "tif"
    found = outputs(tmp_path / "out", suffix)
    most = found["probabilities"].argmax(0)
    fields = [found["classes"]] if ndim == 3 else found["classes"]
    for one, whole in zip(fields, [most] if ndim == 3 else most, strict=True):
        pieces, count = label(whole == 1)
        assert count > 1
        largest = 1 + np.bincount(pieces.ravel())[1:].argmax()
        np.testing.assert_array_equal(one == 1, pieces == largest)


def test_regions_that_are_too_large_to_be_tidied_are_refused(tmp_path, monkeypatch):
    from napari_unet.engine.inference import block_prediction

    monkeypatch.setattr(block_prediction, "_TIDIED", 5000)
    model = cropping_model(2)
    regions = (ClassInfo(name="gland", kind="regions"),)
    model = Model(model.card.replace(classes=regions), model.weights)
    write_image(tmp_path / "a.zarr", (70, 80), "yx")
    for settings in (ALL.replace(smallest_piece=9), ALL.replace(largest_only=(1,))):
        running = predictor(
            model, tmp_path / "out", tmp_path / "a.zarr", segmentation=settings
        )
        with pytest.raises(ValueError, match=r"70 × 80 pixels are too many"):
            list(running)
    # nothing else is refused for it
    list(predictor(model, tmp_path / "out", tmp_path / "a.zarr"))


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
@pytest.mark.parametrize(
    ("ndim", "shape", "axes", "words"),
    [
        (3, (36, 40), "yx", "one slice"),
        (3, (3, 36, 40), "tyx", "if its 3 time points are slices"),
        (3, (4, 36, 40), "zyx", ""),
        (2, (36, 40), "yx", ""),
    ],
)
def test_a_single_plane_for_a_network_of_volumes_is_told(
    tmp_path, ndim, shape, axes, words, suffix
):
    write_image(tmp_path / f"a.{suffix}", shape, axes)
    *_, last = predictor(
        cropping_model(2, ndim), tmp_path / "out", tmp_path / f"a.{suffix}"
    )
    told = [note for note in last.notes if "slice" in note]
    assert [words in note for note in told] == [True] * bool(words)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 3e38, -3.4e38, 2e36])
@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_numbers_that_stand_for_no_value_are_refused(tmp_path, value, suffix):
    """Some programs write the largest that there is; with it sums are infinite."""
    pixels = np.ones((40, 50), np.float32)
    pixels[7, 9] = value
    with create_zarr(tmp_path / "a.zarr", pixels.shape, "yx", "f4") as array:
        array[:] = pixels
    write_weights(tmp_path / "a.tif", pixels, "yx", None)
    running = predictor(cropping_model(2), tmp_path / "out", tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match=r"1e\+36, found .* at .*y=7, x=9"):
        list(running)
