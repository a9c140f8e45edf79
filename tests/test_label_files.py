"""What commands make of label files, and that they destroy none."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.main import main
from napari_unet.io.model_file import read_card

if TYPE_CHECKING:
    from pathlib import Path

SMALL = (
    "--steps",
    "2",
    "--width",
    "4",
    "--depth",
    "2",
    "--patch",
    "32",
    "--batch",
    "1",
)
SMALL += ("--validation", "none", "--device", "cpu")

CELLS = np.zeros((72, 72), np.uint16)
for number in range(16):
    row, column = 4 + 17 * (number // 4), 4 + 17 * (number % 4)
    CELLS[row : row + 10, column : column + 10] = number + 1


def save(folder: Path, **files: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in files.items():
        tifffile.imwrite(folder / f"{name}.tif", values, photometric="minisblack")
    return folder


def train(images: Path, labels: Path, output: Path, *options: str) -> int:
    command = ["train", images, labels, "--output", output, *SMALL, *options]
    return main([str(part) for part in command])


def test_training_tells_its_pairs_and_what_the_labels_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = CELLS * 50
    images = save(tmp_path / "i", a=grey, b=grey.T, c=grey[::-1])
    labels = save(tmp_path / "l", b_mask=CELLS.T, a_mask=CELLS)
    assert train(images, labels, tmp_path / "m.safetensors", "--json", "-") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["pairs"] == [
        {"image": str(images / f"{n}.tif"), "labels": str(labels / f"{n}_mask.tif")}
        for n in "ab"
    ]
    assert report["without_labels"] == [str(images / "c.tif")]
    assert report["labels"] == "instances"
    assert report["notes"] == err.splitlines()[: len(report["notes"])]
    assert report["notes"][0] == (
        "2 pairs: a.tif with a_mask.tif, b.tif with b_mask.tif; 1 without labels left "
        "out: c.tif."
    )
    assert "each value is a cell" in report["notes"][1]


def test_labels_that_go_with_no_image_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = save(tmp_path / "i", img_1=CELLS * 50)
    labels = save(tmp_path / "l", img_2_mask=CELLS)
    output = tmp_path / "out"
    output.mkdir()
    assert train(images, labels, output / "m.safetensors") == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "without a partner: img_2_mask.tif; found img_1.tif" in told
    assert not list(output.iterdir())
    assert train(images, labels, output / "m.safetensors", "--pair-by", "order") == 0
    assert "1 pair by their order: img_1.tif with img_2_mask.tif" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["train", "weights", "evaluate"])
@pytest.mark.parametrize("kind", [None, "instances", "binary"])
def test_grey_levels_are_refused_with_the_name_of_the_file(
    tmp_path: Path, command: str, kind: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    from scipy.ndimage import zoom

    half = zoom((CELLS > 0) * 255.0, 0.5, order=1)
    grey = np.clip(zoom(half, 2, order=1), 0, 255).astype(np.uint8)
    images, labels = save(tmp_path / "i", a=CELLS), save(tmp_path / "l", a=grey)
    target = tmp_path / "new.tif"
    given = {
        "train": ["train", images, labels, "--output", target, *SMALL],
        "weights": ["weights", labels / "a.tif", "--output", target],
        "evaluate": ["evaluate", images, labels, "--json", target],
    }[command]
    options = ["--labels", kind] if kind else []
    assert main([*map(str, given), *options]) == 1
    told = capsys.readouterr().err
    assert f"{labels / 'a.tif'}: " in told
    assert "run into each other like grey levels" in told
    assert told.count("\n") == 1
    # the report of an evaluation lists what failed
    assert target.exists() == (command == "evaluate")


def test_inputs_are_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = save(tmp_path / "i", a=CELLS * 50, b=CELLS * 50)
    labels = save(tmp_path / "l", a=CELLS)
    (labels / "a.checkpoint.safetensors").hardlink_to(labels / "a.tif")
    before = {f: f.read_bytes() for f in (*images.iterdir(), *labels.iterdir())}
    pair = ["train", str(images), str(labels)]
    model = tmp_path / "m.safetensors"
    for command in (
        [*pair, "--output", labels / "a.tif"],
        [*pair, "--output", images / "b.tif"],  # has no labels, but is the person's
        [*pair, "--output", labels / "a.safetensors"],  # its checkpoint is the labels
        [*pair, "--output", model, "--json", images / "a.tif"],
        [*pair, "--output", model, "--json", model],
        ["weights", labels / "a.tif", "--output", labels / "a.tif"],
        ["weights", labels / "a.tif", "--output", labels / ".." / "l" / "a.tif"],
        ["evaluate", images / "a.tif", labels / "a.tif", "--json", labels / "a.tif"],
    ):
        assert main([str(part) for part in command]) == 1, command
        assert "replaced" in capsys.readouterr().err
        assert {f: f.read_bytes() for f in before} == before
        assert not model.exists()


def test_empty_planes_are_background_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = np.stack([CELLS, CELLS * 0, CELLS.T, CELLS * 0])
    labels = save(tmp_path / "l", a=stack)
    for axes in ("zyx", "tyx"):
        target = tmp_path / f"{axes}.tif"
        command = ["weights", labels / "a.tif", "--output", target, "--axes", axes]
        assert main([str(part) for part in command]) == 0
        told = capsys.readouterr().err
        assert "2 of 4 planes have no value above 0, and are background" in told


def test_a_movie_that_begins_with_one_cell_is_a_movie_of_cells(tmp_path: Path) -> None:
    frames = np.stack([np.where(n >= CELLS, CELLS, 0) for n in (1, 2, 9)])
    # in the last frame cell 1 is in two pieces: as areas these would be two cells
    frames[2, 8, 4:14] = 0
    written = []
    for axes in ("tyx", "zyx"):
        labels = save(tmp_path / axes, a=frames) / "a.tif"
        for n, option in enumerate([[], ["--labels", "instances"]]):
            target = tmp_path / f"{axes}{n}.tif"
            command = ["weights", labels, "--output", target, "--axes", axes, *option]
            assert main([str(part) for part in command]) == 0
            written.append(tifffile.imread(target))
    for weights in written[1:]:
        np.testing.assert_array_equal(weights, written[0])


@pytest.mark.parametrize(
    ("value", "dtype"), [(1, np.uint8), (255, np.uint8), (65535, np.uint16)]
)
def test_a_mask_of_two_values_among_masks_of_ids_is_refused(
    tmp_path: Path, value: int, dtype: type, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or all its cells would be one."""
    images = save(tmp_path / "i", a=CELLS * 50, b=CELLS * 50, c=CELLS * 50)
    mask = np.where(CELLS > 0, value, 0).astype(dtype)
    labels = save(tmp_path / "l", a=CELLS, b=mask, c=CELLS)
    assert train(images, labels, tmp_path / "m.safetensors") == 1
    told = capsys.readouterr().err
    assert f"{labels / 'b.tif'}: its only value above 0 is {value}, in 16 areas" in told
    save(labels, b=np.where(CELLS == 3, value, 0).astype(dtype))  # one cell
    assert train(images, labels, tmp_path / "m.safetensors") == 0


