"""Jobs that a napari-unet on another computer asks for over ssh.

A job is a process of its own with a folder: it goes on when the connection ends, and
who connects again reads on. It is the usual command line, which trains on the bundle
or predicts its images, writes its events into the folder and looks there for orders.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil
from platformdirs import user_data_path

from napari_unet import __version__
from napari_unet.core.event_codec import encode, from_line, to_line
from napari_unet.core.events import Notice
from napari_unet.core.remote_messages import End, File, Hello
from napari_unet.io.atomic import STRAY_S, atomic, remove, remove_strays, write_text
from napari_unet.io.bundle import Bundle
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.model_file import checkpoint_of, load_checkpoint, save_model
from napari_unet.io.names import image_name
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.records import private_folder, read_json
from napari_unet.io.remote_results import pack_results
from napari_unet.io.ssh import receive_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from napari_unet.core.remote_messages import Ask, Order
    from napari_unet.io.asked_prediction import AskedPrediction

# Seconds between two looks for events, and between two questions to a queue or for a
# sign of life.
_LOOK, _ASK_QUEUE = 0.1, 10.0
# Seconds without a sign of life after which a job on another computer has ended: of one
# that runs one comes every ten, and a network disk may show it a minute later.
_SILENT_S = 120.0
# Seconds that a process has to end after its last word.
_GOODBYE = 20.0
# Of what a job printed, if it says nothing else of its end.
_LINES = 3
# What Windows has in place of a session of its own.
_DETACHED = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(
    subprocess, "CREATE_NEW_PROCESS_GROUP", 0
)


def hello() -> Hello:
    """Present this computer; loads torch, as the device is part of it."""
    from napari_unet.engine.device import choose_device, describe

    return Hello(
        version=__version__,
        device=describe(choose_device()),
        free=shutil.disk_usage(private_folder(_root())).free,
        host=socket.gethostname(),
    )


def receive(ask: Ask, source: BinaryIO) -> ServedJob:
    """Take in the bundle of a new job, and begin it; or find one that is there.

    One that was ended before its time goes on from its checkpoint, and its events say
    so if it could not itself.

    Raises
    ------
    EOFError, OSError, ValueError
        The bundle did not come whole, or the job cannot be begun.
    """
    job = ServedJob(private_folder(_root()) / ask.job)
    if ask.size is None:
        if not job.bundle.is_file():
            raise NoJobError(f"{socket.gethostname()} has no such job any more.")
        if not job.alive() and not job.over():
            job.begin(ask, job.death())
        return job
    _remove_halves()
    private_folder(job.folder)
    job.forget_events()
    with atomic(job.bundle) as temporary:
        receive_file(source, temporary, ask.size)
        Bundle(temporary).check()
    job.begin(ask)
    return job


class NoJobError(ValueError):
    """A job is not there, or no longer."""


@dataclass
class ServedJob:
    """A job in its folder."""

    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def bundle(self) -> Path:
        """What it learns from."""
        return self.folder / "bundle.zip"

    @property
    def model(self) -> Path:
        """What comes out of a training."""
        return self.folder / "model.safetensors"

    @cached_property
    def asked(self) -> AskedPrediction | None:
        """What it is to predict; None for a training."""
        return Bundle(self.bundle).record.asked

    @property
    def results(self) -> Path:
        """What comes out of a prediction."""
        return self.folder / "results"

    @property
    def _events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def _log(self) -> Path:
        return self.folder / "log.txt"

    def begin(self, ask: Ask, death: str = "") -> None:
        """Start its process, or put it into the queue.

        Its events follow those that it had before, which the other side has counted,
        and a notice of its `death`, if there was one. A process that it may still have,
        unheard of on another computer, ends.
        """
        before = [line for line in self._new_lines(0)[0] if "event" in line]
        if death:
            again = f"{death} It is begun again on {socket.gethostname()}."
            before.append(encode(Notice(again)))
        if before:
            with atomic(self._events) as temporary:
                temporary.write_bytes(b"".join(map(to_line, before)))
        else:
            self.forget_events()
        self.order("resume")
        trains = self.asked is None
        name, output = ("train", self.model) if trains else ("predict", self.results)
        command = [sys.executable, "-m", "napari_unet", name, str(self.bundle)]
        command += ["--output", str(output), "--device", ask.device]
        command += ["--events", str(self._events)]
        command += ["--orders", str(self.folder / "orders")]
        if trains and checkpoint_of(self.model).exists():
            command += ["--resume"]
        for pulse in self.folder.glob("pulse-*"):
            pulse.unlink(missing_ok=True)
        note = self._queue(ask.queue, command) if ask.queue else self._start(command)
        write_text(self.folder / "process.json", json.dumps(note))

    def forget_events(self) -> None:
        """Have none that were before."""
        self._events.unlink(missing_ok=True)

    def order(self, order: Order) -> None:
        """Tell it what to do; to be cancelled, one is taken out of its queue."""
        write_text(self.folder / "orders", order)
        slurm = self._note().get("slurm")
        if order == "cancel" and slurm and not self._events.exists():
            subprocess.run(["scancel", str(slurm)], check=False)

    def over(self) -> bool:
        """Whether it came to its end, so that nothing is left to do."""
        if self.asked is None:
            return self.model.exists()
        lines, _ = self._new_lines(0)
        return bool(lines) and lines[-1].get("ended") == "done"

    def forget(self) -> None:
        """Remove all of it, as soon as it has ended."""
        until = monotonic() + _GOODBYE
        while (running := self.alive()) and monotonic() < until:
            sleep(_LOOK)
        if not running:
            shutil.rmtree(self.folder, ignore_errors=True)

    def alive(self) -> bool:
        """Whether its process runs, or waits in a queue."""
        note = self._note()
        if slurm := note.get("slurm"):
            return _is_queued(slurm)
        if self._process is not None:
            return self._process.poll() is None
        if self._is_elsewhere:
            return self._has_pulse(note)
        try:
            process = psutil.Process(int(note["pid"]))
            begun = abs(process.create_time() - float(note["began"])) < 1
            return begun and bool(process.status() != psutil.STATUS_ZOMBIE)
        except (KeyError, TypeError, ValueError, psutil.Error):
            return False

    def death(self) -> str:
        """Say that a job without a process has ended; empty if it said so itself."""
        lines, _ = self._new_lines(0)
        if not self._note() or (lines and "event" not in lines[-1]):
            return ""
        here, host = socket.gethostname(), self._host
        if self._is_elsewhere:
            return (
                f"The job on {host} has ended unexpectedly: {here} has seen no sign of "
                f"life of it for {_SILENT_S:.0f} s."
            )
        return f"The job on {host} ended unexpectedly."

    def follow(
        self, seen: int, gone: Callable[[], bool]
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield what there is to send: a record, and bytes that follow it.

        Events come after the first `seen`; it ends with the job, or when who listens
        has gone.
        """
        at, waited = 0, 0.0
        while not gone():
            lines, at = self._new_lines(at)
            shown = _last_checkpoint(lines)
            for number, line in enumerate(lines):
                if "event" not in line:
                    yield line, b""
                    return
                if seen:
                    seen -= 1
                    continue
                yield from self._files_of(line)
                yield line, b""
                if number == shown and (weights := self._weights()):
                    yield _with_file("preview", weights)
            if lines:
                continue
            sleep(_LOOK)
            waited += _LOOK
            far = self._is_elsewhere or self._note().get("slurm")
            if waited >= (_ASK_QUEUE if far else 1.0):
                waited = 0.0
                if not self.alive() and not self._new_lines(at)[0]:
                    yield self._lost().model_dump(), b""
                    return

    @property
    def _host(self) -> str:
        """The computer on which its process was started."""
        return str(self._note().get("host", socket.gethostname()))

    @property
    def _is_elsewhere(self) -> bool:
        """Whether its process is on another computer with the same home.

        So are the nodes of a cluster, to one of which a connection leads by chance.
        """
        return self._host != socket.gethostname()

    def _has_pulse(self, note: dict[str, Any]) -> bool:
        """Whether a process elsewhere has given a sign of life, by the disk's clock."""
        trial = self.folder / f".napari-unet-{uuid4().hex}.try"
        try:
            # opened, or a network disk tells an old time
            with (self.folder / str(note["pulse"])).open("rb") as file:
                last = os.fstat(file.fileno()).st_mtime
            trial.touch()
            return trial.stat().st_mtime - last < _SILENT_S
        except (FileNotFoundError, KeyError):
            return False  # it has ended
        except OSError:
            return True  # a disk that is away comes back
        finally:
            remove(trial)

    def _start(self, command: list[str]) -> dict[str, Any]:
        pulse = self.folder / f"pulse-{uuid4().hex}"
        pulse.touch()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--pulse", str(pulse)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # it outlives the connection
                start_new_session=True,
                creationflags=_DETACHED,
            )
        began = psutil.Process(self._process.pid).create_time()
        note = {"pid": self._process.pid, "began": began, "pulse": pulse.name}
        return {**note, "host": socket.gethostname()}

    def _queue(self, queue: str, command: list[str]) -> dict[str, Any]:
        """Hand a command to Slurm."""
        name, *options = shlex.split(queue) or [""]
        if name != "slurm":
            raise ValueError(
                f"the queue is slurm, with sbatch's options, found {name}."
            )
        asked = ["sbatch", "--parsable", "--job-name=napari-unet"]
        asked += [f"--output={self._log}", *options, "--wrap", shlex.join(command)]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise ValueError(
                f"{socket.gethostname()} has no Slurm: sbatch is not found there."
            ) from None
        number = done.stdout.strip().split(";")[0]
        if done.returncode or not number.isdigit():
            told = (done.stderr.strip().splitlines() or ["no reason is given"])[-1]
            raise ValueError(f"Slurm does not take the job: {told}.")
        return {"slurm": int(number)}

    def _note(self) -> dict[str, Any]:
        try:
            note = read_json(self.folder / "process.json")
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _new_lines(self, at: int) -> tuple[list[dict[str, Any]], int]:
        """Return the whole lines from a place on, and where they end."""
        try:
            with self._events.open("rb") as file:
                file.seek(at)
                text = file.read()
        except FileNotFoundError:
            return [], at
        whole = text[: text.rfind(b"\n") + 1]
        return [from_line(line) for line in whole.splitlines()], at + len(whole)

    def _weights(self) -> bytes:
        """Return the weights so far, as a model; nothing if there are none."""
        try:
            model = load_checkpoint(checkpoint_of(self.model)).model
        except (OSError, ValueError):
            return b""
        with temporary_folder() as folder:
            file = folder / self.model.name
            save_model(model, file)
            return file.read_bytes()

    def _files_of(self, line: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield what is sent before an event: the model, or results of an image."""
        if line["event"] == "ModelSaved":
            yield _with_file("model", self.model.read_bytes())
        if line["event"] != "FilePredicted" or self.asked is None:
            return
        file = Path(Path(line["path"]).name)
        names = [asked.name for asked in self.asked.files]
        folder = PredictionFolder(self.results, self.asked.kinds)
        if not folder.results(file):
            return
        with temporary_folder() as temporary:
            packed = temporary / "results.zip"
            pack_results(packed, folder, file)
            content = packed.read_bytes()
        yield _with_file("results", content, names.index(image_name(file)))

    def _lost(self) -> End:
        """Say how a job ended that did not say so itself."""
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        said = f" It said: {' / '.join(lines[-_LINES:])}" if lines else ""
        death = self.death() or f"The job on {self._host} ended unexpectedly."
        return End(ended="failed", error="FarJobEnded", sentence=death + said)


def _is_queued(number: object) -> bool:
    """Whether Slurm has a job in its queue; so it has unless it says otherwise."""
    asked = ["squeue", "--noheader", "--jobs", str(number)]
    try:
        found = subprocess.run(
            asked, capture_output=True, check=False, timeout=_ASK_QUEUE
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    if found.returncode:
        return b"Invalid job id" not in found.stderr
    return bool(found.stdout.strip())


def _remove_halves() -> None:
    """Remove what connections that were cut long ago have left of bundles."""
    for folder in _root().iterdir():
        with suppress(OSError):
            is_old = time() - folder.stat().st_mtime > STRAY_S
            remove_strays(folder)
            if is_old:
                folder.rmdir()  # if it is empty


def _root() -> Path:
    own = os.environ.get("NAPARI_UNET_JOBS")
    return Path(own) if own else user_data_path("napari-unet") / "jobs"


def _last_checkpoint(lines: list[dict[str, Any]]) -> int | None:
    """Return which line tells of the last checkpoint: only that is still there."""
    kind = "CheckpointWritten"
    told = [k for k, line in enumerate(lines) if line.get("event") == kind]
    return told[-1] if told else None


def _with_file(
    kind: Any, content: bytes, image: int = 0
) -> tuple[dict[str, Any], bytes]:
    return File(file=kind, size=len(content), image=image).model_dump(), content
