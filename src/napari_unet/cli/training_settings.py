"""Settings of a training, from the options of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.cli.options import given_border_weights, given_settings
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.training.training_settings import (
    AUTO,
    OF_NETWORK,
    PRESETS,
    Augmentation,
    Training,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from napari_unet.core.training.objectives import Task


def training_settings(
    options: argparse.Namespace, begun: Path | None = None
) -> Training:
    """Return the preset with what was given on the command line.

    Network and task are those of the model or checkpoint that it begins with, if there
    is one. A ValueError says which settings are impossible for a network.
    """
    from napari_unet.engine.model_formats.catalogue import card_of

    card = None if begun is None else card_of(begun)
    settings = _of_preset(options, "segment" if card is None else card.training.task)
    changes = given_settings(options, Training)
    changes.pop("preset", None)
    if options.preset == AUTO:
        changes["by_hand"] = _by_hand(changes)
    if begun is not None and card is not None:
        if options.init and (problem := card.refusal_as_start(settings)):
            raise ValueError(problem)
        own = card.training
        _check_kept(begun, own, changes)
        settings = settings.with_network(own.network).with_network_of(own)
        settings = settings if options.preset else settings.with_recipe_of(own)
    elif options.network is not None:
        settings = settings.with_network(options.network)
    _check_network(settings, changes)
    if "encoder" in changes and begun is None:
        settings = settings.with_network(settings.network, changes["encoder"])
    if "scale" in changes:
        changes.setdefault("shrink", False)
    if options.validation is not None:
        changes["validation"] = _share(options.validation)
    if options.steps is not None:
        changes["minutes"] = 0.0
    elif options.minutes is not None:
        changes["steps"] = 0
    changes["border"] = given_border_weights(options, settings.border, "border_")
    changes["augmentation"] = settings.augmentation.replace(
        **given_settings(options, Augmentation, "augment_")
    )
    return settings.replace(**changes)


def _of_preset(options: argparse.Namespace, usual: Task) -> Training:
    """Return the preset for the given task, or else the usual one."""
    name = options.preset or "quick"
    preset = Training.automatic if name == AUTO else PRESETS[name]
    return preset(ndim=options.ndim).with_task(options.task or usual)


def _by_hand(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings that no planner changes; `ndim` is one only for 3-D."""
    names = {name for name in given if name != "ndim" or given["ndim"] == 3}
    if names & {"steps", "minutes"}:
        names |= {"steps", "minutes"}
    return tuple(sorted(names))


def _check_kept(file: Path, begun: Training, given: Mapping[str, Any]) -> None:
    """ValueError for another network than that of the file to begin with."""
    for name in OF_NETWORK:
        own = getattr(begun, name)
        if given.get(name, own) != own:
            raise ValueError(
                f"{file}: its {name} is {_written(own)}, so training that begins with "
                f"it cannot have --{name} {_written(given[name])}."
            )


def _check_network(settings: Training, given: Mapping[str, Any]) -> None:
    """ValueError for settings that the network determines otherwise."""
    entry, encoder = NETWORKS[settings.network], given.get("encoder", settings.encoder)
    if refusal := entry.refusal(settings.ndim, encoder=encoder):
        raise ValueError(refusal)
    title = entry.title
    if encoder == "imagenet":
        title += " with ImageNet's weights"
    for name, own in entry.settled(encoder).items():
        if given.get(name, own) != own:
            raise ValueError(
                f"--{name} cannot be {_written(given[name])}: of {title} it is "
                f"{_written(own)}."
            )


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _share(text: str) -> float:
    if text == "none":
        return 0.0
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"--validation is a share between 0 and 0.5, or none; found {text!r}."
        ) from None
