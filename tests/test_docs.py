"""What the documentation says: its commands run, its names and links are there.

Tutorials run with crops of the package's images and a few steps in place of minutes;
with NAPARI_UNET_WHOLE_TUTORIALS=1 (`make docs-whole`) as they stand.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from napari_unet.cli.main import COMMANDS, main
from napari_unet.io import samples

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TUTORIALS = [p for p in PAGES if p.parent.name == "tutorials" and p.stem != "index"]
WHOLE = os.environ.get("NAPARI_UNET_WHOLE_TUTORIALS") == "1"
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Extras of who works on the program.
_OF_DEVELOPERS = {"benchmark", "docs", "lint", "test"}
# What takes no time where there is nothing to learn well.
_SMALL, _NARROW = "--steps 2 --batch 1 --validation 0", " --width 4 --depth 2"


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of the package's images, each a corner of it."""
    folder = tmp_path_factory.mktemp("samples")
    for file in (ROOT / "src" / "napari_unet" / "samples").rglob("*.tif"):
        target = folder / file.relative_to(file.parents[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(target, tifffile.imread(file)[:130, :170])
    return folder


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, ...], Path]:
    """Return models by the command that trained them: pages share what is the same."""
    return {}


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(
    page: Path,
    trained: dict[tuple[str, ...], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    if not WHOLE:
        crops = request.getfixturevalue("crops")
        monkeypatch.setattr(samples, "folder", lambda kind: crops / kind)
    names: dict[str, Any] = {}
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    assert any(language == "bash" for language, _ in blocks)
    for language, text in blocks:
        if language == "python":
            exec(compile(text, page.name, "exec"), names)
            continue
        for line in text.replace("\\\n", " ").splitlines():
            run(line, trained)


def run(line: str, trained: dict[tuple[str, ...], Path]) -> None:
    """Run a command of the program as a person would who has little time."""
    if not WHOLE:
        # who begins with a model has its network
        small = _SMALL if "--init" in line else _SMALL + _NARROW
        line = re.sub(r"--minutes [\d.]+", small, line)
    program, *arguments = shlex.split(line)
    assert program == "napari-unet"
    if WHOLE or arguments[0] != "train":
        assert main(arguments) == 0, line
        return
    place = arguments.index("--output") + 1
    model = Path(arguments[place])
    command = (*arguments[:place], *arguments[place + 1 :])
    if command not in trained:
        assert main(arguments) == 0, line
        trained[command] = model.absolute()
    else:
        shutil.copy(trained[command], model)


def test_names_of_controls_are_those_of_the_program() -> None:
    """A button that was renamed is found here, wherever the pages name it."""
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "src" / "napari_unet").rglob("*.py")
    )
    missing = {
        f"{page.relative_to(DOCS)}: {name}"
        for page in PAGES
        for name in re.findall(r"\{guilabel\}`([^`]+)`", page.read_text("utf-8"))
        if f'"{name}"' not in source
    }
    assert not missing


def test_commands_and_options_are_those_of_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of every page, also of what is not run."""
    helps: dict[str, str] = {}
    for page in [ROOT / "README.md", *PAGES]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"napari-unet [a-z-]+[^`\n]*", text):
            command = line.split()[1]
            if command not in COMMANDS:
                continue
            if command not in helps:
                with pytest.raises(SystemExit):
                    main([command, "--help"])
                helps[command] = capsys.readouterr().out
            for option in re.findall(r"(?<=\s)--[a-z0-9][a-z0-9-]*", line):
                assert option in helps[command], f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_within_the_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)\s]+)\)", text):
        assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    tree = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)
    for page in PAGES:
        for entries in tree.findall(page.read_text("utf-8")):
            names = [name for name in entries.split("\n") if name and name[0] != ":"]
            listed |= {f for n in names for f in page.parent.glob(f"{n}.md")}
    assert set(PAGES) == listed


def test_each_dependency_is_explained() -> None:
    """What pyproject.toml installs stands in docs/dependencies.md, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = {
        re.match(r"[\w-]+", requirement)[0].lower()  # type: ignore[index]
        for requirement in [
            *project["dependencies"],
            *(r for e in set(extras) - _OF_DEVELOPERS for r in extras[e]),
        ]
    }
    text = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    told = {
        name.lower() for name in re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    }
    assert needed == told


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # a recipe is for all systems: it asks for the highest, which stands last
    lowest = dict(
        re.match(r"([\w-]+)>=([\d.]+)", need).groups()  # type: ignore[union-attr]
        for need in project["dependencies"]
    )
    lowest["pytorch"] = lowest.pop("torch")
    ours = {f"{name} >={version}" for name, version in lowest.items()}
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))
    run = recipe["requirements"]["run"]
    assert {need for need in run if not need.startswith("python ")} == ours
    assert recipe["context"]["python_min"] == project["requires-python"].lstrip(">=")


def test_the_workflows_call_what_is_there() -> None:
    targets = set(
        re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = file.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["jobs"]
        for target in re.findall(r"\bmake ([\w-]+)", text):
            assert target in targets, f"{file.name}: make {target}"
        for script in re.findall(r"(?:python|bash) (\.ci/\S+)", text):
            assert (ROOT / script).exists(), f"{file.name}: {script}"


def test_release_notes_are_those_of_the_version() -> None:
    names: dict[str, Any] = {"__name__": "release_notes", "__file__": __file__}
    path = ROOT / ".ci" / "release_notes.py"
    exec(compile(path.read_text("utf-8"), path.name, "exec"), names)
    notes = names["notes"]
    changes = "# Changes\n\n## [1.2.0] - 2027-01-01\n\n- New.\n\n## [1.1.0]\n\n- Old.\n"
    assert notes("1.2.0", '__version__ = "1.2.0"\n', changes) == "- New."
    with pytest.raises(ValueError, match=r"the tag says 1\.3\.0"):
        notes("1.3.0", '__version__ = "1.2.0"\n', changes)
    with pytest.raises(ValueError, match=r"no section \[1.3.0\]"):
        notes("1.3.0", '__version__ = "1.3.0"\n', changes)


def test_crops_are_images_with_labels(crops: Path) -> None:
    assert (
        np.unique(tifffile.imread(crops / "nuclei/labels/IXMtest_E19_s4.tif")).size > 3
    )
