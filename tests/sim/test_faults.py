"""That each fault is on the wire, from the simulator and from the proxy alike, as a client that knows nothing but HTTP sees it."""

import gzip
import http.client
import json
import socket
import ssl
import threading
import time
import zlib
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.faults.stream_plan import Close, FaultyStream, Pause
from unspool.sim.faults.table import HEADER, TABLE, read
from unspool.sim.frames import DONE, Frame
from unspool.sim.proxy import Proxy
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

ASKS = {
    "/completions": {"model": "sim-1", "prompt": "Hello", "max_tokens": 300},
    "/chat/completions": {"model": "sim-1", "messages": [{"role": "user", "content": "Hello"}]},
    "/responses": {"model": "sim-1", "input": "Hello"},
}
CHAT, RESPONSES = "/chat/completions", "/responses"
NOON = 1_800_000_000.0


class Answer:
    """What came: the status, the headers, the body's bytes, and whether it ended ``clean``, ``cut`` or in a ``reset``."""

    def __init__(self, url, path, fault):
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        body = json.dumps({**ASKS[path], "stream": True})
        self.ending = "clean"
        try:
            connection.request("POST", address.path + path, body, {HEADER: fault})
            response = connection.getresponse()
            self.status = response.status
            self.headers = {name.lower(): value for name, value in response.getheaders()}
            self.body = response.read()
        except http.client.IncompleteRead as broken:
            self.body, self.ending = broken.partial, "cut"
        except (ConnectionResetError, http.client.RemoteDisconnected) as broken:
            self.body, self.ending = b"", "reset" if type(broken) is ConnectionResetError else "none"
        finally:
            connection.close()

    @property
    def events(self):
        return Decoder().feed(self.body)

    @property
    def chunks(self):
        return [json.loads(event.data) for event in self.events if event.data != "[DONE]"]


@pytest.fixture(scope="module", params=["simulator", "proxy"])
def server(request):
    with Simulator(SimulatorSettings(clock=lambda: NOON)) as simulator:
        if request.param == "simulator":
            yield simulator
        else:
            with Proxy(simulator.url) as proxy:
                yield proxy


@pytest.fixture
def ask(server):
    return lambda fault="", path=CHAT: Answer(server.url, path, fault)


@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name)
def test_every_example_can_be_read_and_changes_something(fault):
    assert read(fault.example) != read("")


@pytest.mark.parametrize(
    "text",
    [
        "no-such",
        "cut",
        "cut=-1",
        "cut=3,softly",
        "bom=1",
        "stall=1,x",
        "status=999",
        "keepalive=0",
        "html=99",
        "content-type=ü",
        "error=1,x",
    ],
)
def test_what_is_no_fault_is_refused_with_what_is(text):
    with pytest.raises(ValueError, match="fault"):
        read(text)


def test_a_header_that_names_no_fault_is_answered_with_400(ask):
    answer = ask("nonsense")
    assert answer.status == 400
    assert "unspool faults lists" in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("path", ASKS)
def test_without_a_fault_the_bytes_are_those_of_any_other_request(ask, path):
    assert ask("", path).body == ask("slow-headers=1ms", path).body == ask("cut=end,clean", path).body


@pytest.mark.parametrize("path", ASKS)
@pytest.mark.parametrize("how", ["clean", "unclean", "short"])
def test_a_cut_leaves_so_many_whole_events(ask, path, how):
    answer = ask(f"cut=7,{how}", path)
    assert (len(answer.events), answer.ending) == (7, "clean" if how == "clean" else "cut")
    assert answer.body.endswith(b"\n\n")
    assert ("content-length" in answer.headers) == (how == "short")


def test_a_length_that_is_never_reached_is_never_a_clean_end(ask, capfd):
    answer = ask("cut=5000,short")
    assert (answer.events[-1].data, answer.ending) == ("[DONE]", "cut")
    assert capfd.readouterr().err == ""


def test_a_stall_at_the_start_is_one_stall(ask):
    stream = FaultyStream(read("stall=0,100ms; usage=finish"))
    steps = [*stream.take(Frame('{"choices":[{"delta":{"content":"a"}}]}')), *stream.take(DONE), *stream.end()]
    assert [type(step) for step in steps] == [Pause, bytes, bytes, Close]
    assert len(ask("stall=0,100ms; usage=finish").events) > 20


def test_a_reset_is_a_reset(ask):
    assert ask("cut=7,reset").ending == "reset"


def test_a_response_that_was_cut_has_ended_by_the_time_its_client_asks_again():
    with Simulator(SimulatorSettings(clock=lambda: NOON)) as simulator:

        def response_id(fault=""):
            found = Answer(simulator.url, RESPONSES, fault)
            return found.chunks[0]["response"]["id"] if found.ending == "clean" else None

        # One still being made would keep its id, and the same request would get another one.
        first = response_id()
        for _ in range(40):
            response_id("cut-byte=333,reset")
            assert response_id() == first


