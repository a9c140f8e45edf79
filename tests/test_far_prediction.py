"""Prediction on another computer, which a script in place of ssh leads to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from far_ends import FOLDER
from napari_unet.cli.main import main
from napari_unet.core.images.image import Image
from napari_unet.io.export import write_pixels
from test_far import far

if TYPE_CHECKING:
    import pytest

__all__ = ["far"]


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def predicted(*arguments: str) -> int:
    options = ["--save", "probabilities,instances,table", "--device", "cpu"]
    return main(["predict", "nuclei", *arguments, *options])


def test_the_same_files_come_from_there_as_are_made_here(
    far: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    near = far / "near"
    near.mkdir()
    monkeypatch.chdir(near)
    grey = np.random.default_rng(3).poisson(40, (3, 90, 80)).astype(np.uint16)
    grey[:, 20:40, 20:45] += 300
    tifffile.imwrite("a.tif", grey[0])
    tifffile.imwrite("b c.ome.tif", grey[:2], metadata={"axes": "ZYX"})
    write_pixels("d.ome.zarr", Image(grey[2], "yx"))
    Path("e.tif").write_bytes(b"no image")
    images = ["a.tif", "b c.ome.tif", "d.ome.zarr", "e.tif"]
    there = [*images, "--output", "there", "--on", "lab", "--json", "there.json"]
    assert predicted(*there) == 1
    told = capsys.readouterr().err
    assert "GB of disk free" in told
    assert "e.tif" in told
    assert predicted(*images, "--output", "here", "--json", "here.json") == 1
    found, wanted = files_in(Path("there")), files_in(Path("here"))
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    rows, same = (
        json.loads(Path(f"{name}.json").read_text())["images"]
        for name in ("there", "here")
    )
    for row in (*rows, *same):
        row.pop("seconds", None)
    assert sorted(rows, key=str) == sorted(same, key=str)
    # nothing is left there, and what is here is not asked for again
    assert not list((far / FOLDER / "home").rglob("bundle.zip"))
    (far / FOLDER / "arguments").unlink()
    assert predicted(*there) == 1
    assert "is there already" in capsys.readouterr().err
    assert not (far / FOLDER / "arguments").exists()
    assert predicted("a.tif", "--output", "there", "--on", "lab", "--no-rescale") == 1
    assert "of other settings: rescale" in capsys.readouterr().err
