"""A trial: one attempt to break something, in a folder and a process of its own."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.reliability.material import Material

MEMORY_MB, CPU_S, WALL_S = 3000, 120, 240
"""What a process of a trial may take; the time is far more than it needs."""

DISK_BYTES = 64 * 2**20
_LIBC = ctypes.CDLL(None, use_errno=True)
MOUNTS, PROCESSES = 0x00020000, 0x20000000

# How the command line tells an error that nobody thought of.
_UNFORESEEN = "this should not happen"
# A step looks two or three times: between two checkpoints are 150 looks, 60 steps.
_LOOK_S = 0.08
_SUFFIXES = (".safetensors", ".checkpoint.safetensors")
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Trial:
    """What a trial works with, and what it found wrong.

    Parameters
    ----------
    kind : str
        Such as "kill.train".
    seed : int
        All that is random in it follows from it.
    place : Path
        A folder that is empty, removed when all went well.
    material : Material

    Attributes
    ----------
    work, home : Path
        Where the program may write.
    canary : Path
        Files of somebody, which must stay as they are. Processes begin in it.
    faults : list of (str, str)
        A kind, such as "traceback", and a sentence.
    figures : dict of str to float
    kills : int
        Processes that were killed in the middle of their work.
    """

    def __init__(self, kind: str, seed: int, place: Path, material: Material) -> None:
        self.kind, self.seed, self.place, self.material = kind, seed, place, material
        self.rng = random.Random(f"{kind} {seed}")
        self.faults: list[tuple[str, str]] = []
        self.figures: dict[str, float] = {}
        self.kills = 0
        self.work, self.home = place / "work", place / "home"
        self.canary = place / "canary"
        for folder in (self.work, self.home, self.canary, place / "tmp"):
            folder.mkdir(parents=True)
        for name in ("notes.txt", "notes.raw", *(f"thesis{s}" for s in _SUFFIXES)):
            (self.canary / name).write_text(f"{name} of somebody")
        self._before = tree(self.canary)

    def fault(self, kind: str, text: str) -> None:
        """Note that something was not handled."""
        self.faults.append((kind, " ".join(text.split())[:400]))

    def expect(self, good: object, kind: str, text: str) -> None:
        """Note a fault unless something holds."""
        if not good:
            self.fault(kind, text)

    def figure(self, name: str, value: float) -> None:
        """Note a measure; of all trials the largest counts."""
        self.figures[name] = max(value, self.figures.get(name, value))

    def finish(self) -> None:
        """See that nothing outside was touched."""
        after = tree(self.canary)
        changed = sorted(
            name
            for name in self._before.keys() | after.keys()
            if self._before.get(name) != after.get(name)
        )
        known = {"work", "home", "canary", "tmp"}
        changed += sorted({p.name for p in self.place.iterdir()} - known)
        self.expect(not changed, "outside", f"changed outside: {', '.join(changed)}")

    def run(self, work: Callable[[], int | None], **limits: Any) -> Ended:
        """Run something in a process of its own, see `run`."""
        ended = run(work, self.place, **limits)
        self.faults += ended.told
        self.kills += ended.killed or "KILLED" in ended.words
        return ended

    def command(self, *arguments: object, **limits: Any) -> Ended:
        """Run the command line, and judge how it ended."""
        ended = self.run(command(*arguments), **limits)
        self.judge(ended)
        return ended

    def judge(self, ended: Ended) -> None:
        """Note how a process ended, unless killed, with a result or one sentence."""
        if ended.killed:
            return
        told = ended.words.strip().splitlines() or [""]
        if ended.timed_out:
            self.fault("hang", f"not over in {ended.seconds:.0f} s: {told[-1]}")
        elif "Traceback (most recent" in ended.words or _UNFORESEEN in ended.words:
            self.fault("traceback", _where(told))
        elif ended.code < 0:
            self.fault("signal", f"ended by signal {-ended.code}: {_where(told)}")
        elif ended.code not in (0, 1, 2):
            self.fault("status", f"exit status {ended.code}: {told[-1]}")
        elif ended.code and not told[-1].startswith("napari-unet"):
            self.fault("words", f"no sentence: {told[-1]}")


@dataclass
class Ended:
    """How a process ended.

    Attributes
    ----------
    pid : int
        Also of its group.
    code : int
        Exit status, or minus the signal.
    words : str
        What it printed.
    told : list of (str, str)
        Faults that it reported itself, see `report`.
    """

    pid: int
    code: int
    words: str
    seconds: float
    killed: bool = False
    timed_out: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)


class Fuse:
    """Counts the changes that a process makes on the disk, and ends it before one.

    Its figures are in memory that is shared with the process, and survive it.

    Parameters
    ----------
    place : Path
        Only files opened below it count.
    before : int
        Number of the change before which the process is killed; 0 for none.
    """

    def __init__(self, place: Path, before: int = 0) -> None:
        self._prefix, self._before = str(place), before
        self._shared = np.frombuffer(mmap.mmap(-1, 64), np.float64)

    @property
    def changes(self) -> int:
        """Changes on the disk so far."""
        return int(self._shared[0])

    @property
    def count(self) -> int:
        """What the process itself counts."""
        return int(self._shared[3])

    @count.setter
    def count(self, value: int) -> None:
        self._shared[3] = value

    @property
    def seconds(self) -> float:
        """Time of `slow_clock`."""
        return float(self._shared[1])

    @property
    def lost_seconds(self) -> float:
        """Time of `slow_clock` since the last checkpoint got its name."""
        return float(self._shared[1] - self._shared[2])

    def arm(self) -> None:
        """Begin to count; called in the process."""
        sys.addaudithook(self._hook)

    def slow_clock(self) -> None:
        """Give a training a clock that goes on by a little at each look.

        So what is lost does not depend on the machine, and a step is long.
        """
        from napari_unet.engine.training import stopwatch as clock

        def look() -> float:
            self._shared[1] += _LOOK_S
            return float(self._shared[1])

        vars(clock)["perf_counter"] = look

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (flags & _WRITING and str(path).startswith(self._prefix)):
                return
        elif event not in _CHANGES:
            return
        self._shared[0] += 1
        if self._shared[0] == self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "os.rename" and ".checkpoint." in str(arguments[1]):
            self._shared[2] = self._shared[1]


def command(*arguments: object) -> Callable[[], int]:
    """Return what runs the command line in this process."""

    def work() -> int:
        from napari_unet.cli.main import main

        return main([str(a) for a in arguments])

    return work


def report(kind: str, text: str) -> None:
    """Tell of a fault from within a process of a trial."""
    print(f"FAULT\t{kind}\t{' '.join(text.split())}", flush=True)


def run(
    work: Callable[[], int | None],
    place: Path,
    *,
    until: Callable[[], bool] | None = None,
    number: int = signal.SIGKILL,
    memory_mb: int = MEMORY_MB,
    wall_s: float = WALL_S,
    cpu_s: int = CPU_S,
    keep_group: bool = False,
) -> Ended:
    """Run something in a copy of this process, which has all loaded already.

    Parameters
    ----------
    work : callable
        What it returns is the exit status.
    place : Path
        With the folders of a trial.
    until : callable, optional
        Asked all the time; when it is true a signal is sent.
    number : int
        Of that signal.
    memory_mb, wall_s, cpu_s
        What it may take.
    keep_group : bool
        Whether processes that it started are left to end themselves.
    """
    log = place / "tmp" / f"printed-{os.getpid()}"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(work, place, log, (memory_mb, cpu_s))
    begun = time.monotonic()
    sent = timed_out = False
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if not sent and until is not None and until():
            os.kill(pid, number)
            sent = True
        if not timed_out and time.monotonic() - begun > wall_s:
            timed_out = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    if not keep_group:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(done[1])
    # a kill may come before the first word
    words = log.read_text(errors="replace") if log.exists() else ""
    log.unlink(missing_ok=True)
    lines = [line for line in words.splitlines() if line.startswith("FAULT\t")]
    told = [tuple(line.split("\t", 2)[1:]) for line in lines]
    killed = code == -signal.SIGKILL and not timed_out
    seconds = time.monotonic() - begun
    return Ended(pid, code, words, seconds, killed, timed_out, told)  # type: ignore[arg-type]


def group_of(pid: int) -> list[psutil.Process]:
    """List the processes alive that a process of a trial started."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getpgid(process.pid) == pid and process.status() != "zombie":
                found.append(process)
    return found


