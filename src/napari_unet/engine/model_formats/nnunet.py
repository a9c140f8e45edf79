"""Trained models of nnU-Net v2: a folder with its plans and a checkpoint of each fold.

Its networks pad, and take statistics of what they see, so that they run here as there
in windows of the planned patch's size, blended by the same weights. The folds that are
there are the members of one model. Nothing of nnU-Net is needed, and no code that a
checkpoint may hold is run.

References
----------
Isensee et al.: nnU-Net: a self-configuring method for deep learning-based biomedical
image segmentation, Nature Methods 2021; the files are those of nnunetv2 2.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.grey_steps import Clip, Fixed, GreySteps, MinMax, ZScore
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.architecture import Architecture, Level
from napari_unet.core.text import counted, listed, shown, times
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.model_formats import torch_file
from napari_unet.engine.model_formats.nnunet_plans import Dataset, Plans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import ClassKind
    from napari_unet.core.images.grey_steps import Step
    from napari_unet.core.network.layers import Activation, Norm
    from napari_unet.engine.model_formats.nnunet_plans import Configuration, Sizes

_PLANS, _DATASET, _CHECKPOINT = "plans.json", "dataset.json", "checkpoint_final.pth"
# What a checkpoint cannot do without.
_PARTS = ("network_weights", "init_args")
# Readers of files that have their pixel size in millimetres.
_MEDICAL = ("SimpleITKIO", "NibabelIO")
_BLOCKS: Mapping[str, Literal["plain", "resenc"]] = {
    "PlainConvUNet": "plain",
    "ResidualEncoderUNet": "resenc",
}
_NORMS: Mapping[str, Norm] = {"InstanceNorm": "instance", "BatchNorm": "batch"}
# Listed twice by nnU-Net, and scores that are learnt from in training only.
_SPARE = ("decoder.encoder.", "decoder.seg_layers.")


def recognises(path: Path) -> bool:
    """Whether a folder has plans, or that of a fold or a file that is given."""
    if path.is_file() and path.name != _PLANS and path.suffix.lower() != ".pth":
        return False
    folder, _ = _place(path)
    there = [(folder / name).is_file() for name in (_PLANS, _DATASET)]
    # one of them may be missing, which is reported when it is read
    return all(there) or (any(there) and any(folder.glob("fold_*")))


def read(path: Path) -> Model:
    """Read a model of all folds, or of the fold or checkpoint that is given.

    As `ModelFormat.read`.
    """
    folder, files = _place(path)
    for name in (_PLANS, _DATASET):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder}: has no {name}, which a model of nnU-Net needs beside its "
                "folds."
            )
    plans, dataset = Plans.read(folder / _PLANS), Dataset.read(folder / _DATASET)
    first, weights = _checkpoint(files[0]), {}
    configuration = plans.configuration(_configuration(first), folder / _PLANS)
    with torch_file.about(folder):
        order = _order(plans, configuration)
        table = _architecture(configuration, dataset, order)
        card = _card(table, plans, configuration, dataset, order).replace(
            name=folder.name, members=len(files)
        )
    for number, file in enumerate(files):
        checkpoint = first if number == 0 else _checkpoint(file)
        for name, weight in _weights(table, checkpoint, order, file).items():
            weights[f"{number}/{name}" if len(files) > 1 else name] = weight
    notes = (
        _origin(first),
        *_left_out(folder, files),
        *_notes(table, len(files)),
        *card.notes,
    )
    return Model(card.replace(notes=notes), weights)


def _place(path: Path) -> tuple[Path, list[Path]]:
    """Return the folder of a trained model, and the checkpoints that are meant."""
    path = path.absolute()
    if path.name == _PLANS:
        path = path.parent
    if path.is_file():
        return path.parent.parent, [path]
    if path.name.startswith("fold_"):
        return path.parent, [path / _CHECKPOINT]
    folds = sorted(path.glob(f"fold_[0-9]*/{_CHECKPOINT}"))
    # if there is none, the first fold that there is reports it
    begun = sorted(path.glob("fold_[0-9]*"))[:1]
    whole = path / "fold_all"
    only = begun[0] if begun and not whole.exists() else whole
    return path, folds or [only / _CHECKPOINT]


def _left_out(folder: Path, files: list[Path]) -> tuple[str, ...]:
    """Say which folds are not among the members, where not one alone is asked for."""
    taken = {file.parent for file in files}
    others = sorted(fold.name for fold in folder.glob("fold_*") if fold not in taken)
    if not others or files != _place(folder)[1]:
        return ()
    return (f"Left out: {listed(others)}.",)


def _checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        others = sorted(path.parent.parent.glob("fold_*/*.pth"))
        such = f", such as {others[0]}" if others else ""
        raise FileNotFoundError(
            f"there is no {path}: the training is not at its end; a checkpoint of it "
            f"may be given by its name{such}."
        )
    found = torch_file.load(path)
    # the state of the optimiser is as large again
    parts = {
        name: found.get(name) for name in (*_PARTS, "trainer_name", "current_epoch")
    }
    if not all(isinstance(parts[name], dict) for name in _PARTS):
        raise ValueError(f"{path}: is no checkpoint of nnU-Net v2.")
    return parts


def _configuration(checkpoint: Mapping[str, Any]) -> str:
    return str(checkpoint["init_args"].get("configuration"))


def _card(
    table: Architecture,
    plans: Plans,
    configuration: Configuration,
    dataset: Dataset,
    order: Sequence[int],
) -> ModelCard:
    """Return what plans and data set tell of a model."""
    names = dataset.classes[1:]
    kind: ClassKind = "cells" if len(names) == 1 else "regions"
    spacing, of_spacing = _spacing(plans, configuration, order)
    return ModelCard(
        architecture=table,
        classes=tuple(ClassInfo(name=shown(name), kind=kind) for name in names),
        normalisation=GreySteps(steps=_grey_steps(plans, configuration, dataset)),
        spacing_um=spacing,
        notes=(of_spacing, f"Its classes are taken for {kind}."),
        training=_training(table),
    )


def _order(plans: Plans, configuration: Configuration) -> tuple[int, ...]:
    """Return which axis of the network each axis of an image, [z,] y, x, is."""
    order: tuple[int, ...] = plans.order
    if len(configuration.patch) == 2:
        if order[0] != 0:
            raise ValueError(
                f"its slices lie across axis {'zyx'[order[0]]} of a volume; "
                "slices in y and x are read."
            )
        order = order[1] - 1, order[2] - 1
    return tuple(order.index(axis) for axis in range(len(order)))


def _architecture(
    configuration: Configuration, dataset: Dataset, order: Sequence[int]
) -> Architecture:
    """Return the network that is planned, its axes in the order of an image's."""
    if configuration.previous_stage:
        raise ValueError(
            f"its network sees what {shown(configuration.previous_stage)} gives, too, "
            "and such a cascade is not read."
        )
    name = configuration.network.name.rpartition(".")[2]
    if name not in _BLOCKS:
        raise ValueError(
            f"its network is {shown(name)}; read are {', '.join(_BLOCKS)}."
        )
    sizes = configuration.network.sizes
    # each half of a window has to have whole pixels
    window = [n + n % 2 for n in _turned(configuration.patch, order)]
    return Architecture(
        channels=len(dataset.channels),
        classes=len(dataset.classes),
        levels=_levels(sizes, order),
        block=_BLOCKS[name],
        reduce="first_conv",
        activation=_activation(sizes),
        norm=_norm(sizes),
        conv_bias=sizes.bias,
        up_bias=sizes.bias,
        supervised=max(len(sizes.features) - 3, 0),
        padded=True,
        window=tuple(window),
        mean_of="scores",
    )


