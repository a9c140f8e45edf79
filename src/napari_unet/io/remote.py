"""OME-Zarr on S3 and other object stores, and by HTTP.

An image there is named by its URL. Credentials and the address of a store come from the
environment, as for the stores' own programs (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
…). Results are first written here, where there are locks and atomic renames, and copied
when they are complete.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.core.text import lacking, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "http", "https")
_URL = re.compile(rf"({'|'.join(SCHEMES)}):/+(.+)", re.DOTALL)
# Chunks whose state is requested, and files that are uploaded at a time.
_SAMPLED, _AT_ONCE = 32, 8
_DESCRIBED = "zarr.json"


def is_remote(path: str | Path) -> bool:
    """Whether a path is a URL, also one that became a `Path`."""
    return _URL.fullmatch(Path(path).as_posix()) is not None


def url_of(path: str | Path) -> str:
    """Return the URL from which a path was made: a `Path` has fewer slashes."""
    found = _URL.fullmatch(Path(path).as_posix())
    if found is None:
        raise ValueError(
            f"a URL begins with one of {', '.join(SCHEMES)} and ://, found {path}."
        )
    return f"{found[1]}://{found[2]}"


def absolute(path: Path) -> Path:
    """Return a path that means the same in any folder; a URL is one."""
    return path if is_remote(path) else path.absolute()


def is_in_folder(path: Path) -> bool:
    """Whether an image is an OME-Zarr, of many files: local or remote."""
    return is_remote(path) or path.is_dir()


def zarr_store(path: str | Path) -> Any:
    """Return what zarr reads an image from.

    Raises
    ------
    ModuleNotFoundError
        The package that reaches object stores is not installed.
    """
    from zarr.storage import ObjectStore

    class Explained(ObjectStore):  # type: ignore[misc]
        """A store whose errors are OSErrors."""

        async def get(self, *given: Any, **named: Any) -> Any:
            with _explained(path):
                return await super().get(*given, **named)

    return Explained(_store(path), read_only=True)


def stamp(path: str | Path) -> str:
    """Return a short text that changes with an image, as far as a quick look shows.

    It depends on the metadata of the image and on the state of some of its chunks:
    there may be millions, and each is a request.
    """
    with _explained(path):
        return _stamp(path)


def _stamp(path: str | Path) -> str:
    import zarr

    store = _store(path)
    digest = sha256(url_of(path).encode())
    node = zarr.open(store=zarr_store(path), mode="r")
    arrays = [node] if isinstance(node, zarr.Array) else _arrays(node)
    for array in arrays:
        digest.update(repr(array.metadata.to_dict()).encode())
        sides = array.shards or array.chunks
        counts = [-(-n // side) for n, side in zip(array.shape, sides, strict=True)]
        for share in range(_SAMPLED):
            # the diagonal from the first chunk to the last
            at = tuple(round((n - 1) * share / (_SAMPLED - 1)) for n in counts)
            key = f"{array.path}/{array.metadata.encode_chunk_key(at)}".lstrip("/")
            digest.update(repr(_state(store, key)).encode())
    return f"description and some chunks:{digest.hexdigest()}"


def sizes(path: str | Path) -> dict[str, int]:
    """Return the sizes of the files of a folder, here or in a store, by name.

    That of a file is called ""; empty if nothing is there.
    """
    if is_remote(path):
        with _explained(path):
            return _sizes(url_of(path))
    path = Path(path)
    if path.is_file():
        return {"": path.stat().st_size}
    files = (file for file in path.rglob("*") if file.is_file())
    return {f.relative_to(path).as_posix(): f.stat().st_size for f in files}


def _sizes(url: str) -> dict[str, int]:
    import obstore

    folder, name = url.rsplit("/", 1)
    state = _state(_store(folder), name)
    found = {} if state is None else {"": state[0]}
    for batch in obstore.list(_store(url)):
        found |= {one["path"]: one["size"] for one in batch}
    return found


def download(source: str, target: Path, names: Iterable[str]) -> None:
    """Copy files of a folder of a store, or a file, by their names as in `sizes`."""
    import obstore

    with _explained(source):
        for name in names:
            folder, last = f"{source}/{name}".rstrip("/").rsplit("/", 1)
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                for part in obstore.get(_store(folder), last):
                    opened.write(part)


def upload(source: Path, target: str) -> Iterator[float]:
    """Copy a file or an OME-Zarr; yields the share that is done.

    What has the name is removed first, and the metadata of an OME-Zarr are written
    last: until then it is not an image. An OSError says that the store refuses.
    """
    with _explained(target):
        yield from _upload(source, target)


def _upload(source: Path, target: str) -> Iterator[float]:
    import obstore

    if source.is_file():
        folder, name = target.rsplit("/", 1)
        obstore.put(_store(folder), name, source)
        yield 1.0
        return
    store = _store(target)
    for batch in obstore.list(store):
        obstore.delete(store, [found["path"] for found in batch])
    files = [p for p in source.rglob("*") if p.is_file()]
    files.sort(key=lambda p: p == source / _DESCRIBED)

    def put(file: Path) -> None:
        obstore.put(store, file.relative_to(source).as_posix(), file)

    with ThreadPoolExecutor(_AT_ONCE, "upload") as threads:
        for done, _ in enumerate(threads.map(put, files[:-1]), start=1):
            yield done / len(files)
    put(files[-1])
    yield 1.0


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    """Turn errors of stores into an OSError of one sentence."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("obstore"):
            raise
        raise OSError(f"{url_of(path)}: cannot be reached, {reason(error)}.") from error


def _arrays(group: Any) -> list[Any]:
    """Return the arrays that a group's metadata describe, without a listing."""
    attributes = dict(group.attrs)
    scales = attributes.get("ome", attributes).get("multiscales") or []
    names = [level["path"] for scale in scales for level in scale.get("datasets", ())]
    return [group[name] for name in names if name in group]


def _state(store: Any, key: str) -> tuple[Any, ...] | None:
    """Return the state of an object in a store; None if it does not exist."""
    import obstore

    try:
        found = obstore.head(store, key)
    except FileNotFoundError:
        return None
    return found["size"], found.get("e_tag"), str(found["last_modified"])


def _store(path: str | Path) -> Any:
    try:
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        what = f"{url_of(path)}: to reach it needs"
        raise lacking(what, "obstore", "remote") from error
    url = url_of(path)
    if url.startswith("http:"):
        return from_url(url, client_options={"allow_http": True})
    return from_url(url)
