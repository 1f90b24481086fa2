"""HTTP by libcurl: one request, its answer in pieces as they arrive.

Two drivers run the same `Transfer`: `Reactor` here, for one thread that waits for the network, signals and timers in one
place, and `unspool.client.loop` for asyncio.
"""

from __future__ import annotations

import os
import select
import time

from unspool.client.http.curl import again, calling, caught, guarded, pycurl
from unspool.client.limits import CONNECT_TIMEOUT
from unspool.outcome import CUT, UNREACHABLE, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from unspool.client.http import Request


#: Pieces taken from the socket and not yet asked for, at which the socket is left alone: the server then waits for the reader, and
#: memory does not grow when the network is faster than the screen. A piece is an HTTP chunk, or at most 16 KB of one.
MOST_HELD = 128
_LARGEST_BURST = 1 << 20

# curl's error codes (libcurl-errors(3)) by what they mean here. The request did not get through: nothing was answered or billed.
_UNREACHABLE = frozenset(
    {
        1,  # unsupported protocol
        3,  # malformed URL
        5,  # proxy not resolved
        6,  # host not resolved
        7,  # could not connect
        8,  # weird server reply: not HTTP
        35,  # TLS handshake
        51,
        53,
        54,
        58,  # local certificate
        59,  # cipher
        60,  # certificate not to be trusted
        66,
        77,  # CA file
        80,
        83,
        90,
        91,
        97,  # proxy handshake
    }
)
# Of these, the ones that a second try may cure.
_RETRYABLE = frozenset({6, 7, 16, 35, 52, 55, 56, 92})
_TIMED_OUT = 28
_TLS = frozenset({35, 51, 53, 54, 58, 59, 60, 66, 77, 80, 83, 90, 91})


