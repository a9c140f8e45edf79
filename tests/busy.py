"""Run a command on a busy machine: `python tests/busy.py COMMAND ...`.

Four processes that do nothing but count take the cores meanwhile; they end with the
command, whichever way it ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys

# Forked twice, it is four processes. Each ends when the one that started it is gone,
# even by a kill.
SPIN = """
import os
os.fork(), os.fork()
parent = os.getppid()
while os.getppid() == parent: pass
"""


def main(command: list[str]) -> int:
    # a request to end is an exception, so that what is below is done
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # In a session of its own, as another program is: Linux shares the cores out between
    # sessions. In that of the tests the loops would starve our worker, which steps back
    # for everything else.
    loops = subprocess.Popen([sys.executable, "-c", SPIN], start_new_session=True)
    try:
        return subprocess.run(command).returncode
    finally:
        loops.kill()
        loops.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
