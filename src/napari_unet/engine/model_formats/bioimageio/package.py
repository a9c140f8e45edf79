"""Packages of bioimage.io: folders, zips or yaml files.

A package of ours becomes a model of ours again. Of all others the TorchScript or ONNX
runs as it is, by the sizes, borders and steps that the yaml says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.opaque import TITLES, Opaque
from napari_unet.core.settings import explain, validated
from napari_unet.core.text import counted, listed, shown, times
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.model_formats import torch_file
from napari_unet.engine.model_formats.bioimageio.description import (
    package_of,
    sizes_of,
    spacing_of,
)
from napari_unet.engine.model_formats.bioimageio.files import (
    YAML_SUFFIXES,
    PackageFiles,
    yaml_in,
)
from napari_unet.engine.model_formats.bioimageio.grey_values import (
    grey_steps,
    measures_all,
)
from napari_unet.engine.model_formats.bioimageio.trial import note_of_trial
from napari_unet.engine.model_formats.single_files import checked, opaque_model
from napari_unet.io.records import parse

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.network.opaque import Runtime
    from napari_unet.core.publication import Publication
    from napari_unet.engine.model_formats.bioimageio.description import (
        Package,
        Step,
        Tensor,
        WeightsFile,
    )

_BACKGROUND = ("background", "bg")


def recognises(path: Path) -> bool:
    """Whether it has a yaml that describes a model of bioimage.io."""
    if path.is_dir():
        return bool(yaml_in(path))
    if path.suffix.lower() in YAML_SUFFIXES:
        with path.open("rb") as file:
            return b"format_version" in file.read(2**20)
    try:
        return bool(PackageFiles(path).yaml_name)
    except ValueError:
        return False


def read(path: Path) -> Model:
    """Read a package; no code in it is run."""
    files = PackageFiles(path)
    package = package_of(files.yaml(), path)
    if "card" in package.ours:
        return _own(files, package)
    return _foreign(files, package)


def write(model: Model, path: Path, publication: Publication) -> tuple[str, ...]:
    """Write a zip with the network as state dict, TorchScript and ONNX."""
    from napari_unet.engine.model_formats.bioimageio.writing import write_package

    return write_package(model, path, publication)


def _own(files: PackageFiles, package: Package) -> Model:
    """Return the model that a package of ours was made of."""
    from napari_unet.engine.model_formats.plain_form import own_weights

    what, found = f"{files.path}: the card in it", package.ours["card"]
    if not isinstance(found, str) or package.weights.pytorch_state_dict is None:
        raise ValueError(f"{what} is damaged.")
    card = validated(ModelCard, parse(found, what), f"{what} is damaged")
    content = _content(files, package.weights.pytorch_state_dict)
    state = torch_file.load(files.path, content)
    with torch_file.about(files.path):
        weights = own_weights(state, card)
    return Model(card.replace(name=files.name), weights)


def _foreign(files: PackageFiles, package: Package) -> Model:
    """Return a network of another program that runs as it is."""
    path = files.path
    runtime, file = _chosen(files, package)
    given = package.outputs[0]
    sizes, made = sizes_of(package, path), _made(given, path)
    try:
        network = Opaque.in_windows(
            runtime=runtime,
            channels=len(package.inputs[0].channels),
            classes=made.channels,
            smallest=sizes.smallest,
            growth=sizes.growth,
            lost=sizes.lost,
            border=sizes.border,
            activation=made.activation,
            only_foreground=made.only_foreground,
        )
        training = Training(ndim=network.ndim)
        card = ModelCard(
            name=files.name,
            architecture=network,
            classes=tuple(ClassInfo(name=shown(name)) for name in made.classes),
            outputs=made.outputs,
            normalisation=grey_steps(package.inputs[0], path),
            spacing_um=spacing_of(package),
            notes=_notes(package, network, made, file),
            training=training.with_task("regress" if made.outputs else "segment"),
        )
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    model = checked(path, opaque_model(card, _content(files, file)))
    notes = *card.notes, note_of_trial(files, package, model)
    return Model(card.replace(notes=notes), model.weights)


def _chosen(files: PackageFiles, package: Package) -> tuple[Runtime, WeightsFile]:
    """Return which of the weights are there and can be run."""
    weights = package.weights
    forms: dict[Runtime, WeightsFile | None] = {
        "torchscript": weights.torchscript,
        "onnx": weights.onnx,
    }
    listed_ones = {r: file for r, file in forms.items() if file is not None}
    for runtime, file in listed_ones.items():
        if files.has(file.source):
            return runtime, file
    if listed_ones:
        # says whether they lie elsewhere, or are not there at all
        files.read(next(iter(listed_ones.values())).source)
    why = (
        "; a state dict of another program needs its Python code, which is not run."
        if weights.pytorch_state_dict
        else "."
    )
    raise ValueError(
        f"{files.path}: has no TorchScript or ONNX, which alone run as they are{why}"
    )


def _content(files: PackageFiles, file: WeightsFile) -> bytes:
    return files.read(file.source, file.sha256)


@dataclass(frozen=True, slots=True)
class _Made:
    """What the channels of an output are."""

    channels: int  # with the background, where only the foreground comes out
    activation: Literal["none", "sigmoid", "softmax"]  # that is left to be done
    only_foreground: bool = False
    # names of the foreground classes; none if the output is an image
    classes: tuple[str, ...] = ()
    outputs: ImageOutputs | None = None  # the scale of the image
    is_guessed: bool = False  # that the first channel is the background


def _made(given: Tensor, where: object) -> _Made:
    """Find out what an output is: classes only if they exclude each other."""
    activation, gain, offset = _finish(given, where)
    names = given.channels
    is_scaled = (gain, offset) != (1, 0)
    if not is_scaled and (activation != "none" or given.is_share):
        if len(names) == 1 and activation != "softmax":
            return _Made(2, activation, only_foreground=True, classes=names)
        is_named = names[0].lower() in _BACKGROUND
        exclusive = activation == "softmax" or (is_named and activation == "none")
        if exclusive and len(names) > 1:
            return _Made(
                len(names), activation, classes=names[1:], is_guessed=not is_named
            )
    mean, sd = (offset,) * len(names), (gain,) * len(names)
    return _Made(len(names), activation, outputs=ImageOutputs(mean=mean, sd=sd))


def _finish(
    given: Tensor, where: object
) -> tuple[Literal["none", "sigmoid", "softmax"], float, float]:
    """Return what is done with an output: an activation, then a gain and an offset."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    gain, offset = 1.0, 0.0
    for step in given.postprocessing:
        of = step.details
        is_first = (activation, gain, offset) == ("none", 1, 0)
        over_channels = of.axis in (None, "channel")
        if step.id == "sigmoid" and is_first:
            activation = "sigmoid"
        elif step.id == "softmax" and is_first and over_channels:
            activation = "softmax"
        elif (
            step.id == "scale_linear"
            and isinstance(of.gain, float)
            and isinstance(of.offset, float)
        ):
            gain, offset = gain * of.gain, offset * of.gain + of.offset
        elif step.id != "ensure_dtype" and not _keeps_shares(step):
            raise ValueError(
                f"{where}: what comes out needs {shown(step.id)}, which is not done "
                "here so; done are sigmoid or softmax, then scale_linear."
            )
    return activation, gain, offset