def _levels(sizes: Sizes, order: Sequence[int]) -> tuple[Level, ...]:
    bottom, one = len(sizes.features) - 1, (1,) * len(order)
    return tuple(
        Level(
            down=(width,) * sizes.units[d],
            up=(width,) * sizes.decoder[bottom - 1 - d] if d < bottom else (),
            up_conv=width if d < bottom else 0,
            kernel=_turned(sizes.kernels[d], order),
            pool=_turned(sizes.strides[d + 1], order) if d < bottom else one,
        )
        for d, width in enumerate(sizes.features)
    )


def _turned(values: Sequence[Any], order: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[axis] for axis in order)


def _norm(sizes: Sizes) -> Norm:
    kind = sizes.norm.rpartition(".")[2].rstrip("123d")
    options = {"eps": 1e-5, **(sizes.norm_options or {})}
    # the default of torch
    affine = options.get("affine", kind == "BatchNorm")
    if kind not in _NORMS or options["eps"] != 1e-5 or not affine:
        raise ValueError(
            f"its normalisation is {shown(sizes.norm)} with {shown(options)}; read are "
            f"{', '.join(_NORMS)} with eps 1e-05 and affine."
        )
    return _NORMS[kind]


def _activation(sizes: Sizes) -> Activation:
    kind = sizes.activation.rpartition(".")[2]
    slope = (sizes.activation_options or {}).get("negative_slope", 0.01)
    if sizes.activation_first or (kind, slope) not in (
        ("LeakyReLU", 0.01),
        ("ReLU", 0.01),
    ):
        raise ValueError(
            f"its activation is {shown(sizes.activation)} of slope {shown(slope)}"
            f"{', before the norm' if sizes.activation_first else ''}; read are "
            "LeakyReLU of slope 0.01 and ReLU, behind it."
        )
    return "leaky_relu_01" if kind == "LeakyReLU" else "relu"


