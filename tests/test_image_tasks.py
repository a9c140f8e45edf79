"""Networks that make images, from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.image_scores import image_scores
from napari_unet.cli.main import main
from napari_unet.io.images import read_image
from napari_unet.io.model_file import read_card
from napari_unet.io.ome_zarr import create_zarr
from napari_unet.io.prediction_folder import RECORD
from test_cli import failing

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.images.image import Image

SMALL = ("--width", "4", "--depth", "1", "--patch", "24", "--batch", "2")
STEPS = ("--steps", "3", "--device", "cpu")


def scene(seed: int, shape: tuple[int, ...] = (70, 60)) -> np.ndarray:
    return 100 + np.random.default_rng(seed).random(shape) * 50


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images with targets, and a model of each task."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("noisy", "clean"):
        (folder / name).mkdir()
    for number in range(3):
        image = scene(number)
        tifffile.imwrite(folder / "noisy" / f"{number}.tif", image.astype(np.uint16))
        wanted = np.stack([2 * image, -image]).astype(np.float32)
        tifffile.imwrite(
            folder / "clean" / f"{number}.tif",
            wanted,
            metadata={"axes": "CYX"},
            ome=True,
        )
    noisy, clean = str(folder / "noisy"), str(folder / "clean")
    for task, what in (("denoise", [noisy]), ("regress", [noisy, clean])):
        command = ["train", *what, "--task", task, *SMALL, *STEPS]
        output = str(folder / f"{task}.safetensors")
        report = str(folder / f"{task}.json")
        assert main([*command, "--output", output, "--json", report]) == 0
    return folder


def test_reports_tell_what_was_learnt_from_and_how_well(data: Path) -> None:
    denoise = json.loads((data / "denoise.json").read_text())
    assert [name[-5:] for name in denoise["images"]] == ["0.tif", "1.tif", "2.tif"]
    assert denoise["validation"] is None
    assert denoise["notes"][0] == "3 images: 0.tif, 1.tif, 2.tif."
    regress = json.loads((data / "regress.json").read_text())
    assert [set(pair) for pair in regress["pairs"]] == [{"image", "target"}] * 3
    assert set(regress["validation"]) == {"loss", "psnr", "ssim", "pearson", "pixels"}
    assert "PSNR" in regress["verdict"]


@pytest.mark.parametrize(
    ("task", "axes", "shape"),
    [("denoise", "yx", (70, 60)), ("regress", "cyx", (2, 70, 60))],
)
def test_predict_writes_the_image(
    data: Path, tmp_path: Path, task: str, axes: str, shape: tuple[int, ...]
) -> None:
    command = ["predict", str(data / f"{task}.safetensors"), str(data / "noisy")]
    command += ["--output", str(tmp_path), "--device", "cpu"]
    assert main(command) == 0
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.tif"))
    assert files == [f"image/{n}.tif" for n in range(3)]
    image = read_image(tmp_path / "image" / "1.tif")
    assert (image.axes, image.data.shape) == (axes, shape)
    assert image.data.dtype == np.float32
    assert np.isfinite(image.read()).all()
    # a second run finds them
    before = (tmp_path / "image" / "1.tif").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "image" / "1.tif").stat().st_mtime_ns == before


def test_a_zarr_becomes_the_same_image_as_a_tiff(data: Path, tmp_path: Path) -> None:
    values = scene(7, (3, 90, 80)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, metadata={"axes": "ZYX"}, imagej=True)
    with create_zarr(tmp_path / "b.zarr", values.shape, "zyx", values.dtype) as stored:
        stored[...] = values
    model, out = str(data / "denoise.safetensors"), tmp_path / "out"
    files = [str(tmp_path / "a.tif"), str(tmp_path / "b.zarr")]
    command = ["predict", model, *files, "--output", str(out), "--device", "cpu"]
    assert main(command) == 0
    one = read_image(out / "image" / "a.tif")
    other = read_image(out / "image" / "b.zarr")
    assert one.axes == "zyx"
    np.testing.assert_allclose(one.read(), _plain(other), rtol=1e-5)
    assert [p.name for p in (out / "image").iterdir()] == ["a.tif", "b.zarr"]


def _plain(image: Image) -> np.ndarray:
    """Its pixels without an axis of one channel."""
    values = image.read()
    return values.squeeze(image.axes.index("c")) if "c" in image.axes else values


def test_info_tells_what_is_made(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(data / "regress.safetensors")]) == 0
    told = capsys.readouterr().out
    assert "an image of 2 channels, learnt to turn into another image" in told
    assert "classes" not in told
    assert "PSNR" in told


def test_several_networks_make_one_image(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, noisy = tmp_path / "three.safetensors", str(data / "noisy")
    command = ["train", noisy, str(data / "clean"), "--task", "regress", *SMALL]
    command += [*STEPS, "--folds", "3", "--output", str(model)]
    assert main(command) == 0
    assert "network 3 of 3, 1 of 3 slices held out." in capsys.readouterr().err
    assert main(["info", str(model)]) == 0
    told = capsys.readouterr().out
    assert "the mean of 3 such networks" in told
    assert "an image of 2 channels" in told
    assert "PSNR" in told
    command = ["predict", str(model), noisy, "--output", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu"]) == 0
    assert read_image(tmp_path / "out" / "image" / "1.tif").data.shape == (2, 70, 60)


def test_training_goes_on_with_the_task_of_what_it_begins_with(
    data: Path, tmp_path: Path
) -> None:
    begun, output = data / "denoise.safetensors", tmp_path / "more.safetensors"
    command = ["train", str(data / "noisy"), "--init", str(begun), *STEPS]
    command += ["--patch", "24", "--batch", "1", "--output", str(output)]
    assert main(command) == 0
    assert read_card(output).training.task == "denoise"
    assert read_card(output).parent == "denoise"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["noisy"], "to segment, labels are needed beside the images"),
        (["noisy", "--task", "regress"], "targets are needed beside the images"),
        (["noisy", "clean", "--task", "denoise"], "nothing but the images is needed"),
        (
            ["noisy", "--task", "denoise", "--loss", "l1"],
            "--loss is for --task regress",
        ),
        (
            ["noisy", "clean", "--task", "regress", "--structured-noise", "x"],
            "--structured-noise is for --task denoise alone, the task is regress",
        ),
        (
            ["noisy", "clean", "--task", "regress", "--labels", "binary"],
            "--labels is for --task segment alone",
        ),
        (
            ["noisy", "--task", "denoise", "--validation", "0.2"],
            "nothing can be held out for validation",
        ),
        (
            ["noisy", "clean", "--task", "regress", "--augment-elastic", "2"],
            "mirrored and turned by quarters alone",
        ),
        (
            [
                *("noisy", "clean", "--task", "regress"),
                *("--init", "denoise.safetensors"),
            ],
            "has learnt to denoise, the training is to turn into another image",
        ),
        # images that are not there are not missed: nothing was read
        (
            ["nowhere", "--task", "denoise", "--folds", "2"],
            "to denoise, one network is trained, as nothing can be held out",
        ),
        (
            ["nowhere", "--init", "denoise.safetensors", "--folds", "2"],
            "to denoise, one network is trained",
        ),
        (
            ["nowhere", "--task", "denoise", "--preset", "auto"],
            "auto goes by the classes that are annotated, for the task segment alone; "
            "found task denoise",
        ),
        (
            ["nowhere", "nothing", "--task", "regress", "--preset", "auto"],
            "for the task segment alone; found task regress",
        ),
        (
            ["nowhere", "--init", "denoise.safetensors", "--preset", "auto"],
            "for the task segment alone; found task denoise",
        ),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(data)
    command = ["train", *arguments, *STEPS, "--output", tmp_path / "m.safetensors"]
    assert sentence in failing(capsys, *command)
    assert not list(tmp_path.iterdir())


def test_shifted_pairs_are_refused_by_name(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, y in (("image", 0), ("target", 4)):
        (tmp_path / name).mkdir()
        part = scene(1, (90, 80))[10 - y : 80 - y]
        tifffile.imwrite(tmp_path / name / "a.tif", part.astype(np.float32))
    folders = [tmp_path / "image", tmp_path / "target"]
    command = ["train", *folders, "--task", "regress", *STEPS]
    told = failing(capsys, *command, "--output", tmp_path / "m.safetensors")
    assert "a.tif is shifted against a by 4 pixels down" in told


def test_a_kind_of_result_that_a_model_does_not_give_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", data / "denoise.safetensors", data / "noisy"]
    told = failing(capsys, *command, "--output", tmp_path, "--save", "instances")
    assert "--save takes image with commas between, found 'instances'" in told


def test_made_images_are_compared_with_those_they_should_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: off by 1 of a range of 100, that is 40 dB; one is as it should be."""
    ramp = np.linspace(0, 100, 12 * 20).reshape(12, 20).astype(np.float32)
    folder = tmp_path / "made" / "image"
    for path, values in (
        (folder / "a.tif", ramp + 1),
        (tmp_path / "truth" / "a_clean.tif", ramp),
    ):
        path.parent.mkdir(parents=True)
        tifffile.imwrite(path, values)
    command = ["evaluate", str(tmp_path / "made"), str(tmp_path / "truth")]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "psnr     40.0000"
    assert err == "1 pair: a.tif with a_clean.tif.\n"
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["psnr"] == pytest.approx(40)
    assert report["pearson"] == pytest.approx(1)
    assert 0.9 < report["ssim"] < 1
    assert set(report["pairs"][0]) == {"prediction", "truth"}
    # the same, named otherwise
    (tmp_path / "made" / RECORD).write_text("{}")
    for named in (folder, folder / "a.tif", folder / "*.tif"):
        assert main(["evaluate", str(named), str(tmp_path / "truth")]) == 0
        assert capsys.readouterr().out.splitlines()[0] == "psnr     40.0000"
    tifffile.imwrite(folder / "a.tif", ramp)
    assert main([*command, "--json", "-", "--metric", "psnr", "ssim"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["psnr"], report["ssim"]) == (None, 1)  # no error is no number


def test_each_channel_is_compared_by_itself_and_unknown_pixels_do_not_count(
    tmp_path: Path,
) -> None:
    ramp = np.linspace(0, 100, 8 * 9).reshape(8, 9).astype(np.float32)
    truth, made = np.stack([ramp, 10 * ramp]), np.stack([ramp + 1, 10 * ramp - 100])
    made[0, 0, 0], truth[0, 0, 0] = 1e6, np.nan
    for name, values in (("made", made), ("truth", truth)):
        axes = {"axes": "CYX"}
        tifffile.imwrite(tmp_path / f"{name}.tif", values, metadata=axes, ome=True)
    found = image_scores(
        tmp_path / "made.tif", [tmp_path / "truth.tif"], ["psnr", "ssim"]
    ).results
    span = 100 - 100 / 71  # without the first pixel of the ramp
    assert found["psnr_channel_1"] == pytest.approx(20 * np.log10(span), abs=1e-4)
    assert found["psnr_channel_2"] == pytest.approx(20, abs=1e-4)
    assert found["psnr"] == pytest.approx(10 * np.log10(span) + 10, abs=1e-4)
    assert found["ssim"] is None  # smaller than its window


def test_what_is_of_labels_is_not_asked_of_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("made", 12), ("truth", 13)):
        (tmp_path / name / "image").mkdir(parents=True)
        tifffile.imwrite(tmp_path / name / "image" / "a.tif", np.ones((side, 12), "f4"))
    command = ("evaluate", str(tmp_path / "made"), str(tmp_path / "truth" / "image"))
    assert "evaluate them one after the other" in failing(
        capsys, *command, "--metric", "psnr", "iou"
    )
    assert "are for labels" in failing(capsys, *command, "--labels", "binary")
    assert "holds images that a network made, no labels; measured of" in failing(
        capsys, *command, "--metric", "iou"
    )
    assert "found 1 × 1 × 12 × 12 and 1 × 1 × 13 × 12" in failing(capsys, *command)


def test_images_that_cannot_be_compared_are_listed_and_the_others_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, truth = tmp_path / "made" / "image", tmp_path / "truth"
    for folder in (made, truth):
        folder.mkdir(parents=True)
        for name in "abcd":
            image = np.arange(144.0, dtype=np.float32).reshape(12, 12)
            tifffile.imwrite(folder / f"{name}.tif", image)
    (tmp_path / "made" / "prediction.json").write_text("{}")
    tifffile.imwrite(truth / "b.tif", np.ones((13, 12), "f4"))
    tifffile.imwrite(
        made / "c.tif", np.ones((2, 12, 12), "f4"), metadata={"axes": "CYX"}
    )
    (truth / "d.tif").write_bytes(b"no")
    command = ["evaluate", str(tmp_path / "made"), str(truth), "--json", "-"]
    assert main(command) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["pearson"] == 1
    assert [row["truth"] for row in report["pairs"]] == [str(truth / "a.tif")]
    assert len(report["problems"]) == 3
    assert "3 pairs are not compared:" in err
    for folder, name in ((made, "b"), (made, "c"), (truth, "d")):
        assert f"napari-unet: {folder / name}.tif: " in err
