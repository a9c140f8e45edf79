"""The formats of models of other programs, by the names people give.

A format is a module beside this one with ``recognises``, and ``read``, ``write`` or
both; a module of its own is imported when a file may be of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.text import lacking
from napari_unet.io.atomic import check_separate
from napari_unet.io.model_file import (
    SUFFIX,
    check_finite,
    load_model,
    may_be_model,
    read_card,
)

if TYPE_CHECKING:
    from napari_unet.core.model import Model, ModelCard
    from napari_unet.core.publication import Publication


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """A format of models. Nothing of it is loaded before a file may be of it."""

    title: str  # shown to people
    # what it is for and what it leaves out, in a sentence
    tip: str
    # ends of names, "" if a folder may have any
    suffixes: tuple[str, ...]
    module: str  # in this package
    package: str | None = None  # that it needs, as Python imports it ...
    extra: str = ""  # ... and the extra of ours that brings it
    is_read: bool = True
    # ends of the names of all files that are written; none if it is not written
    written: tuple[str, ...] = ()
    is_published: bool = False  # it names authors and licence

    @property
    def is_written(self) -> bool:
        """Whether there is a `write`."""
        return bool(self.written)

    def check_installed(self) -> None:
        """ModuleNotFoundError, in a sentence, if the package is missing."""
        if self.package is not None and find_spec(self.package) is None:
            raise lacking(f"{self.title} needs", self.package, self.extra)

    def may_be(self, path: Path) -> bool:
        """Whether the name fits; then `recognises` looks inside."""
        return path.name.lower().endswith(tuple(s.lower() for s in self.suffixes))

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder that exists is of this format, by what is in it.

        Of a damaged one this is said when it is read. A ModuleNotFoundError says that a
        package is missing.
        """
        self.check_installed()
        found: bool = self._module.recognises(path)
        return found

    def read(self, path: Path) -> Model:
        """Read a model; its card's notes say what was assumed or left out.

        Raises
        ------
        ModuleNotFoundError
            A package is missing.
        ValueError
            It is damaged, or holds a network that cannot be had here, or weights that
            are not finite.
        OSError
            It cannot be read.
        """
        self.check_installed()
        model: Model = self._module.read(path)
        check_finite(model.weights, path)
        return model

    def check_target(self, path: Path, model: Path) -> None:
        """Refuse to write to a file of another end, or over what is not ours.

        Raises
        ------
        ValueError
            The end is another, or it is the model that is read; says which.
        FileExistsError
            There is a file that this program did not write.
        """
        ends = [end for end in self.written if path.name.lower().endswith(end)]
        if not ends:
            raise ValueError(
                f"{path}: the name of a model of {self.title} ends in "
                f"{' or '.join(self.written)}."
            )
        stem = path.name[: -len(ends[0])]
        targets = [path.with_name(stem + end) for end in self.written]
        for target in targets:
            check_separate(target, [model])
        there = [target for target in targets if target.exists()]
        if there and not any(map(_is_ours, there)):
            raise FileExistsError(
                f"{there[0]}: is there already and is no model that napari-unet wrote, "
                "so it is not replaced; name another file."
            )

    def write(
        self, model: Model, path: Path, publication: Publication | None = None
    ) -> tuple[str, ...]:
        """Write a model; files that exist are replaced.

        Only a format that `is_published` takes, and needs, a publication.

        Returns
        -------
        tuple of str
            What the format cannot say, or the other program does otherwise, in
            sentences.

        Raises
        ------
        ModuleNotFoundError
            A package is missing.
        ValueError
            The format cannot hold it.
        OSError
            It cannot be written. Whichever is raised, nothing half-written stays.
        """
        self.check_installed()
        notes: tuple[str, ...]
        if not self.is_published:
            notes = self._module.write(model, path)
        elif publication is None:
            raise ValueError(f"{self.title}: needs its authors and its licence.")
        else:
            notes = self._module.write(model, path, publication)
        return (*notes, *_unsaid(model.card))

    @property
    def _module(self) -> Any:
        return import_module(f"{__package__}.{self.module}")