def _keeps_shares(step: Step) -> bool:
    """Whether a step leaves values from 0 to 1 as they are."""
    return step.id == "clip" and (step.details.min, step.details.max) == (0, 1)


def _notes(
    package: Package, network: Opaque, made: _Made, file: WeightsFile
) -> tuple[str, ...]:
    """Say what was taken and what is left out."""
    notes = [
        f"The {TITLES[network.runtime]} {shown(file.source)} of the bioimage.io "
        f"package {shown(package.name)} runs as it is and cannot be trained on."
    ]
    if network.window is not None:
        notes.append(
            f"It sees windows of {times(network.window)} pixels, "
            + (
                "side by side without their border."
                if 0 not in network.border
                else "blended, as the package says of no border how far the network "
                "sees."
            )
        )
    if measures_all(package.inputs[0]):
        notes.append(
            "Grey values are measured on each frame, where the package has them "
            "measured on a whole data set."
        )
    names = listed([shown(name) for name in package.outputs[0].channels])
    if made.outputs is not None:
        notes.append(
            "It gives an image, as its channels are not said to be classes that "
            f"exclude each other: {names}."
        )
    elif made.is_guessed:
        notes.append(f"Its first channel is taken for the background: {names}.")
    if more := package.outputs[1:]:
        left_out = listed([shown(tensor.id) for tensor in more])
        notes.append(f"{counted(len(more), 'more output')} left out: {left_out}.")
    if file.sha256 is None:
        notes.append("The package has no checksum of its weights.")
    return tuple(notes)
