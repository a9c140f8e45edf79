"""A connection to the workers that a word names, which are begun where need be."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dask
from distributed import Client, Security
from distributed.comm import connect
from distributed.system import MEMORY_LIMIT

from napari_unet.core.cluster import QUEUES
from napari_unet.core.text import lacking, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_unet.core.cluster import Cluster

_CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
}
# Of jobs, if no number is given.
_FEWEST, _MOST = 1, 8
# Processors of a local worker, if no number is given.
_EACH = 4
# A worker ends so long before its job does, so that its steps go elsewhere, in seconds.
_BEFORE_END_S, _STAGGER_S = 300, 120
# Threads of a process have one memory: see `engine.allocator`.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
# What Dask watches of itself many times a second, for pages that hardly anybody opens:
# of two local workers it took a seventh of a core, and now a third of that.
_WATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
}
# Above all levels of messages.
_SILENT = logging.CRITICAL + 1
# Any free port, which others of this machine may not take before.
_DASHBOARD = "127.0.0.1:0"
_HERE = {"localhost", "127.0.0.1", "::1", "inproc"}
# A scheduler that runs has answered after so long, in seconds.
_ANSWER_S = 30.0
# Of an address that is wrong, certificates that do not fit, another program there.
_UNREACHABLE = OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError


@contextmanager
def connected(
    cluster: Cluster, options: Mapping[str, Any] | None = None
) -> Iterator[Client]:
    """Begin workers, or reach those there are; what was begun ends with the block.

    `options` are keywords of the class of Dask that begins the workers.

    Raises
    ------
    ValueError
        The options do not go with the kind, or the class does not take them.
    ModuleNotFoundError
        A package that begins such workers is not installed.
    OSError
        No scheduler is there.
    """
    given = dict(options or {})
    if given and cluster.kind in {"scheduler", "file", "python"}:
        raise ValueError(
            f"--cluster-options are for workers that are begun here, and "
            f"{cluster.place} has its own."
        )
    environment = {
        **dask.config.get("distributed.nanny.pre-spawn-environ", {}),
        **_ENVIRONMENT,
    }
    settings = {"distributed.nanny.pre-spawn-environ": environment, **_WATCHED}
    _quieten()
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        try:
            client = _client(cluster, given, stack)
        except TypeError as error:
            if "unexpected keyword" in str(error):
                raise ValueError(f"--cluster-options: {error}.") from error
            raise
        yield client


def _quieten() -> None:
    """Keep from the terminal what Dask says of an end that we tell in a sentence.

    For good: its threads may say it after they were told to end. ``python -X dev``
    shows it.
    """
    if not sys.flags.dev_mode:
        logging.getLogger("asyncio").setLevel(_SILENT)
        # this handler writes for all of its loggers, and for those of tornado
        for handler in logging.getLogger("distributed").handlers:
            handler.setLevel(_SILENT)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Begin processes that Ctrl-C does not reach: we end them.

    The terminal sends it to all processes, and each would print where it was. Threads
    that are begun meanwhile, as the one that begins the processes, keep it from them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it allows the signal to what begins it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def note_of(cluster: Cluster) -> str:
    """Say what is to be known of a way to reach workers; empty if nothing is."""
    where = urlsplit(cluster.place)
    if where.scheme == "tcp" and where.hostname not in _HERE:
        return (
            f"{cluster.place} is not encrypted, and whoever reaches it can run any "
            "program there; use tls:// outside of a trusted network."
        )
    return ""


def _client(cluster: Cluster, given: dict[str, Any], stack: ExitStack) -> Client:
    if cluster.kind == "scheduler":
        return _reached(cluster.place, stack)
    if cluster.kind == "file":
        return _reached(_address_in(Path(cluster.place)), stack)
    made = _made(cluster, given)
    if isinstance(made, Client):
        return stack.enter_context(made)
    if not hasattr(made, "scheduler_address"):
        # of None dask would begin a cluster of its own
        raise ValueError(
            f"--cluster python:{cluster.place}: returns a Client or a cluster of "
            f"Dask, found {type(made).__name__}."
        )
    if hasattr(made, "__exit__"):
        stack.enter_context(made)
    return stack.enter_context(Client(made))


def _reached(address: str, stack: ExitStack) -> Client:
    """Connect to a scheduler that runs."""

    async def greet() -> None:
        # Dask waits for ever for one that takes the connection and says nothing
        own = Security().get_connection_args("client")
        async with asyncio.timeout(_ANSWER_S):
            comm = await connect(address, timeout=_ANSWER_S, **own)
        await comm.close()

    try:
        asyncio.run(greet())
        return stack.enter_context(Client(address))
    except _UNREACHABLE as error:
        why = reason(error)
        if isinstance(error, MemoryError):
            why = "another program answers"  # in its words Dask sees giant numbers
        elif isinstance(error, TimeoutError) or "Timed out" in why:
            why = f"it does not answer within {_ANSWER_S:.0f} s"
        raise OSError(
            f"{address}: no scheduler of Dask can be reached there: {why}."
        ) from error


def _address_in(file: Path) -> str:
    """Return the address that a scheduler wrote into its file."""
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file}: there is no such file of a scheduler; begin it with "
            "dask scheduler --scheduler-file."
        ) from None
    except (ValueError, KeyError, TypeError, IsADirectoryError):
        raise ValueError(
            f"{file}: is no file that a scheduler of Dask wrote, it names no address."
        ) from None


def _made(cluster: Cluster, given: dict[str, Any]) -> Any:
    """Return the cluster, whose workers begin."""
    if cluster.kind in {"local", "cuda"}:
        with _undisturbed():
            return {"local": _local, "cuda": _on_gpus}[cluster.kind](cluster, given)
    if cluster.kind in QUEUES:
        return _in_queue(cluster, given)
    if cluster.kind == "srun":
        # a scheduler on the first process and workers on the others do not return
        return _class("dask_jobqueue.slurm", "SLURMRunner")(**given)
    module, function = cluster.place.split(":")
    try:
        return getattr(import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--cluster python:{cluster.place}: {error}.") from error


def _local(cluster: Cluster, given: dict[str, Any]) -> Any:
    from distributed import LocalCluster

    count = (cluster.workers or _usual())[0]
    memory = MEMORY_LIMIT // count
    usual = {
        "n_workers": count,
        "threads_per_worker": cluster.threads,
        "memory_limit": memory,
        "host": "127.0.0.1",
        "dashboard_address": _DASHBOARD,
        "silence_logs": _SILENT,
    }
    return LocalCluster(**{**usual, **given})


def _usual() -> tuple[int, int]:
    count = max((os.cpu_count() or 1) // _EACH, 1)
    return count, count


def _on_gpus(cluster: Cluster, given: dict[str, Any]) -> Any:
    """Begin a process for each GPU, by dask-cuda where it is installed."""
    import torch

    there = torch.cuda.device_count()
    count = cluster.workers[0] if cluster.workers else there
    if not 0 < count <= there:
        raise ValueError(f"cuda:{count} asks for {count} GPUs, and there are {there}.")
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        from distributed import Nanny, Scheduler, SpecCluster

        options = {
            "nthreads": 1,
            "memory_limit": MEMORY_LIMIT // count,
            "silence_logs": _SILENT,
            **given,
        }
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = (
            visible if len(visible) >= count and visible[0] else map(str, range(count))
        )
        workers = {
            number: {
                "cls": Nanny,
                "options": {**options, "env": {"CUDA_VISIBLE_DEVICES": name}},
            }
            for number, name in zip(range(count), names, strict=False)
        }
        scheduler = {
            "cls": Scheduler,
            "options": {"host": "127.0.0.1", "dashboard_address": _DASHBOARD},
        }
        return SpecCluster(workers=workers, scheduler=scheduler)
    return LocalCUDACluster(n_workers=count, **given)


def _in_queue(cluster: Cluster, given: dict[str, Any]) -> Any:
    """Have a queueing system begin workers, as many at a time as there is need for."""
    kind = cluster.kind
    jobs = _class("dask_jobqueue", _CLASSES[kind])
    submit = jobs.job_cls.submit_command.split()[0]
    if which(submit) is None:
        # Dask would log it and wait for workers for ever
        raise FileNotFoundError(
            f"--cluster {kind}: the command {submit} is not here; run this where jobs "
            "are submitted."
        )
    options = queue_options(kind, given)
    for name in ("cores", "memory"):
        if options.get(name, dask.config.get(f"jobqueue.{kind}.{name}", None)) is None:
            raise ValueError(
                f"--cluster {kind}: the {name} of a job are named neither in "
                "--cluster-options FILE nor in jobqueue.yaml."
            )
    made = jobs(**options)
    fewest, most = cluster.workers or (_FEWEST, _MOST)
    # adaptive also for a fixed number: else jobs that end do not come back
    made.adapt(minimum=fewest, maximum=most)
    return made


def queue_options(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a job, with what is easily forgotten."""
    options = dict(given)
    lines = [f"export {name}={value}" for name, value in _ENVIRONMENT.items()]
    options["job_script_prologue"] = [*options.get("job_script_prologue", ()), *lines]
    walltime = options.get(
        "walltime", dask.config.get(f"jobqueue.{kind}.walltime", None)
    )
    seconds = _seconds(str(walltime), kind) if walltime else 0
    arguments = list(options.get("worker_extra_args", ()))
    if seconds > 2 * _BEFORE_END_S and "--lifetime" not in arguments:
        arguments += ["--lifetime", f"{seconds - _BEFORE_END_S}s"]
        arguments += ["--lifetime-stagger", f"{_STAGGER_S}s"]
    options["worker_extra_args"] = arguments
    if "security" not in options and find_spec("cryptography") is not None:
        options |= {"security": True, "protocol": "tls://"}
    return options


def _seconds(walltime: str, kind: str) -> int:
    """Return the seconds of a time as a queue writes it, HH:MM:SS everywhere.

    Slurm has D-HH[:MM[:SS]], MM:SS and minutes, LSF HH:MM and minutes, others seconds.
    """
    days, _, rest = walltime.rpartition("-")
    parts = [int(part) for part in rest.split(":") if part.isdecimal()]
    if days:
        parts += [0] * (3 - len(parts))
    elif len(parts) < {"lsf": 3, "slurm": 2}.get(kind, 0):
        parts.append(0)
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + part
    return seconds + 86400 * (int(days) if days.isdecimal() else 0)


def _class(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise lacking("queues need", "dask-jobqueue", "cluster") from error
