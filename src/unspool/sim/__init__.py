"""The simulator: a server that answers like the OpenAI API, with written answers instead of a model.

    from unspool.sim import Simulator

    with Simulator() as simulator:
        simulator.when(user="refund").answer("It is on its way.")
        ...                                # ask at simulator.url

``endpoints`` are what it answers, ``script`` what a test says that it answers, ``faults`` what it does wrong on purpose, and ``tapes``
what it recorded. ``errors`` are refusals, and ``frames`` the events of a stream. ``pace`` says when a model would have each,
``streaming`` sends them then, and ``connection`` is the way past the HTTP server. ``limits`` are the rate limits of all clients together,
and ``clock`` is what all of this goes by. ``simulator`` puts it together as an ASGI application, behind ``origins`` and ``control``;
``running`` runs that, and ``subprocess_simulator`` does so in a process of its own. ``received`` is a request as tests read it.

A response outlives its request: ``store`` keeps it, with the ``log`` of its stream, and ``lifecycle`` makes it, on its connection
or in the background, and gives it out again.

``proxy`` does to the answers of any other server, byte by byte, what the faults do to its own. ``pytest_plugin`` lends the simulator to
other people's tests.

Importing this package imports nothing else: starlette and uvicorn cost more than a complete answer does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.sim.clock import VirtualClock as VirtualClock
    from unspool.sim.proxy import Proxy as Proxy
    from unspool.sim.received import ReceivedRequest as ReceivedRequest
    from unspool.sim.running import Simulator as Simulator
    from unspool.sim.script import Citation as Citation
    from unspool.sim.script import ScriptedAnswer as ScriptedAnswer
    from unspool.sim.script import ScriptedCall as ScriptedCall
    from unspool.sim.script import ScriptedUsage as ScriptedUsage
    from unspool.sim.script import call as call
    from unspool.sim.simulator import SimulatorSettings as SimulatorSettings

_MODULES = {
    "Citation": "script",
    "Proxy": "proxy",
    "ReceivedRequest": "received",
    "ScriptedAnswer": "script",
    "ScriptedCall": "script",
    "ScriptedUsage": "script",
    "Simulator": "running",
    "SimulatorSettings": "simulator",
    "VirtualClock": "clock",
    "call": "script",
}

__all__ = [
    "Citation",
    "Proxy",
    "ReceivedRequest",
    "ScriptedAnswer",
    "ScriptedCall",
    "ScriptedUsage",
    "Simulator",
    "SimulatorSettings",
    "VirtualClock",
    "call",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
