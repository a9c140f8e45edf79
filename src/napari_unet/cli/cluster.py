"""Options of commands that may compute on a cluster, and the workers they name."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.core.cluster import HELP, missing_package, parse_cluster

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from napari_unet.core.model import Model
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.cluster.jobs import ModelSource
    from napari_unet.engine.cluster.pool import Pool


def cluster_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group(
        "cluster",
        "Workers of a Dask cluster compute, with the same result; they see the same "
        "disk. Needs napari-interactive-unet[cluster].",
    )
    group.add_argument("--cluster", metavar="WHERE", help=HELP)
    group.add_argument(
        "--cluster-options",
        type=Path,
        metavar="FILE",
        help="YAML file with keywords of Dask's class that begins the workers",
    )


@contextmanager
def pool_of(
    options: argparse.Namespace,
    model: Model,
    source: ModelSource,
    settings: Prediction,
    say: Callable[[str], None],
) -> Iterator[Pool | None]:
    """Give the workers that the options name; None if they name none."""
    if options.cluster is None:
        if options.cluster_options is not None:
            raise ValueError("--cluster-options are for the workers of --cluster.")
        yield None
        return
    where = parse_cluster(options.cluster)
    given = _read(options.cluster_options)
    try:
        from napari_unet.engine.cluster.clients import connected, note_of
        from napari_unet.engine.cluster.pool import Pool
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    with connected(where, given) as client:
        if not client.nthreads():
            say(f"{options.cluster}: waits for a worker")
        pool = Pool(client, model, source, settings)
        say(f"{options.cluster}: {pool.device}")
        for note in filter(None, (note_of(where), *pool.notes)):
            say(note)
        yield pool


def _read(file: Path | None) -> dict[str, Any]:
    """Read keywords from a YAML file."""
    if file is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: cannot be read as YAML: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{file}: holds keywords and their values, found {type(found).__name__}."
        )
    return found
