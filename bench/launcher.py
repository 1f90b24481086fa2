"""Runs a command and writes its peak memory, in bytes, to a file: ``launcher.py FILE COMMAND…``

The kernel counts what a process held before it became another program, which is a copy of its parent. This parent is small.
"""

import os
import sys

child = os.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(child, 0)
# Kibibytes, but bytes on macOS.
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
with open(sys.argv[1], "w") as file:
    file.write(str(peak))
sys.exit(os.waitstatus_to_exitcode(status))
