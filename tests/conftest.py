"""For all tests: what a shell left in the way of signals is undone, for processes that tests start inherit it."""

from __future__ import annotations

import signal

# nohup ignores the one, a shell without job control the other for what it runs in the background.
for _number, _handler in (
    (getattr(signal, "SIGHUP", None), signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
