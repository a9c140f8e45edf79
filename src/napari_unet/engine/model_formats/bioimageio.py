"""Packages of bioimage.io: folders, zips or yaml files.

A package of ours becomes a model of ours again. Of all others the TorchScript or ONNX
runs as it is, by the sizes, borders and steps that the yaml says.
"""

from __future__ import annotations

from io import BytesIO
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.opaque import TITLES, Opaque
from napari_unet.core.settings import explain
from napari_unet.core.text import counted, listed, reason, shown, times
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.model_formats.package_description import (
    package_of,
    sizes_of,
    spacing_of,
)
from napari_unet.engine.model_formats.package_files import (
    YAML_NAMES,
    YAML_SUFFIXES,
    PackageFiles,
)
from napari_unet.engine.model_formats.package_grey_values import grey_steps
from napari_unet.engine.model_formats.single_files import checked, opaque_model
from napari_unet.io.records import parse

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.network.opaque import Runtime
    from napari_unet.core.publication import Publication
    from napari_unet.engine.model_formats.package_description import (
        Package,
        Tensor,
        WeightsFile,
    )

_BACKGROUND = ("background", "bg")


def recognises(path: Path) -> bool:
    """Whether it has a yaml that describes a model of bioimage.io."""
    if path.is_dir():
        return any((path / name).is_file() for name in YAML_NAMES)
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
    from napari_unet.engine.model_formats.package_writing import write_package

    return write_package(model, path, publication)


def _own(files: PackageFiles, package: Package) -> Model:
    """Return the model that a package of ours was made of."""
    what, found = f"{files.path}: the card in it", package.ours["card"]
    if not isinstance(found, str) or package.weights.pytorch_state_dict is None:
        raise ValueError(f"{what} is damaged.")
    try:
        card = ModelCard.model_validate(parse(found, what))
    except ValidationError as error:
        raise ValueError(f"{what} is damaged: {explain(error)}") from error
    content = _content(files, package.weights.pytorch_state_dict)
    weights = _weights(content, card, files.path)
    return Model(card.replace(name=files.name), weights)


def _weights(content: bytes, card: ModelCard, path: Path) -> dict[str, Any]:
    """Return the weights in a state dict of PyTorch, which is loaded without code."""
    import torch

    from napari_unet.engine.model_formats.plain_form import own_weights
    from napari_unet.engine.network.network import to_arrays

    try:
        found = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: its weights are damaged ({reason(error)})."
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in found.items()
    ):
        raise ValueError(f"{path}: its weights are damaged, they are no tensors.")
    return to_arrays(own_weights(found, card.members))


def _foreign(files: PackageFiles, package: Package) -> Model:
    """Return a network of another program that runs as it is."""
    path = files.path
    runtime, file = _chosen(files, package)
    given = package.outputs[0]
    sizes, made = sizes_of(package, path), _Made(given, path)
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
        training = Training(ndim=network.ndim)  # type: ignore[arg-type]
        card = ModelCard(
            name=files.name,
            architecture=network,
            classes=tuple(ClassInfo(name=name) for name in made.classes),
            outputs=made.outputs,
            normalisation=grey_steps(package.inputs[0], path),
            spacing_um=spacing_of(package),
            notes=_notes(package, network, made, file),
            training=training.with_task("regress" if made.outputs else "segment"),
        )
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    return checked(path, opaque_model(card, _content(files, file)))


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
    raise ValueError(
        f"{files.path}: has no TorchScript or ONNX, which alone run as they are; "
        "a state dict of another program needs its Python code, which is not run."
    )


def _content(files: PackageFiles, file: WeightsFile) -> bytes:
    return files.read(file.source, file.sha256)


class _Made:
    """What the channels of an output are.

    Attributes
    ----------
    activation : str
        What is left to be done with them.
    only_foreground : bool
        There is one channel, of the foreground.
    classes : tuple of str
        Names of the foreground classes; none if the output is an image.
    outputs : ImageOutputs or None
        Scale of the image that it is.
    """

    def __init__(self, given: Tensor, where: object) -> None:
        self.activation, gain, offset = "none", 1.0, 0.0
        for step in given.postprocessing:
            of = step.kwargs
            over_channels = of.axis in (None, "channel")
            is_first = self.activation == "none" and over_channels
            if step.id in ("sigmoid", "softmax") and is_first:
                self.activation = step.id
            elif step.id == "scale_linear" and _is_plain(of.gain, of.offset):
                gain, offset = gain * of.gain, offset * of.gain + of.offset  # type: ignore[assignment, operator]
            elif step.id != "ensure_dtype" and not _keeps_shares(step.id, of):
                raise ValueError(
                    f"{where}: what comes out needs {shown(step.id)}, which is not "
                    "done here; done are sigmoid, softmax and scale_linear."
                )
        names = given.channels
        share = self.activation != "none" or given.is_share
        share = share and (gain, offset) == (1, 0)
        self.only_foreground = share and len(names) == 1
        self.without_background = (
            len(names) > 1
            and self.activation == "softmax"
            and names[0].lower() not in _BACKGROUND
        )
        exclusive = self.activation == "softmax" or (
            self.activation == "none" and names[0].lower() in _BACKGROUND
        )
        self.classes: tuple[str, ...] = ()
        if self.only_foreground:
            self.classes = names
        elif share and exclusive and len(names) > 1:
            self.classes = names[1:]
        self.channels = 2 if self.only_foreground else len(names)
        self.outputs = None
        if not self.classes:
            self.only_foreground, self.channels = False, len(names)
            mean, sd = (offset,) * len(names), (gain,) * len(names)
            self.outputs = ImageOutputs(mean=mean, sd=sd)


def _is_plain(*values: object) -> bool:
    return all(isinstance(value, float) for value in values)


def _keeps_shares(name: str, of: Any) -> bool:
    """Whether a step leaves values from 0 to 1 as they are."""
    return name == "clip" and (of.min, of.max) == (0, 1)


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
    names = listed([shown(name) for name in package.outputs[0].channels])
    if made.outputs is not None:
        notes.append(
            "It gives an image, as its channels are not said to be classes that "
            f"exclude each other: {names}."
        )
    elif made.without_background:
        notes.append(f"Its first channel is taken for the background: {names}.")
    if more := package.outputs[1:]:
        left_out = listed([shown(tensor.id) for tensor in more])
        notes.append(f"{counted(len(more), 'more output')} left out: {left_out}.")
    if file.sha256 is None:
        notes.append("The package has no checksum of its weights.")
    return tuple(notes)
