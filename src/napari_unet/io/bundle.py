"""A bundle: everything that a training or a prediction needs, in one portable zip.

It has the complete planes or volumes to train on, with their annotation, the grey-value
scales of their frames, the settings, and the model to start from; for a prediction,
whole images and their model. `bundle.json` describes the content. Pixels are not
compressed and are mapped in place: nothing is unpacked by names in the zip, and no name
in it is used as a path.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from pydantic import Field

from napari_unet import __version__
from napari_unet.core.annotation.annotations import Annotation, ClassInfo, Index
from napari_unet.core.images.image import AXES, Image, ImageFile
from napari_unet.core.images.image import Field as ImageField
from napari_unet.core.images.kept_planes import KeptPlanes
from napari_unet.core.images.normalisation import GreyScale, frame_of, measure
from napari_unet.core.settings import Settings, validated
from napari_unet.core.text import printable
from napari_unet.core.training.run_log import PackedAnnotation
from napari_unet.core.training.training_settings import Training
from napari_unet.io.asked_prediction import AskedPrediction, SentImage
from napari_unet.io.atomic import atomic
from napari_unet.io.export import write_pixels
from napari_unet.io.model_file import SUFFIX as MODEL
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.names import file_stem, image_name, is_portable
from napari_unet.io.records import FileName, inside, parse
from napari_unet.io.zips import OwnZip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import Model

    Place = tuple[int, int]
    Pair = tuple[ImageField, Any]

_RECORD, _START = "bundle.json", "start.safetensors"
# Bytes of the record: a million cells with a class each take a quarter.
_LARGEST = 2**26

_Sizes = tuple[Index, ...]


class KeptScale(Settings):
    """Grey-value scale of a frame, which need not be in the bundle as a whole."""

    t: Index
    z: Index | None = None
    # as of `GreyScale`, as text since numbers may be infinite
    low: tuple[str, ...]
    high: tuple[str, ...]
    mean: tuple[str, ...]
    sd: tuple[str, ...]
    empty: tuple[tuple[str, str] | None, ...] = ()
    spread: tuple[str, ...] = ()


class KeptImage(Settings):
    """An image, or the target of one."""

    name: str
    axes: str = Field(description="In the order tczyx.")
    shape: _Sizes
    dtype: str
    spacing_um: tuple[float, ...] | None = None
    grey: bool = Field(default=False, description="Its file has it as three colours.")
    planes: tuple[tuple[Index, Index], ...] = Field(description="t and z of those kept")
    scales: tuple[KeptScale, ...] = ()


class KeptField(Settings):
    """A plane or volume to train on."""

    image: Index
    t: Index = 0
    z: Index | None = None
    class_of: dict[Index, Index] = Field(default_factory=dict)
    target: tuple[Index, Index, Index | None] | None = None


class BundleRecord(Settings):
    """The content of a bundle."""

    format: Literal["napari-unet bundle"] = "napari-unet bundle"
    # in the first, volumes had the labels of their planes
    version: Literal[1, 2] = 2
    program: str = f"napari-unet {__version__}"
    settings: Training | None = Field(None, description="None for a prediction.")
    classes: tuple[ClassInfo, ...] = ()
    images: tuple[KeptImage, ...]
    targets: tuple[KeptImage, ...] = ()
    # by the number of axes of a network: of settings that are open, of both
    fields: dict[Literal["2", "3"], tuple[KeptField, ...]] = Field(default_factory=dict)
    start: FileName | None = Field(None, description="Name of its file before.")
    notes: tuple[str, ...] = ()
    asked: AskedPrediction | None = Field(None, description="Of a prediction, how.")


def dimensions(settings: Training) -> tuple[Literal[2, 3], ...]:
    """Return for networks of how many axes a training may want fields."""
    both = settings.try_both or settings.is_unplanned
    return (2, 3) if both else (settings.ndim,)


def write_bundle(
    path: Path,
    pairs: Callable[[Literal[2, 3]], Iterable[Pair]],
    settings: Training,
    start: Model | None = None,
    notes: Iterable[str] = (),
) -> Iterator[None]:
    """Write a bundle, plane by plane; with None after each.

    `pairs` takes 2 or 3, and returns planes or volumes with their annotation, as of
    `Course`.

    Raises
    ------
    OSError, ValueError
        It cannot be written, or an image cannot be read; no file is left.
    """
    rule = "structure" if start is None else start.card.normalisation
    with atomic(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as file:
        writer = _Writer(file, rule)
        fields: dict[Any, tuple[KeptField, ...]] = {}
        for ndim in dimensions(settings):
            rows = []
            for field, known in pairs(ndim):
                if not _says_something(known):
                    continue
                rows.append(writer.field(field, known))
                yield
            fields[str(ndim)] = tuple(rows)
        if not any(fields.values()):
            raise ValueError("nothing is annotated: paint some cells and background.")
        if start is not None:
            writer.start(start)
        record = BundleRecord(
            settings=settings,
            classes=writer.classes,
            images=tuple(writer.images.rows),
            targets=tuple(writer.targets.rows),
            fields=fields,
            start=None if start is None else _file_name(start),
            notes=tuple(notes),
        )
        _write_text(file, record.model_dump_json(indent=1))


def write_images(
    path: Path,
    images: Iterable[Image],
    model: Model,
    asked: AskedPrediction | None = None,
) -> Iterator[None]:
    """Write a bundle for a prediction, plane by plane; errors as of `write_bundle`.

    `asked` describes the images and how they are predicted.
    """
    with atomic(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as file:
        writer = _Writer(file, None)
        for image in images:
            for field in image.fields(2):
                number = writer.images.add(field)
                yield
            writer.images.keep_scales(number, image)
        writer.start(model)
        rows, start = tuple(writer.images.rows), _file_name(model)
        record = BundleRecord(images=rows, start=start, asked=asked)
        _write_text(file, record.model_dump_json(indent=1))


def is_bundle(path: str | Path) -> bool:
    """Whether a file is a bundle, whatever its name."""
    path = Path(path)
    if not path.is_file():
        return False
    try:
        with ZipFile(path) as file:
            return _RECORD in file.namelist()
    except Exception:  # whatever a damaged file raises
        return False


def check_replaceable(path: Path) -> None:
    """Refuse, with a FileExistsError, to overwrite anything but a bundle."""
    if path.exists() and not is_bundle(path):
        raise FileExistsError(
            f"{path}: is there already and is no bundle, so it is not replaced; name "
            "another file."
        )


class Bundle:
    """A bundle that was written, open for reading.

    Raises
    ------
    ValueError
        It is not a bundle, damaged, or of a newer napari-unet; one sentence.
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = OwnZip(path)
        found = parse(self._zip.read(_RECORD, _LARGEST), f"{path}")
        what = f"{path}: is damaged, or of a newer napari-unet"
        self.record = validated(BundleRecord, found, what)
        kept = self.record
        self.images = [self._image(r, "image", k) for k, r in enumerate(kept.images)]
        self._targets = [
            self._image(r, "target", k) for k, r in enumerate(kept.targets)
        ]

    def check(self) -> None:
        """Read all of it once; a ValueError says that it was changed in transfer."""
        self._zip.check()

    def pairs(self, ndim: int) -> Iterator[Pair]:
        """Yield the annotated fields, as given to `write_bundle`."""
        settings, rows = (
            self.settings,
            self.record.fields.get("2" if ndim == 2 else "3"),
        )
        if rows is None:
            raise ValueError(f"{self.path}: was made for other networks than {ndim}-D.")
        for row in rows:
            field = self._field(self.images, row.image, row.t, row.z)
            known: Any = None
            if row.target is not None:
                known = self._field(self._targets, *row.target)
            elif settings.task == "segment":
                labels = self._labels(row, field)
                known = Annotation(labels, self.record.classes, row.class_of)
            yield field, known

    @property
    def settings(self) -> Training:
        """Settings of the training; a ValueError says that it is for a prediction."""
        if self.record.settings is None:
            raise ValueError(f"{self.path}: is for a prediction: napari-unet predict.")
        return self.record.settings

    def unpack(self, folder: Path) -> tuple[Path, list[Path]]:
        """Write model and whole images into a folder; return their files.

        A ValueError says that it is for a training.
        """
        model = self.start()
        if self.record.settings is not None or model is None:
            raise ValueError(f"{self.path}: is for a training: napari-unet train.")
        self._check_whole()
        path = inside(folder, self.record.start or _START)
        save_model(model, path)
        files: list[Path] = []
        for number, image in enumerate(self.images, start=1):
            # as the image was called, and no two alike
            stem = file_stem(image.name, "image", longest=100)
            taken = {image_name(file).casefold() for file in files}
            while stem.casefold() in taken:
                stem = f"{stem}-{number}"
            files.append(folder / f"{stem}.ome.tif")
            # an OME-TIFF does not tell that its grey may be taken for colours
            seen = image.with_channels(model.card.architecture.channels)
            write_pixels(files[-1], seen)
        return path, files

    def sent(self, folder: Path) -> dict[Path, SentImage]:
        """Make an empty file or folder in place of each image; return what they are."""
        asked = self.record.asked
        if asked is None or len(asked.files) != len(self.images):
            raise ValueError(f"{self.path}: is damaged, it does not fit its images.")
        self._check_whole()
        return {
            file.stand_in(folder): file.sent(image, asked)
            for file, image in zip(asked.files, self.images, strict=True)
        }

    def start(self) -> Model | None:
        """Return the model to start from, or to predict with, if there is one."""
        if self.record.start is None:
            return None
        # not compressed, so no larger than the bundle
        content = self._zip.read(_START, self.path.stat().st_size)
        with TemporaryDirectory() as folder:
            # a model is named by its file
            file = inside(Path(folder), self.record.start)
            file.write_bytes(content)
            return load_model(file)

    def _image(self, row: KeptImage, kind: str, number: int) -> Image:
        name = f"{self.path}: its {kind} {number + 1}"
        sizes = dict(zip(row.axes, row.shape, strict=False))
        if len(sizes) != len(row.shape) or "".join(sizes) != _ordered(row.axes):
            raise ValueError(f"{name} is damaged, {row.axes} are not its axes.")
        shape = tuple(sizes.get(axis, 1) for axis in "cyx")
        planes = {
            place: self._zip.array(f"{kind}-{number}-{k}.npy", shape, row.dtype)
            for k, place in enumerate(row.planes)
        }
        data = KeptPlanes(row.axes, row.shape, np.dtype(row.dtype), planes)
        scales = {(scale.t, scale.z): _scale(scale) for scale in row.scales}
        file = ImageFile(str(self.path.absolute()))
        return Image(
            data,
            row.axes,
            row.spacing_um,
            row.name,
            grey=row.grey,
            file=file,
            scales=scales,
        )

    def _field(
        self, images: list[Image], number: int, t: int, z: int | None
    ) -> ImageField:
        if number >= len(images):
            raise ValueError(f"{self.path}: is damaged, it has no image {number + 1}.")
        field = ImageField(images[number], t, z)
        kept = images[number].data
        self._check_there(field, kept.planes)  # type: ignore[attr-defined]
        return field

    def _check_there(self, field: ImageField, planes: Mapping[Place, Any]) -> None:
        """Refuse a field that lacks a plane, which would be read as zeros."""
        missing = next((place for place in _places(field) if place not in planes), None)
        if missing is not None:
            raise ValueError(
                f"{self.path}: is damaged, of {printable(field.image.name)} it has no "
                f"plane at t={missing[0]}, z={missing[1]}."
            )

    def _check_whole(self) -> None:
        """Refuse incomplete images."""
        for image in self.images:
            for field in image.fields(2):
                self._check_there(field, image.data.planes)  # type: ignore[attr-defined]

    def _labels(self, row: KeptField, field: ImageField) -> NDArray[np.integer]:
        if self.record.version > 1:
            return self._zip.labels(_labels_file(row), field.shape)
        planes = [
            self._zip.labels(_labels_file(row.replace(z=z)), field.shape[-2:])
            for _, z in _places(field)
        ]
        return planes[0] if field.z is not None else np.stack(planes)