def _weights(
    table: Architecture, checkpoint: Mapping[str, Any], order: Sequence[int], path: Path
) -> Mapping[str, Any]:
    """Return the weights of a checkpoint by our names."""
    axes = [0, 1, *(2 + axis for axis in order)]
    state = {
        name: tensor.permute(axes) if getattr(tensor, "ndim", 0) > 2 else tensor
        for name, tensor in checkpoint["network_weights"].items()
        # each layer's are listed twice
        if ".all_modules." not in str(name)
    }
    with torch_file.about(path):
        return torch_file.weights_of(table, _names(table), state, _SPARE)


def _names(table: Architecture) -> dict[str, str]:
    """Return the program's name of each of our layers with weights."""
    bottom = len(table.levels) - 1
    found = {"score": f"decoder.seg_layers.{bottom - 1}"}
    for d, level in enumerate(table.levels):
        # counted from the bottom there
        stage = bottom - 1 - d
        found[f"up_conv.{d}.0"] = f"decoder.transpconvs.{stage}"
        found[f"coarser.{d}"] = f"decoder.seg_layers.{stage}"
        for unit in range(len(level.up)):
            theirs = f"decoder.stages.{stage}.convs.{unit}"
            found |= _normed(f"up.{d}", theirs, 3 * unit)
    return found | (_residual(table) if table.block == "resenc" else _plain(table))


def _plain(table: Architecture) -> dict[str, str]:
    found: dict[str, str] = {}
    for d, level in enumerate(table.levels):
        for unit in range(len(level.down)):
            theirs = f"encoder.stages.{d}.0.convs.{unit}"
            found |= _normed(f"down.{d}", theirs, 3 * unit)
    return found


def _residual(table: Architecture) -> dict[str, str]:
    found = _normed("down.0.stem", "encoder.stem.convs.0")
    for d, level in enumerate(table.levels):
        for unit in range(len(level.down)):
            ours, theirs = f"down.{d}.{unit}", f"encoder.stages.{d}.blocks.{unit}"
            found |= _normed(f"{ours}.0", f"{theirs}.conv1")
            found |= _normed(f"{ours}.1", f"{theirs}.conv2")
            # behind the mean of a unit that reduces
            found |= _normed(f"{ours}.shortcut", f"{theirs}.skip.{int(d > 0)}")
    return found


def _normed(ours: str, theirs: str, first: int = 0) -> dict[str, str]:
    """Return the names of a convolution and its norm."""
    return {
        f"{ours}.{first}": f"{theirs}.conv",
        f"{ours}.{first + 1}": f"{theirs}.norm",
    }