class Transfer:
    """A request under way and what has come of it.

    ``headers`` have lower-case names, and count once ``status`` is set. ``take`` returns body bytes that have arrived,
    ``taken`` counts them, and ``held`` says whether some are not yet taken. ``over`` says that nothing more
    comes; ``fault`` then says what went wrong, None for a clean end, which for a stream means only that nobody broke the
    connection.
    """

    def __init__(self, request: Request, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        self.request = request
        self.http_version = ""
        self.headers: dict[str, str] = {}
        self.over = False
        self.fault: Fault | None = None
        self.taken = 0
        self._chunks: list[bytes] = []
        self._paused = False
        self._status = 0
        self._head_status = 0
        self._head_whole = False
        self.curl = _easy(request, connect_timeout)
        # 0 bytes taken is an error to libcurl, which ends the transfer.
        self.curl.setopt(pycurl.WRITEFUNCTION, guarded(self._taker(), 0))
        self.curl.setopt(pycurl.HEADERFUNCTION, guarded(self._on_header, 0))

    @property
    def status(self) -> int:
        """The HTTP status of the answer, 0 while its head is not complete."""
        if not self._status and self._head_whole and not self.over:
            # A proxy's answer to CONNECT has a head too. libcurl knows which is which, but cannot be asked in its callback.
            self._status = int(self.curl.getinfo(pycurl.RESPONSE_CODE))
        return self._status

    @property
    def held(self) -> bool:
        """Whether there are bytes that have not been taken."""
        return bool(self._chunks)

    @property
    def connected(self) -> bool:
        """Whether the connection stands, TLS included, so that the request is on its way."""
        return self.over or bool(self.curl.getinfo(pycurl.PRETRANSFER_TIME))

    def take(self) -> bytes:
        """Return the body bytes that have arrived. Where there were too many to hold, the next ones may be ``held`` at once."""
        held = self._chunks
        if not held:
            return b""
        data = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self.taken += len(data)
        if self._paused and not self.over:
            self._paused = False
            self.curl.pause(pycurl.PAUSE_CONT)
        return data

    def finish(self, code: int, message: str) -> None:
        """Record that libcurl is done with the transfer: 0, or its error code and words."""
        if self.over:
            self.curl.close()
            return
        status = self.status
        self.over = True
        if code:
            self.fault = self._fault(code, message, status)
        self.curl.close()

    def leave(self) -> None:
        """Say that nothing more is wanted, though it goes on: once the HTTP answer has ended, its connection can be used again."""
        self._status = self.status
        self.over = True

    def _taker(self) -> Callable[[bytes], int | None]:
        """What is called with each piece of the body: hot, once for each token. None is all of it taken."""
        chunks, append, pause = self._chunks, self._chunks.append, pycurl.WRITEFUNC_PAUSE

        def take(chunk: bytes) -> int | None:
            if len(chunks) < MOST_HELD:
                append(chunk)
                return None
            self._paused = True
            return pause  # type: ignore[no-any-return]

        return take

    def _on_header(self, line: bytes) -> None:
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            # The last head counts: those of 100 Continue and of a proxy's CONNECT come before it.
            version, _, rest = text.partition(" ")
            self.http_version = version[5:]
            self._head_status = int(rest[:3]) if rest[:3].isdigit() else 0
            self._head_whole = False
            self.headers = {}
        elif text:
            name, _, value = text.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        else:
            self._head_whole = self._head_status >= 200

    def _fault(self, code: int, message: str, status: int) -> Fault:
        host = _host_of(self.request.url)
        if code == 7 and (number := self.curl.getinfo(pycurl.OS_ERRNO)):
            message = os.strerror(number)  # libcurl's own words repeat the host and leave out the cause
        if not status and (proxy := _proxy_used(self.curl, self.request)):
            fault = _proxy_fault(code, message, host, proxy, self.curl.getinfo(pycurl.HTTP_CONNECTCODE))
            if fault is not None:
                return fault
            host = f"{host} (through the proxy {proxy})"
        if code == _TIMED_OUT or (code in _UNREACHABLE and not status):
            return Fault(
                UNREACHABLE,
                _explain(code, message, host, self.request.url.startswith("https:")),
                code in _RETRYABLE or code == _TIMED_OUT,
            )
        if not status:
            words = f"{host} closed the connection without an answer" if code == 52 else f"{host}: {message}"
            return Fault(CUT, words, code in _RETRYABLE)
        words = {
            18: "the server closed the connection in the middle of the answer",
            56: "the connection was reset in the middle of the answer",
            92: "the server reset the HTTP/2 stream in the middle of the answer",
            16: "the HTTP/2 connection broke in the middle of the answer",
            61: "the answer's compression is damaged",
            23: "the answer could not be taken",
        }.get(code, message)
        return Fault(CUT, words)


def keep_bursts() -> None:
    """Keep the memory of a burst of events. Call this when the first stream starts.

    What is made of a burst is some hundred kilobytes, which glibc would give back to the system after each burst and ask for
    again, page by page: a fifth of the cost of an event. Once malloc has seen a larger block come and go, it keeps as much
    (mallopt(3), M_MMAP_THRESHOLD). The pages are never touched, so this costs two system calls.
    """
    bytes(_LARGEST_BURST)


# Reactors with transfers. pycurl closes libcurl's handles as soon as the garbage collector finds them in a cycle, which may be before the
# answer in the same cycle could end its stream: from here they are reachable until that is done.
_busy: set[Reactor] = set()


class Reactor:
    """Runs transfers in one thread: wait for the network, for other descriptors and for a time, all at once.

    Connections are kept for the next transfer to the same server. ``may_fork`` says that the process may fork while it lives.
    """

    def __init__(self, *, may_fork: bool = True) -> None:
        keep_bursts()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, guarded(self._on_timer, None))
        self._transfers: dict[Any, Transfer] = {}
        self._sockets: dict[int, int] = {}
        self._deadline: float | None = None
        #: Whether this is a copy in a child of the process that made it, and of no use.
        self.is_inherited = False
        #: Whether an exception has struck somewhere in it, so that it should only be closed.
        self.is_damaged = False
        if may_fork:
            from unspool.client import forks

            forks.watch(self)

    def _after_fork(self) -> None:
        """In the child: keep the connections from being closed, for they are the parent's."""
        from unspool.client import forks

        self.is_inherited = True
        _busy.discard(self)
        forks.never_free(self._multi)
        for transfer in self._transfers.values():
            forks.never_free(transfer.curl)

    def start(self, transfer: Transfer) -> None:
        """Begin a transfer; it goes on in `wait`."""
        _busy.add(self)
        self._transfers[transfer.curl] = transfer
        self._call(self._multi.add_handle, transfer.curl)

    def cancel(self, transfer: Transfer, fault: Fault | None = None) -> None:
        """End a transfer now, whatever it is doing, and close its connection; ``fault`` says why, where that is a fault."""
        if self._transfers.pop(transfer.curl, None) is not None:
            try:
                self._call(self._multi.remove_handle, transfer.curl)
            except pycurl.error:
                pass  # a signal's handler struck before it was added
        self._rest()
        transfer.finish(0, "")
        transfer.fault = transfer.fault or fault

    def wait(self, seconds: float, watch: Iterable[int] = (), errors: Iterable[int] = ()) -> set[int]:
        """Let the network run for at most this long, and return as soon as there is news.

        Returns those descriptors of ``watch`` that can be read, and of ``errors`` that have broken (a pipe without reader). Signals are
        handled, and end nothing by themselves: watch a descriptor that their handler writes to.
        """
        if caught:
            again()  # it struck when the transfer was started, and the timer may be lost
        deadline = self._deadline
        if deadline is not None:
            seconds = min(seconds, max(0.0, deadline - time.monotonic()))
        ready, news = _poll(self._sockets, watch, errors, seconds)
        self._call(self._run, ready, deadline)
        if caught:
            again()
        return news

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        """Call something that calls libcurl."""
        calling(call, *arguments)
        if caught:
            self.is_damaged = True  # what libcurl said of its sockets or its timer was lost

    def _run(self, ready: list[tuple[int, int]], deadline: float | None) -> None:
        for fd, events in ready:
            # One of them may have been given up on the way, for another's news.
            if fd in self._sockets:
                self._multi.socket_action(fd, events)
        if deadline is not None and deadline <= time.monotonic():
            if self._deadline == deadline:
                self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    @property
    def is_closed(self) -> bool:
        """Whether it should start nothing any more: closed, the parent's, or damaged."""
        return self.is_inherited or self.is_damaged or bool(self._multi.closed)

    def settle(self) -> None:
        """Let those transfers come to their end that were left, and end those that cannot by now."""
        if self._transfers:
            self.wait(0)
        for transfer in list(self._transfers.values()):
            self.cancel(transfer)

    def close(self) -> None:
        """End all transfers and close all connections."""
        if self.is_inherited:
            return
        for transfer in list(self._transfers.values()):
            self.cancel(transfer)
        self._call(self._multi.close)

    def _collect(self) -> None:
        while True:
            more, finished, failed = self._multi.info_read()
            for curl in finished:
                self._finish(curl, 0, "")
            for curl, code, message in failed:
                self._finish(curl, code, message)
            if not more:
                return

    def _finish(self, curl: object, code: int, message: str) -> None:
        transfer = self._transfers.pop(curl)
        self._multi.remove_handle(curl)
        self._rest()
        transfer.finish(code, message)

    def _rest(self) -> None:
        if not self._transfers:
            _busy.discard(self)

    def _on_socket(self, what: int, fd: int, multi: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._sockets.pop(fd, None)
        else:
            self._sockets[fd] = what

    def _on_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _poll(
    sockets: dict[int, int], watch: Iterable[int], errors: Iterable[int], seconds: float
) -> tuple[list[tuple[int, int]], set[int]]:
    """Wait for libcurl's sockets and the other descriptors; return its own that have news, with its bits, and the others."""
    if not hasattr(select, "poll"):  # Windows
        reading = [fd for fd, what in sockets.items() if what & pycurl.POLL_IN] + list(watch)
        writing = [fd for fd, what in sockets.items() if what & pycurl.POLL_OUT]
        if not reading and not writing:
            time.sleep(seconds)
            return [], set()
        readable, writable, _ = select.select(reading, writing, [], seconds)
        own = [(fd, pycurl.CSELECT_IN) for fd in readable if fd in sockets]
        return own + [(fd, pycurl.CSELECT_OUT) for fd in writable], {fd for fd in readable if fd not in sockets}
    # poll and not select: a server with over a thousand connections has descriptors that select cannot name.
    poll = select.poll()
    for fd, what in sockets.items():
        poll.register(
            fd, (select.POLLIN if what & pycurl.POLL_IN else 0) | (select.POLLOUT if what & pycurl.POLL_OUT else 0)
        )
    for fd in watch:
        poll.register(fd, select.POLLIN)
    for fd in errors:
        poll.register(fd, 0)
    broken = select.POLLERR | select.POLLHUP | select.POLLNVAL
    ready: list[tuple[int, int]] = []
    news: set[int] = set()
    for fd, events in poll.poll(max(0.0, seconds * 1000)):
        if fd not in sockets:
            news.add(fd)
            continue
        bits = 0
        if events & (select.POLLIN | broken):
            bits |= pycurl.CSELECT_IN
        if events & select.POLLOUT:
            bits |= pycurl.CSELECT_OUT
        ready.append((fd, bits))
    return ready, news


def _easy(request: Request, connect_timeout: float) -> Any:
    curl = pycurl.Curl()
    set_option = curl.setopt
    set_option(pycurl.URL, request.url)
    set_option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    set_option(pycurl.NOSIGNAL, 1)
    set_option(pycurl.CONNECTTIMEOUT_MS, int(connect_timeout * 1000))
    # Ask for no compression, since some servers compress a stream and release it all at the end, but undo what comes compressed.
    set_option(pycurl.ACCEPT_ENCODING, "identity")
    # "Expect:" stops libcurl from waiting a second for a 100 Continue that few of these servers send.
    set_option(pycurl.HTTPHEADER, [*(f"{name}: {value}" for name, value in request.headers.items()), "Expect:"])
    if request.body is not None:
        set_option(pycurl.POSTFIELDS, request.body)
    if request.method not in ("GET", "POST"):
        set_option(pycurl.CUSTOMREQUEST, request.method)
    route = request.route
    if route.proxy is not None:
        # Whatever the environment says: "" is no proxy at all.
        set_option(pycurl.PROXY, route.proxy)
        set_option(pycurl.NOPROXY, "" if route.proxy else "*")
    elif _is_excepted(request.url):
        set_option(pycurl.PROXY, "")
    elif request.url.startswith("http:"):
        # libcurl reads every proxy variable in both cases but this one, because a CGI program gets a visitor's "Proxy:"
        # header as HTTP_PROXY. Where there is no CGI request, the variable is the user's own.
        environ = os.environ
        if not environ.get("http_proxy") and (proxy := environ.get("HTTP_PROXY")) and "REQUEST_METHOD" not in environ:
            set_option(pycurl.PROXY, proxy)
    if request.url.startswith("https:") or _proxy_of(request).startswith("https:"):
        from unspool.client.http import roots

        roots.trust(curl, pycurl, route)
    if route.unix_socket is not None:
        set_option(pycurl.UNIX_SOCKET_PATH, route.unix_socket)
    return curl


def _is_excepted(url: str) -> bool:
    """Whether an entry of ``NO_PROXY`` with a port excepts this URL. libcurl reads those without one, and knows no others."""
    entries = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if ":" not in entries:
        return False
    host, colon, port = _host_of(url).rpartition(":")
    if not colon or not port.isdigit():
        host, port = _host_of(url), "443" if url.startswith("https:") else "80"
    for entry in entries.replace(",", " ").split():
        name, colon, wanted = entry.lower().rpartition(":")
        name = name.lstrip("*").removeprefix(".")
        if colon and wanted == port and name and (host.lower() == name or host.lower().endswith(f".{name}")):
            return True
    return False


def _explain(code: int, message: str, host: str, secure: bool) -> str:
    """One sentence for an error that kept the request from getting through, with what to look at."""
    if code == 6:
        return f"no such host: {host}; check the base URL"
    if code == 7:
        return f"cannot connect to {host}: {message}; check that the server runs, and the base URL"
    if code == _TIMED_OUT:
        return f"{host} did not accept the connection in time (connect timeout); check the base URL and the network"
    if code in (1, 8):  # 1: something that is no HTTP head at all, such as an SSH server's greeting
        advice = "" if secure else ", which must begin with https:// if the server uses TLS"
        return f"the server at {host} does not speak HTTP; check the base URL{advice}"
    if code in (51, 60):
        return f"the certificate of {host} is not trusted: {message}; SSL_CERT_FILE can name an authority to trust"
    if code == 77:
        return (
            f"{host} cannot be verified: {message}; "
            "check SSL_CERT_FILE, CURL_CA_BUNDLE and SSL_CERT_DIR, or unset them to use the system's"
        )
    if code in _TLS:
        return f"TLS with {host} failed: {message}; check whether the base URL should begin with http://"
    return f"{host}: {message}"


def _host_of(url: str) -> str:
    """The host and port of a URL, for messages."""
    rest = url.partition("://")[2]
    for end in "/?#":
        rest = rest.partition(end)[0]
    return rest.rpartition("@")[2]


def _proxy_used(curl: Any, request: Request) -> str:
    """The host and port of the proxy that a transfer went through, for messages; empty when it went through none."""
    used = getattr(pycurl, "USED_PROXY", None)
    if used is None or not curl.getinfo(used):
        return ""
    return proxy_for(request)


def proxy_for(request: Request) -> str:
    """The host and port of the proxy that is set for a request; empty when none is. `NO_PROXY` is not looked at."""
    proxy = _proxy_of(request)
    # Not the URL: it has a user and a password in it as often as not.
    return _host_of(proxy if "://" in proxy else f"http://{proxy}")


def _proxy_of(request: Request) -> str:
    """The URL of the proxy that is set for a request, empty when none is; `NO_PROXY` is left to libcurl."""
    if request.route.proxy is not None:
        return request.route.proxy
    scheme = request.url.partition(":")[0]
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):  # libcurl's order
        if proxy := os.environ.get(name):
            return proxy
    return ""


def _proxy_fault(code: int, message: str, host: str, proxy: str, status: int) -> Fault | None:
    """What went wrong between here and the proxy, None if that part went well. ``status`` answers the CONNECT, 0 for none."""
    advice = "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or exclude the host with NO_PROXY"
    if code == 5:
        return Fault(UNREACHABLE, f"no such host: the proxy {proxy}; {advice}")
    if status == 407:
        return Fault(
            UNREACHABLE,
            f"the proxy {proxy} rejects the user name and password, or requires them: "
            f"HTTPS_PROXY=http://USER:PASSWORD@{proxy}; {advice}",
        )
    if status and status // 100 != 2:
        return Fault(UNREACHABLE, f"the proxy {proxy} does not connect to {host}: HTTP {status}", status >= 500)
    if code == 7:  # which libcurl also says of a refused CONNECT
        return Fault(UNREACHABLE, f"the proxy {proxy} cannot be connected to: {message}; {advice}", True)
    if code == 97 or (code == 56 and "CONNECT" in message):
        return Fault(UNREACHABLE, f"the proxy {proxy} does not connect to {host}: {message}", code == 56)
    return None