class _Images:
    """Images whose planes are written, each once."""

    def __init__(self, file: ZipFile, kind: str, rule: Normalisation | None) -> None:
        self.rows: list[KeptImage] = []
        self._file, self._kind, self._rule = file, kind, rule
        self._numbers: dict[int, int] = {}
        # keeps them, and with them their numbers
        self._images: list[Image] = []

    def add(self, field: ImageField) -> int:
        """Write the planes of a field; return the number of its image."""
        image = field.image
        number = self._numbers.setdefault(id(image), len(self.rows))
        if number == len(self.rows):
            self._images.append(image)
            self.rows.append(_described(image))
        row = self.rows[number]
        planes, there = list(row.planes), set(row.planes)
        for t, z in _places(field):
            if (t, z) not in there:
                name = f"{self._kind}-{number}-{len(planes)}.npy"
                pixels = ImageField(image, t, z).read()
                _write_array(self._file, name, pixels, ZIP_STORED)
                planes.append((t, z))
        scales = list(row.scales)
        if self._rule is not None:
            t, at = frame_of(field, self._rule)
            if all((s.t, s.z) != (t, at) for s in scales):
                scales.append(
                    _kept(t, at, measure(image, t, self._rule, at, spread=True))
                )
        self.rows[number] = row.replace(planes=tuple(planes), scales=tuple(scales))
        return number

    def keep_scales(self, number: int, image: Image) -> None:
        """Write the grey-value scales that an image brought along."""
        scales = tuple(_kept(t, z, scale) for (t, z), scale in image.scales.items())
        self.rows[number] = self.rows[number].replace(scales=scales)