MODEL_FORMATS: dict[str, ModelFormat] = {
    "fiji": ModelFormat(
        "Fiji U-Net plugin",
        "A pair of files for the U-Net plugin of Fiji, which predicts with it.",
        (".modeldef.h5", ".caffemodel.h5", ".h5"),
        "fiji.pair",
        written=(".modeldef.h5", ".caffemodel.h5"),
    ),
    "torchscript": ModelFormat(
        "TorchScript",
        "One file that torch runs, in Python, C++ or Java, without this program.",
        (".pt", ".pth", ".torchscript"),
        "torchscript",
        written=(".pt",),
    ),
    "onnx": ModelFormat(
        "ONNX",
        "One file that onnxruntime and others run, without torch.",
        (".onnx",),
        "onnx",
        package="onnxruntime",
        extra="models",
        written=(".onnx",),
    ),
    "bioimageio": ModelFormat(
        "bioimage.io",
        "A zip for ilastik, deepImageJ, QuPath and other programs of the Zoo.",
        (".zip", ".yaml", ".yml", ""),
        "bioimageio.package",
        written=(".zip",),
        is_published=True,
    ),
    "milesial": ModelFormat(
        "milesial/Pytorch-UNet",
        "Checkpoints of Pytorch-UNet, versions 1 to 4.",
        (".pth", ".pt"),
        "milesial",
    ),
    "nnunet": ModelFormat(
        "nnU-Net v2",
        "Folders of trained models, with all of their folds; cascades and regions that "
        "overlap are left out.",
        ("", ".pth"),
        "nnunet",
    ),
}


def _is_ours(path: Path) -> bool:
    """Whether a file names this program, as one of all that it writes for others."""
    return path.is_file() and bool(re.search(rb"napari[-_]unet", path.read_bytes()))


def _unsaid(card: ModelCard) -> tuple[str, ...]:
    """Say what no other program is told."""
    said = []
    if (scale := card.training.scale) != 1:
        said.append(
            f"The network has learnt images at {scale:g} times their size, which other "
            "programs do not know: give them images of that size."
        )
    if not card.segmentation.keeps_all_pieces:
        said.append("Other programs keep all pieces of regions.")
    return tuple(said)


def format_of(path: str | Path) -> ModelFormat | None:
    """Return the format of a file or folder by what is in it; None if it is of none.

    A ModuleNotFoundError says that a package is missing to tell.
    """
    path = Path(path)
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        return None
    read = [one for one in MODEL_FORMATS.values() if one.is_read]
    return next(
        (one for one in read if one.may_be(path) and one.recognises(path)), None
    )


def read_model(path: str | Path) -> Model:
    """Read a model file of ours or of another program.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be read.
    ModuleNotFoundError
        A package is missing.
    ValueError
        It is damaged, no model, or of a network that cannot be had here.
    MemoryError
        It takes more memory than there is.
    """
    path = Path(path)
    foreign = format_of(path)
    if foreign is not None:
        return foreign.read(path)
    _check_known(path)
    return load_model(path)


def card_of(path: str | Path) -> ModelCard:
    """Return the card of a model, without its weights where that is possible.

    Raises what `read_model` does.
    """
    path = Path(path)
    foreign = format_of(path)
    if foreign is not None:
        return foreign.read(path).card
    _check_known(path)
    return read_card(path)


def stamp_of(model: Model) -> str:
    """Return a hash of all that a model is, whichever files it was read from."""
    digest = sha256(model.card.model_dump_json().encode())
    for name in sorted(model.weights):
        weight = np.ascontiguousarray(model.weights[name])
        digest.update(f"{name} {weight.dtype.str} {weight.shape}".encode())
        digest.update(weight.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_known(path: Path) -> None:
    """Refuse, with a ValueError, what is of no format at all."""
    if path.exists() and not path.name.endswith(SUFFIX) and not may_be_model(path):
        known = [f"napari-unet ({SUFFIX})"]
        known += [
            f"{one.title} ({', '.join(end or 'a folder' for end in one.suffixes)})"
            for one in MODEL_FORMATS.values()
            if one.is_read
        ]
        raise ValueError(
            f"{path} is no model that is read here; those are of {', '.join(known)}."
        )
