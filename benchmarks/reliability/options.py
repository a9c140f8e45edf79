"""Bad options of every command: each is refused in one sentence, nothing is written.

They are made from the parsers and from the settings models, so new options are tried
without a word here.
"""

from __future__ import annotations

import argparse
import random
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.reliability.material import SMALL
from benchmarks.reliability.trial import tree
from napari_unet.core.settings import BorderWeights, Prediction, Segmentation
from napari_unet.core.training.training_settings import Augmentation, Training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.reliability.material import Material
    from benchmarks.reliability.trial import Trial

# The settings that options of a command are made from, with the prefix of their names.
_SETTINGS = {
    "train": (
        (Training, ""),
        (BorderWeights, "border_"),
        (Augmentation, "augment_"),
        (Prediction, ""),
    ),
    "predict": ((Prediction, ""), (Segmentation, "")),
    "evaluate": (),
    "weights": ((BorderWeights, ""),),
    "info": (),
}
_NO_NUMBER = ("nan", "inf", "-inf", "abc", "", "1,5", "0x10", "١٢٣x", "1e999")
_ELSEWHERE = ("/proc/nothing/out", "/dev/null/out", "missing/folder/out")


def prepare(_: Material) -> None:
    """Nothing is needed but the material."""


def bad(trial: Trial) -> None:
    """Run a command with something wrong."""
    known = _cases()
    what, name, options = known[trial.seed % len(known)]
    arguments = [*_good(trial, name), *options]
    if what.startswith("instead "):
        place = int(what.split()[1])
        arguments[place : place + 1] = options
        arguments = arguments[: -len(options)]
    ended = trial.command(*arguments)
    told = f"{name} {' '.join(map(str, options))}"
    trial.expect(ended.code in (1, 2), "silent", f"{told}: exit status {ended.code}")
    lines = [n for n in ended.words.splitlines() if n.startswith("napari-unet")]
    trial.expect(len(lines) == 1, "words", f"{told}: {ended.words.strip()[-200:]}")
    left = [n for n in tree(trial.work) if not n.startswith("given")]
    trial.expect(not left, "half", f"{told}: wrote {', '.join(left)}")
    trial.faults = [(kind, f"{what}: {text}") for kind, text in trial.faults]


def _good(trial: Trial, name: str) -> list[object]:
    """Return arguments of a command that are right."""
    material, work = trial.material, trial.work
    pair: list[object] = [material.images, material.labels]
    right: dict[str, list[object]] = {
        "train": [*pair, "--output", work / "m.safetensors", "--steps", 2, *SMALL],
        "predict": [material.model, material.many, "--output", work / "out"],
        "evaluate": [material.labels, material.labels],
        "weights": [material.labels, "--output", work / "weights"],
        "info": [material.model],
    }
    return [name, *right[name]]


@cache
def _cases() -> list[tuple[str, str, tuple[object, ...]]]:
    """List what is wrong, the command and its options, in an order of no meaning."""
    cases = [case for name in _SETTINGS for case in _of_command(name)]
    random.Random(0).shuffle(cases)
    return cases


def _of_command(name: str) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    parser = argparse.ArgumentParser()
    import_module(f"napari_unet.cli.{name}").add_options(parser)
    yield "unknown option", name, ("--no-such-option", 1)
    yield "one more", name, ("--output",)
    for action in parser._actions:  # noqa: SLF001 - there is no other way to list them
        option = action.option_strings[:1]
        if option and action.choices:
            yield "no choice", name, (option[0], "no-such-choice")
        elif option and action.type in (int, float):
            for value in _wrong_numbers(name, action.dest):
                yield "number", name, (f"{option[0]}={value}",)
        elif option and action.dest in ("axes", "save", "tile", "validation", "metric"):
            for text in ("", "q", "zzyx", "nan", "-3", "\x1b[2J"):
                yield "text", name, (f"{option[0]}={text}",)
    yield from _files(name)


def _wrong_numbers(name: str, dest: str) -> Iterator[object]:
    """Yield what is no number, and numbers out of the bounds of the setting."""
    yield from _NO_NUMBER
    for model, prefix in _SETTINGS[name]:
        field = model.model_fields.get(dest.removeprefix(prefix))
        for bound in field.metadata if field and dest.startswith(prefix) else ():
            yield from _beyond(bound)


def _beyond(bound: Any) -> Iterator[object]:
    for sign, far in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
        limit = getattr(bound, sign, None)
        if limit is not None:
            yield limit + far
            if far:
                yield limit + far * 10**30


def _files(name: str) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """Yield inputs that are not there or of the wrong kind, and outputs nowhere."""
    inputs = {"train": (1, 2), "predict": (1, 2), "evaluate": (1, 2)}.get(name, (1,))
    for place in inputs:
        for path in (
            "missing.tif",
            "/dev/null",
            "/proc/self/mem",
            "*.nothing",
            "",
            "\x07",
        ):
            yield f"instead {place}", name, (path,)
    if name != "info":
        for path in _ELSEWHERE:
            option = "--json" if name == "evaluate" else "--output"
            yield "output", name, (option, path)
            if name in ("train", "predict"):
                yield "report", name, ("--json", path)
    if name == "train":
        yield "conflict", name, ("--minutes", 1)
        yield "conflict", name, ("--init", "nuclei", "--resume")
        yield "no checkpoint", name, ("--resume",)
        yield "no model", name, ("--init", "missing.safetensors")
    if name in ("train", "predict"):
        for device in ("cuda:99", "tpu", "", "cpu:x"):
            yield "device", name, ("--device", device)


KINDS = {"bad": (bad, 200)}
"""With the number of its trials."""