class _Writer:
    def __init__(self, file: ZipFile, rule: Normalisation | None) -> None:
        self.images = _Images(file, "image", rule)
        self.targets = _Images(file, "target", None)
        self.classes: tuple[ClassInfo, ...] = ()
        self._file = file

    def field(self, field: ImageField, known: Any) -> KeptField:
        """Write a field and its annotation."""
        row = KeptField(image=self.images.add(field), t=field.t, z=field.z)
        if isinstance(known, ImageField):
            target = self.targets.add(known), known.t, known.z
            return row.replace(target=target)
        if known is None:
            return row
        self.classes = known.classes
        if known.labels.shape != field.shape:
            raise ValueError(
                f"{printable(field.image.name)}: the annotation has the shape "
                f"{known.labels.shape}, the image {field.shape}."
            )
        # a volume has its own: there, other areas are connected than in its planes
        labels = PackedAnnotation.of(known).labels
        _write_array(self._file, _labels_file(row), labels, ZIP_DEFLATED)
        return row.replace(class_of={i: k for i, k in known.class_of.items() if k != 1})

    def start(self, model: Model) -> None:
        """Write the model to start from."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / _START
            save_model(model, path)
            self._file.write(path, _START)


def _file_name(model: Model) -> str:
    name = f"{model.card.name}{MODEL}"
    return name if is_portable(name) else _START


def _labels_file(row: KeptField) -> str:
    """Return the name of the labels of a plane or volume."""
    plane = "" if row.z is None else f"-{row.z}"
    return f"labels-{row.image}-{row.t}{plane}.npy"


def _says_something(known: Any) -> bool:
    if not isinstance(known, Annotation):
        return True
    return bool(known.labels.any()) or known.finished is not None


def _places(field: ImageField) -> Iterator[Place]:
    """Yield time point and slice of the planes of a field."""
    slices = range(field.image.size("z")) if field.z is None else [field.z]
    return ((field.t, z) for z in slices)


def _ordered(axes: str) -> str:
    return "".join(a for a in AXES if a in axes)


def _described(image: Image) -> KeptImage:
    axes = _ordered(image.axes)
    return KeptImage(
        name=image.name,
        axes=axes,
        shape=tuple(image.size(a) for a in axes),
        dtype=np.dtype(image.data.dtype).newbyteorder("<").str,
        spacing_um=image.known_um,
        grey=image.grey,
        planes=(),
    )


def _kept(t: int, z: int | None, scale: GreyScale) -> KeptScale:
    def text(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(text, value))
        return None if value is None else repr(float(value))

    return KeptScale(t=t, z=z, **{n: text(v) for n, v in asdict(scale).items()})


def _scale(kept: KeptScale) -> GreyScale:
    def number(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(number, value))
        return None if value is None else float(value)

    names = ("low", "high", "mean", "sd", "empty", "spread")
    return GreyScale(**{name: number(getattr(kept, name)) for name in names})


def _write_array(file: ZipFile, name: str, array: NDArray[Any], packed: int) -> None:
    array = np.ascontiguousarray(array)
    info = ZipInfo(name)
    info.compress_type, info.file_size = packed, array.nbytes
    with file.open(info, "w") as entry:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        np.lib.format.write_array(entry, little, allow_pickle=False)


def _write_text(file: ZipFile, text: str) -> None:
    file.writestr(ZipInfo(_RECORD), text, ZIP_DEFLATED)
