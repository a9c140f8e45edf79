"""Preferences from napari's own settings where it has them, else from a file."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from platformdirs import user_config_path
from pydantic import ValidationError

from napari_unet.core.settings import explain
from napari_unet.io.atomic import atomic
from napari_unet.io.records import parse
from napari_unet.session.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Key of the manifest's configuration.
_SECTION = "general"


def load_preferences(path: Path | None = None) -> Preferences:
    """Return what is set now; defaults, with a warning, where it cannot be read.

    `path` is the JSON file that is read where napari has no preferences of plugins
    (< 0.9); by default in the user's folder for configurations.
    """
    found = _from_napari()
    where = "napari's preferences for U-Net"
    if found is None:
        path = path or user_config_path("napari-unet") / "preferences.json"
        where = str(path)
        found = _from_file(path)
    try:
        return Preferences.model_validate(found)
    except ValidationError as error:
        message = f"{where}: {explain(error)} The defaults are used instead."
        warnings.warn(message, stacklevel=2)
        return Preferences()


def stop_asking(path: Path | None = None) -> None:
    """Close without asking from now on; `path` is as for `load_preferences`."""
    section = _section()
    if section is not None:
        section.ask_before_closing = False
        return
    path = path or user_config_path("napari-unet") / "preferences.json"
    kept = load_preferences(path).replace(ask_before_closing=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_text(kept.model_dump_json(indent=1), encoding="utf-8")
    except OSError as error:
        warnings.warn(str(error), stacklevel=2)


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


def _from_napari() -> dict[str, Any] | None:
    """Read napari's preferences; None where it knows none of this plugin."""
    section = _section()
    if section is None:
        return None
    return {name: getattr(section, name) for name in Preferences.model_fields}


def _section() -> Any:
    try:
        from napari.settings import get_plugin_settings

        return getattr(get_plugin_settings("napari-unet"), _SECTION)
    except (ImportError, KeyError, AttributeError):
        return None


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = parse(path.read_bytes(), path.name)
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error} The defaults are used instead."
        warnings.warn(message, stacklevel=3)
        return {}
    return dict(found) if isinstance(found, dict) else {"preferences": found}
