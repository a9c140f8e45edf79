"""Run a command on a busy machine: `python tests/busy.py COMMAND ...`.

Four processes that do nothing but count take the cores meanwhile; they end with the
command, whichever way it ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys

LOOPS = 4
# A loop ends itself when the one that started it is gone, even by a kill.
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


def main(command: list[str]) -> int:
    # a request to end is an exception, so that what is below is done
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    loops = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(LOOPS)]
    try:
        return subprocess.run(command).returncode
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
