"""VGG weights trained on ImageNet: where they are found, and how they are downloaded.

Nothing is downloaded unless the user asks for it, and a file of torchvision is used
only if its hash is the published one. The kept file has the hash of its origin, and its
own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_unet.core.text import reason, shown
from napari_unet.io.atomic import atomic, make_folder, remove_strays
from napari_unet.io.user_data import data_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.network.vgg import Encoder

_BLOCK = 2**20
# of silence, in seconds
_PATIENCE = 30.0
_FORMAT = "napari-unet encoder"


@dataclass(frozen=True, slots=True)
class Published:
    """A file of weights as torchvision publishes it (BSD-3)."""

    title: str
    file: str
    # start of its hash
    sha256: str
    # of the file, in bytes; only its convolutions are kept
    size: int
    site: str = "https://download.pytorch.org/models/"

    @property
    def megabytes(self) -> int:
        """Size of the download."""
        return round(self.size / 1e6)


PUBLISHED: Mapping[Encoder, Published] = {
    "vgg11": Published("VGG11", "vgg11-8a719046.pth", "8a719046", 506_840_000),
    "vgg16": Published("VGG16", "vgg16-397923af.pth", "397923af", 527_800_000),
}


def encoder_folder() -> Path:
    """Return the folder where weights are kept; users may put files there."""
    return data_folder() / "encoders"


def kept_file(encoder: Encoder) -> Path:
    """Return the path of the convolutions of an encoder, once downloaded."""
    return encoder_folder() / f"{encoder}.safetensors"


def find_weights(encoder: Encoder) -> Path:
    """Return the file of an encoder's weights: ours, one put by hand, or torch's.

    Raises
    ------
    FileNotFoundError
        There is none; the sentence says how to get them. Nothing is downloaded.
    """
    source = PUBLISHED[encoder]
    places = (
        kept_file(encoder),
        encoder_folder() / source.file,
        _torch_folder() / source.file,
    )
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"the ImageNet weights of {source.title} are not on this computer: fetch them "
        f"with 'napari-unet encoder {encoder}' ({source.megabytes} MB), put "
        f"{source.file} into {encoder_folder()}, or begin with random weights "
        "(encoder none)."
    )


def fetch(encoder: Encoder) -> Generator[int, None, None]:
    """Download the published file into our folder: complete and checked, or nothing.

    Yields
    ------
    int
        Bytes so far.

    Raises
    ------
    ValueError
        It could not be downloaded, or is not the published file.
    OSError
        It could not be written.
    """
    from http.client import HTTPException  # slow to import

    source, folder = PUBLISHED[encoder], encoder_folder()
    make_folder(folder)
    remove_strays(folder)
    done = 0
    with atomic(folder / source.file) as part, part.open("wb") as file:
        blocks = _download(source)
        while True:
            try:
                block = next(blocks, b"")
            except (OSError, HTTPException) as error:
                raise _not_fetched(source, error) from error
            if not block:
                break
            file.write(block)
            done += len(block)
            yield done
        file.flush()
        check_published(encoder, part, source.site + source.file)


def check_published(encoder: Encoder, file: Path, name: str = "") -> str:
    """Return the hash of a file; a ValueError says if it is not the published one.

    The sentence calls it `name`, if given.
    """
    source = PUBLISHED[encoder]
    digest = sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    found = digest.hexdigest()
    if not found.startswith(source.sha256):
        raise ValueError(
            f"{name or file}: is not {source.file} as published, or not all of it: "
            f"its hash (SHA-256) begins with {found[: len(source.sha256)]}, that "
            f"with {source.sha256}."
        )
    return found


def keep_weights(
    encoder: Encoder, weights: Mapping[str, NDArray[np.float32]], origin: str
) -> Path:
    """Write the convolutions of an encoder into our folder; return the file.

    `origin` is the hash of the original file.
    """
    kept = kept_file(encoder)
    make_folder(kept.parent)
    about = {
        "format": _FORMAT,
        "encoder": encoder,
        "origin": origin,
        "sha256": _digest(weights),
    }
    with atomic(kept) as part:
        part.write_bytes(save(dict(weights), metadata=about))
    return kept


def read_kept(encoder: Encoder, file: Path) -> dict[str, NDArray[np.float32]]:
    """Read what `keep_weights` wrote; a ValueError says if it is anything else.

    It is checked by the hash that it was kept with.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            about = opened.metadata() or {}
            names = opened.keys()
            weights = {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({reason(error)}).") from error
    if about.get("encoder") != encoder:
        raise ValueError(f"{file}: does not hold the weights of {encoder}.")
    source, found = PUBLISHED[encoder], _digest(weights)
    kept, origin = about.get("sha256", ""), about.get("origin", "")
    if found != kept:
        why = f"begins with {found[:8]}, noted is {shown(kept[:8]) or 'none'}"
    elif not origin.startswith(source.sha256):
        why = f"is noted to be of another file, {shown(origin[:8])}"
    else:
        return weights
    raise ValueError(
        f"{file}: is not what was kept of {source.file}: its hash (SHA-256) {why}; "
        f"delete it, and fetch it again with 'napari-unet encoder {encoder}'."
    )


def _digest(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Return the hash of names, types, shapes and values of some weights."""
    digest = sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _not_fetched(source: Published, error: Exception) -> ValueError:
    from urllib.error import URLError  # slow to import

    # an OSError itself, but not of the disk
    why = error.reason if type(error) is URLError else error
    host = urlsplit(source.site).hostname
    return ValueError(
        f"the ImageNet weights of {source.title} ({source.megabytes} MB) could not be "
        f"fetched: no connection to {host} ({shown(why)}); put {source.file} into "
        f"{encoder_folder()}, or begin with random weights (encoder none)."
    )


def _torch_folder() -> Path:
    """Return where torch keeps downloads of other programs (`torch.hub`)."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _download(source: Published) -> Iterator[bytes]:
    from urllib.request import urlopen  # slow to import

    with urlopen(source.site + source.file, timeout=_PATIENCE) as answer:
        expected = int(answer.headers.get("Content-Length", 0))
        done = 0
        while block := answer.read(_BLOCK):
            done += len(block)
            yield block
    if done < expected:
        raise ConnectionError(f"it ended after {done} of {expected} bytes")
