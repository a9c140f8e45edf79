from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari.settings
import pytest
import yaml
from npe2 import PluginManifest

import napari_unet
from napari_unet import DISTRIBUTION
from napari_unet.gui import preferences
from napari_unet.gui.preferences import follow_preferences, load_preferences
from napari_unet.gui.workspaces import WorkspaceHost
from napari_unet.session.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from npe2._pytest_plugin import TestPluginManager
    from pytestqt.qtbot import QtBot

MANIFEST = Path(napari_unet.__file__).with_name("napari.yaml")
# What the JSON schema of a model says of a bound, and the manifest too.
BOUNDS = ("type", "default", "enum", "minimum", "maximum", "description")
needs_preferences = pytest.mark.skipif(
    not hasattr(napari.settings, "get_plugin_settings"),
    reason="napari before 0.9 has no preferences of plugins",
)


@pytest.fixture
def no_napari(monkeypatch: pytest.MonkeyPatch) -> None:
    """A napari that knows no preferences of plugins (< 0.9)."""
    monkeypatch.setattr(preferences, "_section", lambda: None)


def _configurations() -> dict[str, Any]:
    contributions = yaml.safe_load(MANIFEST.read_text("utf-8"))["contributions"]
    found: dict[str, Any] = contributions["configurations"]
    return found


def test_the_manifest_repeats_the_model() -> None:
    shown = _configurations()["general"]["properties"]
    model = Preferences.model_json_schema()["properties"]
    assert list(shown) == list(model)
    for name, told in model.items():
        for bound in BOUNDS:
            assert shown[name].get(bound) == told.get(bound), (name, bound)


@needs_preferences
def test_what_is_set_in_napari_is_used(
    plugin_settings: None, npe2pm: TestPluginManager
) -> None:
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    assert load_preferences() == Preferences()
    section = get_plugin_settings(DISTRIBUTION).general
    section.device = "cpu"
    section.autosave_seconds = 1.5
    section.memory_gb = 4
    assert load_preferences() == Preferences(
        device="cpu", autosave_seconds=1.5, memory_gb=4
    )


@needs_preferences
def test_what_is_changed_in_napari_is_told_until_nobody_wants_to_know(
    plugin_settings: None, npe2pm: TestPluginManager
) -> None:
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    told: list[Preferences] = []
    forget = follow_preferences(told.append)
    section = get_plugin_settings(DISTRIBUTION).general
    section.device = "cuda:1"
    assert told[-1] == Preferences(device="cuda:1")
    forget()
    number = len(told)
    section.device = "cpu"
    assert len(told) == number


@needs_preferences
def test_an_open_workspace_follows_what_is_set(
    plugin_settings: None,
    npe2pm: TestPluginManager,
    viewer: ViewerModel,
    qtbot: QtBot,
) -> None:
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    section = get_plugin_settings(DISTRIBUTION).general
    section.device = "cpu"
    host = WorkspaceHost(viewer)
    workspace = host.workspace
    # once the docks are there
    qtbot.waitUntil(lambda: workspace.preferences.device == "cpu")
    section.autosave_seconds = 1.5
    section.memory_gb = 4
    users = (workspace.session, workspace.models)
    assert {user.preferences.memory_gb for user in users} == {4}
    assert workspace.store.autosave_seconds == 1.5
    warm: list[bool] = []
    host._first_labels.made.then(lambda: warm.append(True))
    qtbot.waitUntil(lambda: bool(warm))
    host.close()
    section.memory_gb = 2
    assert workspace.preferences.memory_gb == 4


@needs_preferences
@pytest.mark.usefixtures("plugin_settings")
def test_where_napari_does_not_know_the_plugin_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "preferences.json"
    assert load_preferences(path) == Preferences()
    path.write_text('{"device": "cpu", "model_folder": "/models"}', "utf-8")
    assert load_preferences(path) == Preferences(device="cpu", model_folder="/models")


@pytest.mark.usefixtures("no_napari")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"autosave_seconds": 0}', "autosave_seconds should be greater than or equal"),
        ('{"colour": 1}', "colour"),
        ("{", "cannot be read"),
        ("[1]", "preferences"),
        ('{"a":' * 2000 + "1" + "}" * 2000, "cannot be read"),
        ('{"memory_gb": 1e300}', "cannot be read"),
        ('{"memory_gb": 1e30}', "memory_gb should be less than or equal"),
        ('{"device": ["cpu"]}', "device"),
    ],
    ids=map(str, range(8)),
)
def test_a_file_that_is_wrong_is_told_and_the_defaults_hold(
    tmp_path: Path, shown: Callable[[], list[str]], text: str, told: str
) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(text, "utf-8")
    assert load_preferences(path) == Preferences()
    (sentence,) = shown()
    assert re.match(f"WARNING: .*preferences.json.*{told}.*defaults", sentence)


@pytest.mark.parametrize("word", ["segment", "cell", "train", "annotate", "U-Net"])
def test_the_command_palette_finds_the_docks_by_what_people_look_for(
    word: str,
) -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    commands = {c.id: c.title for c in manifest.contributions.commands or ()}
    # as napari names it
    title = f"{commands[f'{DISTRIBUTION}.open_workspace']} ({manifest.display_name})"
    assert word.lower() in title.lower()


def test_samples_say_that_they_are_samples() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    samples = manifest.contributions.sample_data or ()
    assert samples
    assert all("sample" in sample.display_name.lower() for sample in samples)
