"""The files of a bioimage.io package: in a folder, in a zip, or beside their yaml.

Nothing that a package says is trusted: a name leads to a file of the package or
nowhere, and no size is believed that the memory would not bear.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, is_zipfile

from napari_unet.core.text import reason, shown
from napari_unet.engine.model_formats.single_files import content_of
from napari_unet.io.model_file import check_memory
from napari_unet.io.zips import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# In the order of the field's own library; there may be a word and a dot before them.
YAML_NAMES = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
YAML_SUFFIXES = (".yaml", ".yml")
# Bytes of a yaml, and values in it with those that it repeats by reference.
_LARGEST_YAML, _MOST_VALUES = 2**23, 100_000


def yaml_in(folder: Path) -> str:
    """Return the name of the yaml in a folder; empty if there is none."""
    name = _yaml_among(file.name for file in folder.iterdir())
    return name if (folder / name).is_file() else ""


class PackageFiles:
    """The files of a package, read by the names that its yaml has for them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = path.is_file() and is_zipfile(path)
        except DAMAGED as error:
            raise ValueError(f"{path}: is damaged ({error}).") from error
        self._folder = path if path.is_dir() else path.parent
        # the names in a zip, as it has them
        self._members: dict[str, str] = {}
        # of all of them, where a folder was packed and not what is in it
        self._inside = ""
        if path.is_file() and not self._zip:
            if path.suffix.lower() not in YAML_SUFFIXES:
                raise ValueError(f"{path}: is no zip, or is damaged.")
            self.yaml_name = path.name
            return
        if self._zip:
            with self._opened() as file:
                self._members = {_plain(name): name for name in file.namelist()}
            self.yaml_name = self._find_inside()
        else:
            self.yaml_name = yaml_in(path)
        if not self.yaml_name:
            raise ValueError(f"{path}: has no {' or '.join(YAML_NAMES)}.")

    @property
    def name(self) -> str:
        """What its model is called: as the folder or the zip."""
        by_yaml = self.path.is_file() and not self._zip
        return self.path.resolve().parent.name if by_yaml else self.path.stem

    def has(self, name: str) -> bool:
        """Whether the package has a file of this name."""
        if self._zip:
            return self._inside + _plain(name) in self._members
        return (self._folder / name).is_file()

    def read(self, name: str, sha256: str | None = None) -> bytes:
        """Return what is in a file.

        Raises
        ------
        ValueError
            The name leads elsewhere, there is no such file, or it has not the checksum.
        MemoryError
            It is larger than the memory.
        OSError
            It cannot be read.
        """
        self._check_name(name)
        if not self.has(name):
            raise ValueError(f"{self.path}: has no file {shown(name)}.")
        content = self._content(name)
        found = hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256.lower():
            raise ValueError(
                f"{self.path}: {shown(name)} is not what the package was made with: "
                f"its SHA-256 is {found}, the yaml says {shown(sha256)}."
            )
        return content

    def yaml(self) -> dict[str, Any]:
        """Read the yaml; a ValueError says what is wrong with it."""
        # here, as few commands need it
        import yaml

        what = f"{self.path}: its yaml"
        size = self._size(self.yaml_name)
        if size > _LARGEST_YAML:
            raise ValueError(f"{what} has {size} bytes, allowed are {_LARGEST_YAML}.")
        content = self._content(self.yaml_name)
        try:
            found = yaml.safe_load(content.decode("utf-8"))
            _count(found)
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"{what} is damaged ({reason(error)}).") from error
        except RecursionError as error:
            raise ValueError(f"{what} is nested too deep.") from error
        if not isinstance(found, dict):
            raise ValueError(f"{what} is no description of a model.")
        return found

    def _find_inside(self) -> str:
        """Return the name of the yaml in a zip, or in its only folder that has one.

        Some programs put their own folder beside it, such as __MACOSX.
        """
        folders: dict[str, list[str]] = {}
        for name in self._members:
            folder, _, rest = name.rpartition("/")
            folders.setdefault(folder, []).append(rest)
        if found := _yaml_among(folders.pop("", ())):
            return found
        yamls = {
            folder: yaml
            for folder, names in folders.items()
            if "/" not in folder and (yaml := _yaml_among(names))
        }
        if len(yamls) != 1:
            return ""
        ((folder, yaml),) = yamls.items()
        self._inside = f"{folder}/"
        return yaml

    def _check_name(self, name: str) -> None:
        if "://" in name:
            raise ValueError(
                f"{self.path}: {shown(name)} is not in the package, and nothing is "
                "fetched: get the whole package."
            )
        parts = PurePosixPath(name).parts
        leads_elsewhere = not parts or parts[0] == "/" or ".." in parts
        if not leads_elsewhere and not self._zip:
            inside = (self._folder / name).resolve()
            leads_elsewhere = not inside.is_relative_to(self._folder.resolve())
        if leads_elsewhere or any(c in "\\:" or c < " " for c in name):
            raise ValueError(f"{self.path}: {shown(name)} is no name in a package.")

    def _member(self, name: str) -> str:
        return self._members[self._inside + _plain(name)]

    def _size(self, name: str) -> int:
        if self._zip:
            with self._opened() as file:
                return file.getinfo(self._member(name)).file_size
        return (self._folder / name).stat().st_size

    def _content(self, name: str) -> bytes:
        if not self._zip:
            return content_of(self._folder / name)
        size = self._size(name)
        check_memory(self.path, size // 4)
        with self._opened() as file, file.open(self._member(name)) as member:
            # no more than it says, whatever is in it
            return member.read(size)

    @contextmanager
    def _opened(self) -> Iterator[ZipFile]:
        try:
            with ZipFile(self.path) as file:
                yield file
        except DAMAGED as error:
            raise ValueError(f"{self.path}: is damaged ({reason(error)}).") from error


def _yaml_among(names: Iterable[str]) -> str:
    there = sorted(names)
    found = (n for end in YAML_NAMES for n in there if f".{n}".endswith(f".{end}"))
    return next(found, "")


def _plain(name: str) -> str:
    """Return a name without ./ before it, and with / where Windows has its own."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _count(value: Any, left: int = _MOST_VALUES) -> int:
    """Return how many more values there may be; a ValueError says that it is too many.

    What is repeated by reference counts each time: it would each time be read.
    """
    if left < 0:
        raise ValueError(f"more than {_MOST_VALUES} values")
    if isinstance(value, dict):
        for key, one in value.items():
            left = _count(one, _count(key, left))
    elif isinstance(value, list | tuple | set):
        for one in value:
            left = _count(one, left)
    return left - 1