def _grey_steps(
    plans: Plans, configuration: Configuration, dataset: Dataset
) -> tuple[Step, ...]:
    """Return what is done to the grey values of an image."""
    schemes = configuration.normalisation
    if len(schemes) != len(dataset.channels):
        raise ValueError(
            f"it normalises {len(schemes)} channels, its images have "
            f"{len(dataset.channels)}."
        )
    if any(configuration.masked):
        raise ValueError(
            "it normalises what is not 0 in an image by itself (use_mask_for_norm), "
            "which is not done here."
        )
    if len(set(schemes)) == 1 and schemes[0] != "CTNormalization":
        return _steps_of(schemes[0], (), {})
    found: list[Step] = []
    for channel, scheme in enumerate(schemes):
        values = plans.intensities.get(str(channel), {})
        found += _steps_of(scheme, (channel,), values)
    return tuple(found)


def _steps_of(
    scheme: str, channels: tuple[int, ...], values: Mapping[str, Any]
) -> tuple[Step, ...]:
    match scheme:
        case "ZScoreNormalization":
            return (ZScore(channels=channels),)
        case "RescaleTo01Normalization":
            return (MinMax(channels=channels),)
        case "RGBTo01Normalization":
            return (Fixed(sd=255.0, channels=channels),)
        case "NoNormalization":
            return ()
        case "CTNormalization":
            low, high = values.get("percentile_00_5"), values.get("percentile_99_5")
            mean, sd = values.get("mean"), values.get("std")
            return (
                Clip(low=low, high=high, channels=channels),
                Fixed(mean=mean, sd=sd, channels=channels),
            )
    raise ValueError(
        f"its grey values are brought to their range by {shown(scheme)}, which is not "
        "known here."
    )


def _spacing(
    plans: Plans, configuration: Configuration, order: Sequence[int]
) -> tuple[tuple[float, ...] | None, str]:
    """Return the pixel size in micrometres along an image's axes, and what it is of."""
    sizes = _turned(configuration.spacing, order)
    if not plans.reader.startswith(_MEDICAL) or set(sizes) == {1.0}:
        return None, (
            f"Its pixel size of {times(sizes)} has no unit that is known: give it "
            "images of the size that it learnt from."
        )
    return tuple(1000 * size for size in sizes), (
        f"Its pixel size of {times(sizes)} is taken for millimetres, as "
        f"{shown(plans.reader)} reads them; images of another are resampled linearly, "
        "not by splines of order 3."
    )


def _training(table: Architecture) -> Training:
    """Return the settings by which a training would go on."""
    widths = [level.down[-1] for level in table.levels]
    three = table.ndim == 3
    return Training.quick(3 if three else 2).replace(
        network="resenc" if table.block == "resenc" else "nnunet",
        width=min(widths[0], 256),
        depth=min(len(widths) - 1, 7),
        norm=table.norm,
        padded=True,
    )


def _origin(checkpoint: Mapping[str, Any]) -> str:
    trainer, epochs = checkpoint["trainer_name"], checkpoint["current_epoch"]
    spent = f" for {counted(epochs, 'epoch')}" if isinstance(epochs, int) else ""
    return (
        f"Of nnU-Net v2, configuration {shown(_configuration(checkpoint))}, trained by "
        f"{shown(trainer)}{spent}."
    )


def _notes(table: Architecture, members: int) -> tuple[str, ...]:
    """Say how the network runs here, and what nnU-Net does otherwise."""
    half = times([n // 2 for n in table.window or ()])
    of_folds = ", like those of the folds" if members > 1 else ""
    return (
        f"It runs padded in windows of {times(table.window or ())} pixels, one each "
        f"{half}, and their scores are averaged by nnU-Net's weights{of_folds}; that "
        "spreads its windows evenly and lets none begin outside the image, which is "
        "mirrored here: near the edges results differ.",
        "nnU-Net also averages mirrored views by default; here that is an option.",
    )
