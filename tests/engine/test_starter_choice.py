from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.main import main
from napari_unet.core.events import StarterChosen
from napari_unet.core.images.image import Image
from napari_unet.engine.network.network import Network, prepare
from napari_unet.engine.starter_choice import choose_by_first, choose_starter
from napari_unet.io import samples
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import PRETRAINED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.core.model import ModelCard
    from napari_unet.core.starters import Choice

    Load = Callable[[Path], tuple[Network, ModelCard]]


@pytest.fixture(scope="module")
def load() -> Load:
    known: dict[Path, tuple[Network, ModelCard]] = {}

    def read(path: Path) -> tuple[Network, ModelCard]:
        if path not in known:
            model = load_model(path)
            known[path] = prepare(model, "cpu", "fp32", file=path), model.card
        return known[path]

    return read


def chosen(image: Image, load: Load, **where: tuple[int, int]) -> Choice:
    *_, last = choose_starter(image, load, **where)
    assert isinstance(last, StarterChosen)
    return last.choice


@pytest.mark.parametrize("kind", PRETRAINED)
def test_each_sample_gets_the_starter_of_its_kind(kind: str, load: Load) -> None:
    image, _ = getattr(samples, kind)()[0]
    choice = chosen(image, load)
    assert choice.name == kind
    assert choice.doubt_of(kind) == ""
    for other in {t.starter.name for t in choice.trials} - {kind}:
        assert choice.doubt_of(other)


def test_colours_are_for_the_starter_that_sees_them(load: Load) -> None:
    tissue, _ = samples.histology()[0]
    assert [t.starter.name for t in chosen(tissue, load).trials] == ["histology"]
    # as colours that are all alike are stored, both are tried
    grey = Image(np.asarray(samples.nuclei()[0][0].data), "yx", grey=True)
    assert {t.starter.name for t in chosen(grey, load).trials} == set(PRETRAINED)


def test_the_plane_and_the_part_that_are_in_view_decide(load: Load) -> None:
    nuclei, phase = samples.nuclei()[0][0].data, samples.phase_contrast()[0][0].data
    stack = np.zeros((2, 400, 400), np.float32)
    stack[0], stack[1] = nuclei[:400, :400], phase[:400, :400]
    image = Image.from_array(stack)
    assert chosen(image, load, place=(0, 0)).name == "nuclei"
    assert chosen(image, load, place=(0, 1), focus=(0, 999)).name == "phase_contrast"


def test_an_image_of_other_channels_is_told(load: Load) -> None:
    image = Image.from_array(np.zeros((2, 1, 64, 64)), name="two")
    with pytest.raises(ValueError, match="two has 2 channels, no model"):
        chosen(image, load)


def test_files_that_cannot_be_read_decide_nothing(tmp_path: Path, load: Load) -> None:
    bad, good = tmp_path / "a.tif", tmp_path / "b.tif"
    bad.write_bytes(b"none")
    tifffile.imwrite(good, np.asarray(samples.nuclei()[0][0].data)[:300, :300])
    *_, last = choose_by_first([bad, good], load)
    assert isinstance(last, StarterChosen)
    assert last.choice.name == "nuclei"
    with pytest.raises(ValueError, match=r"a\.tif"):
        list(choose_by_first([bad], load))


def test_the_command_line_says_which_is_taken_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cells.tif"
    tifffile.imwrite(file, np.asarray(samples.nuclei()[0][0].data)[:200, :200])
    command = ["predict", "auto", str(file), "--output", str(tmp_path / "out")]
    assert main([*command, "--save", "instances,table", "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert "auto: takes nuclei: nuclei is 9" in told.out + told.err
    # one row for each image
    summary = (tmp_path / "out" / "summary.csv").read_text("utf-8").splitlines()
    assert summary[0].startswith("image,time_points,cells,area_px_mean")
    assert summary[1].startswith("cells,1,")
    # the same again: what is there stays, and is found
    assert main([*command, "--save", "instances,table", "--device", "cpu"]) == 0
    assert "is there already" in "".join(capsys.readouterr())