def apart(what: int) -> bool:
    """Give this process something of its own, such as mounts; whether it is allowed.

    Parameters
    ----------
    what : {MOUNTS, PROCESSES}
    """
    user, group = os.getuid(), os.getgid()
    if not _LIBC.unshare(what):
        return True
    if _LIBC.unshare(0x10000000 | what):  # who is not root has to be it in there
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def small_disk(folder: Path) -> None:
    """Put a disk of `DISK_BYTES` in place of a folder, for this process alone.

    It is one like people's: on one in memory even reading a map may need room.
    """
    image = folder.with_name("tmp") / f"{folder.name}.ext4"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    private = 0x44000  # recursively: nobody else sees the mount
    if not apart(MOUNTS) or _LIBC.mount(b"none", b"/", None, private, None):
        raise OSError("a small disk can be mounted by root only.")
    for line in (
        ("mkfs.ext4", "-q", "-F", "-m", "0", image),
        ("mount", "-o", "loop", image, folder),
    ):
        subprocess.run(line, check=True, capture_output=True)


def fill(filler: Path, room: int) -> None:
    """Take all of the disk that a file is on but so many bytes."""
    free = shutil.disk_usage(filler.parent).free
    with filler.open("wb") as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(free - room, 4096))


def tree(folder: Path) -> dict[str, str]:
    """Return what is below a folder: a digest of each file, but for locks."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file() and path.suffix != ".lock":
            found[name] = sha256(path.read_bytes()).hexdigest()[:16]
        elif path.is_dir() and not any(path.iterdir()):
            found[name] = "empty folder"
    return found


def _live(
    work: Callable[[], int | None], place: Path, log: Path, limits: tuple[int, int]
) -> None:
    """Be the process: with its own home, limits and output, until the end."""
    code: int | None = 99
    try:
        os.setpgid(0, 0)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = os.fdopen(1, "w", 1, closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, closefd=False)
        _settle(place, *limits)
        faulthandler.enable()
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit((code or 0) & 0xFF)


def _settle(place: Path, memory_mb: int, cpu_s: int) -> None:
    """Take a home, limits and the usual answers to signals."""
    import tempfile

    home = place / "home"
    os.environ |= {
        "HOME": str(home),
        "NAPARI_UNET_HOME": str(home / "data"),
        "XDG_DATA_HOME": str(home / "share"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(place / "tmp"),
    }
    tempfile.tempdir = None
    os.chdir(place / "canary" if (place / "canary").exists() else place)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    limit = psutil.Process().memory_info().vms + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))


def _where(lines: list[str]) -> str:
    """Return the end of a traceback: the error, and where in the package."""
    current = next((k for k, n in enumerate(lines) if n.startswith("Current")), 0)
    fatal = [n for n in lines if n.startswith("Fatal Python")]
    lines = lines[current:]
    places = [n.rsplit("napari_unet/", 1)[-1] for n in lines if "napari_unet/" in n]
    errors = [n for n in lines if n[:1].isalpha() and ("rror" in n or "Except" in n)]
    # the system's comes with the latest call first
    latest = 0 if fatal else -1
    place = places[latest] if places else ""
    return f"{(fatal or errors or lines)[-1][:250]} ({place})"
