"""Preferences from napari's own settings where it has them, else from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from platformdirs import user_config_path
from pydantic import ValidationError

from napari_unet import DISTRIBUTION
from napari_unet.core.settings import explain
from napari_unet.gui.notifications import notify
from napari_unet.io.atomic import write_text
from napari_unet.io.records import parse
from napari_unet.session.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FILE = user_config_path("napari-unet") / "preferences.json"


def load_preferences(path: Path = _FILE) -> Preferences:
    """Return what is set now; defaults, with a message, where it cannot be read.

    `path` is the JSON file that is read where napari has no preferences of plugins
    (< 0.9).
    """
    section = _section()
    if section is None:
        where, found = str(path), _from_file(path)
    else:
        where = "napari's preferences for U-Net"
        found = {name: getattr(section, name) for name in Preferences.model_fields}
    try:
        return Preferences.model_validate(found)
    except ValidationError as error:
        message = f"{where}: {explain(error)} The defaults are used instead."
        notify("warning", message)
        return Preferences()


def keep(name: str, value: bool, path: Path = _FILE) -> None:
    """Set a preference from now on; `path` is as for `load_preferences`."""
    section = _section()
    if section is not None:
        setattr(section, name, value)
        return
    kept = load_preferences(path).replace(**{name: value})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, kept.model_dump_json(indent=1))
    except OSError as error:
        notify("warning", str(error))


def follow_preferences(changed: Callable[[Preferences], None]) -> Callable[[], None]:
    """Call back with the new preferences whenever one is changed in napari.

    What is returned ends it.
    """
    section = _section()
    if section is None:
        return lambda: None

    def on_changed(_: object = None) -> None:
        changed(load_preferences())

    section.events.connect(on_changed)
    return lambda: section.events.disconnect(on_changed)


def _section() -> Any:
    """Return napari's preferences of this plugin; None where it has none."""
    try:
        from napari.settings import get_plugin_settings

        return get_plugin_settings(DISTRIBUTION).general
    # napari before 0.9 has none of any plugin; a later one may not know this plugin
    except (ImportError, KeyError, AttributeError):
        return None


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = parse(path.read_bytes(), path.name)
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error} The defaults are used instead."
        notify("warning", message)
        return {}
    return dict(found) if isinstance(found, dict) else {"preferences": found}
