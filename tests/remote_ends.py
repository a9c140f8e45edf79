"""Remote ends of ssh in the tests: a script in its place, and one that answers there.

`fake_ssh` makes the script. The name of the host says what is at the other end: *lab*
the program itself, in another home without any shared path, *cut* the same, but its
connection breaks once; *silent* one that says nothing; *light* a program without torch,
which does as it is told in `answers`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = "remote"


def fake_ssh(folder: Path) -> Path:
    """Make a program `ssh`; return the folder it is in, to be put into the PATH."""
    if sys.platform == "win32":
        import pytest

        pytest.skip("takes no script for a program")
    program = folder / "bin"
    for path in (program, folder / FOLDER / "home", folder / FOLDER / "tmp"):
        path.mkdir(parents=True)
    script = program / "ssh"
    here = str(Path(__file__).parent)
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\n"
        f"from remote_ends import ssh\nssh({str(folder)!r}, sys.argv[1:])\n"
    )
    script.chmod(0o755)
    return program


def answers(folder: Path, *lines: Any, version: str | None = None) -> None:
    """Say what the light end sends once it was asked; bytes go as they are."""
    from napari_unet import __version__

    script = {"version": version or __version__, "lines": []}
    for line in lines:
        raw = isinstance(line, bytes)
        script["lines"].append({"raw": line.decode("latin-1")} if raw else line)
    (folder / FOLDER / "answers.json").write_text(json.dumps(script))


def heard(folder: Path) -> list[Any]:
    """Return the lines that the light end was sent, of all connections."""
    file = folder / FOLDER / "heard"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def ssh(given: str, arguments: list[str]) -> None:
    """What the program does."""
    folder = Path(given)
    (folder / FOLDER / "arguments").write_text(json.dumps(arguments))
    host, _ = arguments[-2:]
    if host == "gone":
        sys.stderr.write("ssh: connect to host gone port 22: Connection refused\n")
        sys.exit(255)
    if host == "missing":
        sys.stderr.write("sh: 1: napari-unet: not found\n")
        sys.exit(127)
    if host == "silent":
        sys.stdin.buffer.read()
        return
    if host == "light":
        _light(folder / FOLDER)
        return
    _real(folder / FOLDER, cut=host == "cut")


def _real(remote: Path, *, cut: bool) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "NAPARI_UNET"))
    }
    environment |= {"HOME": str(remote / "home"), "TMPDIR": str(remote / "tmp")}
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_unet", "serve"],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=remote / "home",
    )
    marker, steps = remote / "was-cut", 0
    assert process.stdout is not None
    sys.stdout.buffer.write(b"Welcome to the lab!\n")
    for line in process.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        steps += line.startswith(b'{"event": "StepDone"')
        if cut and steps == 2 and not marker.exists():
            marker.touch()
            process.kill()
            sys.stderr.write("client_loop: send disconnect: Broken pipe\n")
            sys.exit(255)
    sys.exit(process.wait())


def _light(remote: Path) -> None:
    script = json.loads((remote / "answers.json").read_text())
    hello = {"version": script["version"], "device": "cpu", "free": 10**9}
    _say(hello | {"hello": "napari-unet", "host": "light"})
    asked = sys.stdin.buffer.readline()
    with (remote / "heard").open("ab") as file:
        file.write(asked)
        if not asked:
            return
        size = json.loads(asked)["size"]
        if size:
            (remote / "bundle.zip").write_bytes(sys.stdin.buffer.read(size))
        file.flush()
        for line in script["lines"]:
            if "raw" in line:
                sys.stdout.buffer.write(line["raw"].encode("latin-1"))
                sys.stdout.buffer.flush()
            elif "cut" in line:
                script["lines"] = line["then"]
                (remote / "answers.json").write_text(json.dumps(script))
                sys.exit(255)
            elif "then" in line:
                # what the next connection has
                later = json.dumps(script | {"lines": line["then"]})
                (remote / "answers.json").write_text(later)
            elif "order" in line:
                # all until this one
                while told := sys.stdin.buffer.readline():
                    file.write(told)
                    file.flush()
                    if json.loads(told) == line:
                        break
            else:
                _say(line)


def _say(record: Any) -> None:
    sys.stdout.buffer.write(json.dumps(record).encode() + b"\n")
    sys.stdout.buffer.flush()
