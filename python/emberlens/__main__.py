"""`python -m emberlens`: the program, where its folder isn't on the PATH."""

from __future__ import annotations

import os
import subprocess
import sys

from ._program import find


def main() -> None:
    """Runs the program with the arguments of this process, and ends with its exit status."""
    command = [find(), *sys.argv[1:]]
    if sys.platform == "win32":
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
