"""A simulator in a separate process, so that its CPU is not counted for the program that measures."""

from __future__ import annotations

import subprocess
import sys
import time
from types import TracebackType


class SubprocessSimulator:
    """Runs a simulator in a child process, at the pace of a fast model.

    ``url`` is its base URL; ``cpu`` the CPU seconds that it took, known once it has stopped. It ends with this process, however that
    ends. Raises OSError when it cannot be started.
    """

    def __init__(self) -> None:
        self.url = ""
        self.cpu = 0.0
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> SubprocessSimulator:
        # In a separate session, so that Ctrl-C stops the measurement without cutting the measured streams.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "unspool.sim.subprocess_simulator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise OSError("the simulator could not be started")
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it, and know what it cost. Does nothing when it is not running."""
        child, self._child = self._child, None
        if child is None or child.stdin is None or child.stdout is None:
            return
        child.stdin.close()
        said = child.stdout.read()
        child.stdout.close()
        child.wait()
        self.cpu = float(said or 0)


def _main() -> None:
    from unspool.sim.running import Simulator
    from unspool.sim.simulator import REALISTIC_ITL, REALISTIC_TTFT, SimulatorSettings

    with Simulator(SimulatorSettings(ttft=REALISTIC_TTFT, itl=REALISTIC_ITL)) as simulator:
        begun = time.process_time()
        print(simulator.url, flush=True)
        sys.stdin.read()  # until the parent has gone, or closes it
        spent = time.process_time() - begun
    print(spent, flush=True)


if __name__ == "__main__":
    _main()