def test_images_of_equal_names_are_told_apart_in_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = (CELLS * 50).astype(np.float32)
    bad[3, 7] = np.nan
    for day, image in (("1", CELLS * 50), ("2", bad)):
        save(tmp_path / day, image=image, mask=CELLS)
    images, labels = tmp_path / "*" / "image.tif", tmp_path / "*" / "mask.tif"
    assert train(images, labels, tmp_path / "m.safetensors") == 1
    told = capsys.readouterr().err
    assert f"{tmp_path / '2' / 'image.tif'}: pixels must be finite numbers" in told
    assert "y=3, x=7" in told


def test_a_stack_of_labels_has_the_times_of_its_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = np.stack([CELLS, np.roll(CELLS, 3), CELLS, CELLS])
    labels = save(tmp_path / "l", a=movie)  # which does not say what its axis is
    (tmp_path / "i").mkdir()
    for axes in ("TYX", "ZYX"):
        tifffile.imwrite(
            tmp_path / "i" / "a.ome.tif", movie * 50, metadata={"axes": axes}
        )
        assert train(tmp_path / "i", labels, tmp_path / "m.safetensors") == 0
        said = "its slices are taken for times, as its image has them."
        assert (said in capsys.readouterr().err) == (axes == "TYX")


def test_slices_of_times_are_not_taken_for_times_of_slices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that has both axes says which is which."""
    pages = np.stack([np.roll(CELLS, k) for k in range(6)])
    for folder, shape in (("i", (2, 3)), ("l", (3, 2))):
        (tmp_path / folder).mkdir()
        values = pages.reshape(*shape, *CELLS.shape)
        options = {"metadata": {"axes": "TZYX"}, "imagej": True}
        tifffile.imwrite(tmp_path / folder / "a.tif", values, **options)
    assert train(tmp_path / "i", tmp_path / "l", tmp_path / "m.safetensors") == 1
    assert "must have equal sizes" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="names are letters there")
def test_files_may_have_names_with_bytes_of_no_letter(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.tif")
    images, labels = save(tmp_path / "i", a=CELLS), save(tmp_path / "l", a=CELLS)
    try:
        for folder in (images, labels):
            (folder / "a.tif").rename(folder / name)
    except OSError:
        pytest.skip("this disk takes no such name")
    model = tmp_path / "m.safetensors"
    assert train(images, labels, model) == 0
    assert read_card(model).images[0].name == "caf\\udce9"
    command = ["predict", model, images / name, "--output", tmp_path / "o"]
    assert main([str(part) for part in command]) == 0


def test_all_files_that_cannot_be_read_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = save(tmp_path / "i", a=CELLS, b=CELLS, c=CELLS)
    labels = save(tmp_path / "l", a=CELLS, b=CELLS, c=CELLS)
    for name in "ac":
        (images / f"{name}.tif").write_bytes(b"")
    assert train(images, labels, tmp_path / "m.safetensors") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"napari-unet: 2 files cannot be used. {images}/a.tif: ")
    assert f"{images}/c.tif: cannot be read" in told
    assert f"{images}/b.tif" not in told


@pytest.mark.parametrize("kind", [(), ("--labels", "binary")])
@pytest.mark.parametrize(("inverted", "told"), [(False, False), (True, True)])
def test_masks_that_look_inverted_are_told(
    tmp_path: Path,
    inverted: bool,
    told: bool,
    kind: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = ((CELLS > 0) != inverted).astype(np.uint8) * 255
    labels = save(tmp_path / "l", a=mask)
    target = str(tmp_path / "w.tif")
    assert main(["weights", str(labels / "a.tif"), *kind, "--output", target]) == 0
    assert ("invert the masks" in capsys.readouterr().err) == told
