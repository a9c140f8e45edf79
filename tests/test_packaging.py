from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_unet
from napari_unet import DISTRIBUTION

ROOT = Path(__file__).parents[1]


def modules_after(statement: str) -> set[str]:
    return {name.split(".")[0] for name in all_modules_after(statement)}


def all_modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_unet",
        "import napari_unet.cli.main",
        "import napari_unet.core.metrics, napari_unet.core.cells.instances",
        "import napari_unet.io.images, napari_unet.io.model_file",
        "from napari_unet import load_model, border_weights, segment_instances",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(statement: str) -> None:
    loaded = modules_after(statement)
    assert not loaded & {"torch", "napari", "qtpy", "matplotlib"}


def test_the_docks_never_load_torch_or_the_engine() -> None:
    loaded = modules_after(
        "import napari_unet.gui.docks, napari_unet.gui.workspaces, sys;"
        "import napari_unet.gui.annotate.page, napari_unet.gui.train.page;"
        "import napari_unet.gui.predict.page;"
        "assert 'napari_unet.engine' not in sys.modules"
    )
    assert "qtpy" in loaded
    assert not loaded & {"torch", "napari"}


def test_no_format_is_loaded_before_it_is_used() -> None:
    loaded = all_modules_after(
        "import napari_unet.gui.docks, napari_unet.gui.workspaces;"
        "import napari_unet.gui.annotate.page, napari_unet.gui.train.page;"
        "import napari_unet.gui.predict.page, napari_unet.session.workspace;"
        "import napari_unet.gui.object_layers, napari_unet.cli.main"
    )
    of_formats = {
        name.removeprefix("napari_unet.io.")
        for name in loaded
        if name.startswith(("napari_unet.io.objects.", "napari_unet.io.readers."))
    }
    assert of_formats == {"objects.catalogue", "readers.catalogue"}
    packages = {"tifffile", "zarr", "h5py", "roifile", "skimage", "numba", "nd2"}
    assert not loaded & {*packages, "asyncio", "urllib.request", "http.client"}


def test_the_session_loads_no_gui() -> None:
    loaded = modules_after("import napari_unet.session.workspace")
    assert not loaded & {"torch", "napari", "qtpy", "superqt", "magicgui"}


def test_the_engine_loads_no_gui() -> None:
    loaded = modules_after("import napari_unet.engine.training.train")
    assert "torch" in loaded
    assert not loaded & {"napari", "qtpy", "magicgui", "superqt"}


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert not modules_after("import napari_unet") & {"numpy", "scipy", "pydantic"}


@pytest.mark.parametrize("name", napari_unet.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(napari_unet, name) is not None
    assert name in dir(napari_unet)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'unet'"):
        _ = napari_unet.unet


def test_the_manifest_is_valid_and_its_commands_exist() -> None:
    manifest = PluginManifest.from_file(ROOT / "src" / "napari_unet" / "napari.yaml")
    manifest.validate_imports()
    assert manifest.name == DISTRIBUTION


def test_name_and_version_stand_in_one_way_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == DISTRIBUTION
    assert project["dynamic"] == ["readme", "version"]
    assert list(project["entry-points"]["napari.manifest"]) == [DISTRIBUTION]
    version = napari_unet.__version__
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {version}\n" in citation
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(
        rf"^## \[?({re.escape(version)}|Unreleased)", changes, re.MULTILINE
    )
    recipe = (ROOT / "conda" / "recipe.yaml").read_text("utf-8")
    assert f"  name: {DISTRIBUTION}\n  version: {version}\n" in recipe


def test_addresses_are_those_of_the_project_everywhere() -> None:
    """`make address` changes them all; none is left that it does not know."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    source = tomllib.loads(text)["project"]["urls"]["Source"]
    owner, name = source.removeprefix("https://github.com/").split("/")
    pages = f"https://{owner}.github.io/{name}"
    for file in ("pyproject.toml", "CITATION.cff", "conda/recipe.yaml"):
        text = (ROOT / file).read_text(encoding="utf-8")
        for address in re.findall(r"https://[\w.-]*github[^\s\"']+", text):
            raw = address.replace("raw.githubusercontent", "github")
            assert raw.startswith((source, pages)), f"{file}: {address}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
def test_no_page_sends_people_to_the_other_package(page: Path) -> None:
    """Whoever installs `napari-unet` from PyPI gets a program of others."""
    text = page.read_text(encoding="utf-8")
    for command in re.findall(
        r"(?:pip3?|uv|conda|mamba|pixi) (?:install|add) .*", text
    ):
        assert not re.search(r"(?<![\w-])napari-unet(?![\w-])", command), command


def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    inside = ROOT / "src" / "napari_unet" / "napari.yaml"
    assert (ROOT / "napari.yaml").read_text("utf-8") == inside.read_text("utf-8")


def test_sample_layers_are_images_with_their_labels() -> None:
    from napari_unet.io import samples

    for name in samples.KINDS:
        layers = getattr(samples, f"{name}_layers")()
        (image, _, kind), (labels, attributes, other) = layers
        assert (kind, other) == ("image", "labels")
        assert np.asarray(image).shape[:2] == np.asarray(labels).shape
        assert "truth" in attributes["name"]


def test_the_readme_example_runs(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert 8 <= len([line for line in code.splitlines() if line.strip()]) <= 14
    # the same lines, with a budget that fits a test
    assert "minutes=1" in code
    code = code.replace("minutes=1", "minutes=0, steps=5")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "nuclei.safetensors").exists()
    assert "ap" in done.stdout.lower()
