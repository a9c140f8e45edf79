"""The other package called napari-unet, whose files have the names of ours."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import napari_unet
from napari_unet import DISTRIBUTION
from napari_unet.cli.main import main
from napari_unet.io.installation import NAMESAKE, namesake_problem

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def namesake(tmp_path: Path) -> Path:
    """Make a folder of packages with what pip notes of the other package."""
    information = tmp_path / "napari_unet-1.0.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {NAMESAKE}\nVersion: 1.0.0\n"
    )
    (information / "RECORD").write_text("napari_unet/__init__.py,,\n")
    return tmp_path


def test_nothing_is_said_without_the_other_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert namesake_problem() is None


def test_the_other_package_is_told(
    namesake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(namesake)])
    problem = namesake_problem()
    assert problem is not None
    assert "napari-unet 1.0.0 is installed in this environment, too" in problem
    assert problem.endswith(f"pip uninstall {NAMESAKE} {DISTRIBUTION}")


def test_a_program_of_that_name_has_no_namesake(
    namesake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(namesake)])
    monkeypatch.setattr(napari_unet, "DISTRIBUTION", NAMESAKE)
    assert namesake_problem() is None


def test_commands_go_on_with_a_warning(
    namesake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(namesake)
    assert main(["info"]) == 0
    said = capsys.readouterr()
    assert "each overwrites the other" in said.err
    assert "each overwrites the other" in said.out


def test_a_program_that_is_overwritten_says_so(
    namesake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's __init__ lies over ours: nothing of it can be imported."""
    overwritten = namesake / "napari_unet"
    overwritten.mkdir()
    (overwritten / "__init__.py").write_text(
        f"__path__ = [{napari_unet.__path__[0]!r}]\n__version__ = '1.0.0'\n"
    )
    code = "import sys; from napari_unet.cli.main import main; sys.exit(main(['info']))"
    monkeypatch.setenv("PYTHONPATH", str(namesake))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("napari-unet: The package napari-unet 1.0.0 is")
    assert done.stderr.count("\n") == 1


def test_napari_shows_it_when_the_docks_open(
    namesake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_unet.gui import workspaces

    said: list[tuple[str, str]] = []
    monkeypatch.syspath_prepend(namesake)
    monkeypatch.setattr(workspaces, "notify", lambda *words: said.append(words))
    workspaces.warn_of_namesake()
    ((level, sentence),) = said
    assert level == "warning"
    assert "each overwrites the other" in sentence