def test_a_cut_at_the_end_leaves_out_the_last_chunk_alone(ask):
    answer = ask("cut=end")
    assert (answer.events[-1].data, answer.ending) == ("[DONE]", "cut")


@pytest.mark.parametrize("count", [0, 1, 100, 333])
def test_a_cut_at_a_byte_leaves_so_many(ask, count):
    answer = ask(f"cut-byte={count}")
    assert (len(answer.body), answer.ending) == (count, "cut")
    assert ask().body.startswith(answer.body)


def test_hanging_up_sends_nothing(ask):
    assert ask("hang-up").ending == "none"


def test_a_status_has_its_error_and_the_headers_asked_for(ask):
    answer = ask("status=503,x-should-retry:false,retry-after:7")
    assert (answer.status, answer.headers["x-should-retry"], answer.headers["retry-after"]) == (503, "false", "7")
    assert json.loads(answer.body)["error"]["code"] == "server_is_overloaded"
    assert ask("status=418,body:Short and stout").body == b"Short and stout"
    assert (ask("status=204").status, ask("status=204").body) == (204, b"")


def test_a_rate_limit_says_how_long_in_the_unit_that_fits(ask):
    assert ask("rate-limit=2").headers["retry-after"] == "2"
    assert ask("rate-limit=300ms").headers["retry-after-ms"] == "300"
    assert json.loads(ask("quota").body)["error"]["type"] == "insufficient_quota"


def test_answers_that_are_no_streams(ask):
    page, error, nothing = ask("html"), ask("json-error"), ask("empty")
    assert (page.status, page.headers["content-type"], page.body[:9]) == (200, "text/html; charset=utf-8", b"<!DOCTYPE")
    assert (error.status, list(json.loads(error.body))) == (200, ["error"])
    assert (nothing.status, nothing.headers["content-type"], nothing.body) == (200, "text/event-stream", b"")


@pytest.mark.parametrize(
    ("path", "kind"), [(CHAT, "chat.completion"), (RESPONSES, "response"), ("/completions", "text_completion")]
)
def test_an_unstreamed_answer_is_one_object(ask, path, kind):
    answer = ask("unstreamed", path)
    assert (answer.headers["content-type"], json.loads(answer.body)["object"]) == ("application/json", kind)


def test_the_bytes_look_as_asked_for(ask):
    plain = ask().body
    assert ask("line-ends=cr").body == plain.replace(b"\n", b"\r")
    assert ask("line-ends=crlf").body == plain.replace(b"\n", b"\r\n")
    assert ask("bom").body == b"\xef\xbb\xbf" + plain
    assert ask("no-space").body == plain.replace(b"data: ", b"data:")
    assert ask("retry-line=3000").body == b"retry: 3000\n\n" + plain
    assert ask("comments").body == plain.replace(b"data: ", b": ping\n\ndata: ")
    assert ask("comments=I am here").body.startswith(b": I am here\n\n")
    assert ask("pings=empty").body == plain.replace(b"data: ", b"event: ping\n\ndata: ")
    assert ask("pings").body == plain.replace(b"data: ", b'event: ping\ndata: {"type":"ping"}\n\ndata: ')
    assert ask("unterminated").body == plain[:-1]
    assert ask("content-type=application/json").headers["content-type"] == "application/json"


def test_compression_is_whole_or_lacks_its_end(ask):
    whole, truncated = ask("gzip"), ask("gzip=truncated")
    assert whole.headers["content-encoding"] == "gzip"
    assert gzip.decompress(whole.body) == ask().body
    with pytest.raises(EOFError):
        gzip.decompress(truncated.body)
    assert zlib.decompressobj(wbits=31).decompress(truncated.body) == ask().body


def chunks_on_the_wire(url, fault):
    """The HTTP chunks of an answer."""
    address = urlsplit(url)
    body = json.dumps({**ASKS[CHAT], "stream": True}).encode()
    head = f"POST {address.path}{CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{HEADER}: {fault}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + body)
        raw = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    rest = raw.partition(b"\r\n\r\n")[2]
    chunks = []
    while (size := int(rest.partition(b"\r\n")[0], 16)) > 0:
        rest = rest.partition(b"\r\n")[2]
        chunks.append(rest[:size])
        rest = rest[size + 2 :]
    return chunks


def test_one_byte_is_one_chunk(server, ask):
    chunks = chunks_on_the_wire(server.url, "one-byte")
    assert {len(chunk) for chunk in chunks} == {1}
    assert b"".join(chunks) == ask().body


def test_characters_are_split_between_chunks(server):
    chunks = chunks_on_the_wire(server.url, "split-utf8")
    assert sum(chunk.endswith(b"\xf0") for chunk in chunks) == b"".join(chunks).count("😀".encode()) > 3


def test_an_emoji_is_halved_between_two_events(ask):
    for path in ASKS:
        deltas = [event.data for event in ask("split-emoji", path).events]
        first = next(at for at, data in enumerate(deltas) if "\\ud83d" in data)
        assert "\\ude00" in deltas[first + 1]
        assert "\\ud83d" not in deltas[first + 1]


def test_a_line_separator_is_raw_in_the_json(ask):
    assert "\u2028".encode() in ask("u2028").body


def test_a_stall_lasts_and_ends(ask):
    begun = time.monotonic()
    answer = ask("stall=3,200ms; stall-byte=900,100ms; slow-headers=100ms")
    assert time.monotonic() - begun > 0.4
    assert answer.body == ask().body


@pytest.mark.parametrize("path", ASKS)
def test_malformed_json_stands_in_place_of_one_event(ask, path):
    plain, broken = ask("", path).events, ask("malformed=3", path).events
    assert [at for at, (one, other) in enumerate(zip(plain, broken, strict=True)) if one != other] == [3]
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[3].data)


@pytest.mark.parametrize("path", ASKS)
@pytest.mark.parametrize("shape", ["nested", "flat", "string", "object", "event"])
def test_an_error_comes_after_so_many_events_and_ends_the_stream(ask, path, shape):
    events = ask(f"error=4,{shape}", path).events
    assert len(events) == (5 if path == RESPONSES else 6)
    error = json.loads(events[4].data)
    assert "error" in error or error.get("object") == "error" or "message" in error or events[4].type == "error"
    if path == RESPONSES and shape in ("nested", "flat"):
        assert (events[4].type, error["type"], error["sequence_number"]) == ("error", "error", 4)


def test_a_failed_response_says_so_in_its_snapshot(ask):
    failed = ask("error=4,failed", RESPONSES).chunks[-1]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["id"].startswith("resp_")


def numbers(answer):
    return [chunk.get("sequence_number") for chunk in answer.chunks]


def test_sequence_numbers_go_wrong(ask):
    def of(how):
        return numbers(ask(f"sequence={how}", RESPONSES))

    whole = numbers(ask("", RESPONSES))
    assert whole == list(range(len(whole)))
    assert of("lost") == [number for number in whole if number != 6]
    assert of("reordered")[:9] == [0, 1, 2, 3, 4, 5, 7, 6, 8]
    assert of("duplicated")[:9] == [0, 1, 2, 3, 4, 4, 5, 6, 6]
    assert set(of("missing")) == {None}


def test_keepalives_are_counted_with_the_events(ask):
    answer = ask("keepalive=4", RESPONSES)
    assert numbers(answer) == list(range(len(answer.chunks)))
    assert [event.type for event in answer.events].count("keepalive") > 3
    assert "keepalive" in [event.type for event in ask("keepalive").events]


def test_end_marks_come_as_asked_for(ask):
    def marks(how, path=CHAT):
        return [event.data for event in ask(f"done={how}", path).events if event.data.startswith("[DONE]")]

    assert (marks("on", RESPONSES), marks("on"), marks("off")) == (["[DONE]"], ["[DONE]"], [])
    assert (marks("twice"), marks("spaced")) == (["[DONE]", "[DONE]"], ["[DONE]  "])
    assert ask("done=more").events[-1].data != "[DONE]"


def test_the_reason_of_the_end_is_left_out_or_another(ask):
    def reasons(fault):
        return {choice["finish_reason"] for chunk in ask(fault).chunks for choice in chunk["choices"]}

    assert (reasons("no-finish"), reasons("finish=length")) == ({None}, {None, "length"})
    assert ask("no-finish", RESPONSES).events[-1].type == "response.output_item.done"
    ended = ask("finish=length", RESPONSES).chunks[-1]
    assert ended["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_tokens_are_counted_elsewhere(ask):
    finish, groq, every, none = (ask(f"usage={where}").chunks for where in ("finish", "x_groq", "every", "none"))
    assert finish[-1]["choices"][0]["finish_reason"] == "stop"
    assert finish[-1]["usage"] == groq[-1]["x_groq"]["usage"] == every[-1]["usage"]
    assert all("usage" in chunk for chunk in every)
    assert not any("usage" in chunk for chunk in none)
    assert ask("usage=none", RESPONSES).chunks[-1]["response"]["usage"] is None


def test_faults_add_up(ask):
    answer = ask("line-ends=crlf; comments=x; cut=2,clean")
    assert answer.body.count(b": x\r\n\r\ndata: ") == 2
    assert (len(answer.events), answer.ending) == (2, "clean")


def test_the_header_counts_before_the_script_and_that_before_the_rest():
    with Simulator(SimulatorSettings(faults=["status=500"], script=["status=404"])) as simulator:
        simulator.script("status=401")
        assert Answer(simulator.url, CHAT, "status=418").status == 418
        statuses = []
        for _ in range(3):
            connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc, timeout=PATIENCE)
            connection.request("GET", "/v1/models")
            assert connection.getresponse().status == 500
            connection.close()
            connection.request("POST", "/v1" + CHAT, json.dumps(ASKS[CHAT]))
            statuses.append(connection.getresponse().status)
            connection.close()
        assert statuses == [404, 401, 500]
        assert [received.faults for received in simulator.requests if received.method == "POST"] == [
            "status=418",
            "status=404",
            "status=401",
            "status=500",
        ]
        assert simulator.requests[0].json["model"] == "sim-1"


def test_an_upstream_that_breaks_off_is_broken_off():
    with Simulator(SimulatorSettings(drop_after=4)) as simulator, Proxy(simulator.url) as proxy:
        for fault in ("", "bom"):
            answer = Answer(proxy.url, CHAT, fault)
            assert (len(answer.events), answer.ending) == (4, "cut")


def test_the_proxy_passes_on_everything_else():
    with (
        Simulator(SimulatorSettings(require_key="k-12345678", event_ids=True)) as simulator,
        Proxy(simulator.url) as proxy,
    ):
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=PATIENCE)
        for key, status in (("k-wrong", 401), ("k-12345678", 200)):
            connection.request("GET", "/v1/models/sim-1", headers={"Authorization": f"Bearer {key}", HEADER: "bom"})
            answer = connection.getresponse()
            said = json.loads(answer.read().removeprefix(b"\xef\xbb\xbf"))
            assert (answer.status, "error" in said) == (status, status == 401)
            connection.close()


def test_a_proxy_stops_with_a_stream_open():
    with Simulator(SimulatorSettings(itl=60)) as simulator:
        with Proxy(simulator.url) as proxy:
            address = urlsplit(proxy.url)
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
            connection.request("POST", "/v1" + CHAT, json.dumps({**ASKS[CHAT], "stream": True}))
            response = connection.getresponse()
            assert response.readline()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
        connection.close()


@pytest.mark.parametrize("upstream", ["nowhere", "ftp://127.0.0.1", "http://user:pass@127.0.0.1"])
def test_a_proxy_wants_a_url_that_it_can_use(upstream):
    with pytest.raises(ValueError, match="URL"):
        Proxy(upstream)


def test_a_proxy_reaches_a_server_over_tls(tmp_path, monkeypatch):
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    body = b'data: {"choices":[]}\n\n'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + head + body)

        serving = threading.Thread(target=answer)
        serving.start()
        with Proxy(f"https://127.0.0.1:{listener.getsockname()[1]}/v1") as proxy:
            assert Answer(proxy.url, CHAT, "line-ends=cr").body == body.replace(b"\n", b"\r")
        serving.join()


@pytest.mark.parametrize("faults", [[], ["comments"]])
def test_repeated_headers_pass_the_proxy_in_both_directions(faults):
    head = b"Content-Type: text/event-stream\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVary: Origin\r\nVary: Accept\r\n"
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with listener.accept()[0] as connection:
                requests.append(connection.recv(1 << 16))
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b'Connection: close\r\n\r\ndata: {"choices":[]}\n\n')

        serving = threading.Thread(target=answer)
        serving.start()
        with Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", faults=faults) as proxy:
            address = urlsplit(proxy.url)
            with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
                connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Tag: one\r\nX-Tag: two\r\n\r\n")
                received = b""
                while piece := connection.recv(1 << 16):
                    received += piece
        serving.join()
    names = [line.split(b":")[0].lower() for line in received.partition(b"\r\n\r\n")[0].split(b"\r\n")]
    assert (names.count(b"set-cookie"), names.count(b"vary")) == (2, 2)
    assert requests[0].count(b"\r\nX-Tag: ") == 2


@pytest.mark.parametrize("size", [b"+5", b"0x5", b"-5", b"5_0"])
def test_a_chunk_size_that_is_no_hexadecimal_number_is_not_taken_for_one(size):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with listener.accept()[0] as connection:
                connection.recv(1 << 16)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                connection.sendall(head + size + b"\r\nhello\r\n0\r\n\r\n")

        serving = threading.Thread(target=answer)
        serving.start()
        with Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}/v1") as proxy:
            assert Answer(proxy.url, CHAT, "comments").ending == "cut"
        serving.join()


def test_an_error_body_is_json_with_commas_and_semicolons_in_it(ask):
    body = '{"error":{"message":"a; b, \\"c\\"","code":["x",1]}}'
    answer = ask(f"status=418,retry-after:1,body:{body}; comments=x")
    assert (answer.status, answer.body.decode()) == (418, body)
    assert ask("status=418,body:plain words").body == b"plain words"
