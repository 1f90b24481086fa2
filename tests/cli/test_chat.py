"""`unspool chat` on a terminal: conversations, commands, and everything that keys and signals do to it."""

from __future__ import annotations

import json
import signal
import socket
import stat

import pytest

from support.server import then_reset, then_silence
from support.waiting import PATIENCE
from support.wire import end, error, head, piece, start, stream
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .chatting import Person
from .test_conversation import request
from .test_terminal import HOSTILE
from .test_tools import CALL, WEATHER, calls

PROMPT = "\x1b[0;1m>"
# What makes a terminal do something that we never ask of it; our own sequences have other letters.
_EVIL = (b"\x1b]52", b"\x1b]8;;http://x", b"\x1b[2J", b"\x9b2J", "\u202e".encode(), b"\x07")


@pytest.fixture
def converse(unspool):
    """Begin a chat with a server at a terminal."""
    people = []

    def begin(server, *arguments, **options):
        unspool.env.update(OPENAI_API_KEY="sk-0123456789", UNSPOOL_API="chat", UNSPOOL_MODEL="m")
        if server is not None:
            unspool.env["OPENAI_BASE_URL"] = server.url
        people.append(Person(unspool, "chat", "--retries", "0", *arguments, **options))
        return people[-1]

    yield begin
    for person in people:
        person.close()


def leave(person):
    person.type("\x04")
    assert person.leaves() == 0
    assert person.is_restored
    assert not person.brackets_pastes


def test_the_prompts_of_a_chat_are_one_conversation(unspool, converse, serve):
    server = serve(stream("chat", "Hello."), stream("chat", "Ada."))
    person = converse(server, "-s", "Be brief")
    person.answers("My name is Ada\r", "Hello.")
    person.answers("Who am I?\r", "Ada.")
    leave(person)
    assert server.requests[1].json["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "My name is Ada"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who am I?"},
    ]
    first, second = unspool.journals()
    assert request(unspool, 1)["parent"] == first.stem
    assert f"unspool chat --cid {second.stem[-6:]} continues" in person.text
    exported = unspool("export").stdout.decode()
    assert "My name is Ada" in exported
    assert "Ada." in exported


def test_it_begins_with_one_line_that_names_the_server_that_is_asked(converse, serve):
    server = serve(b"")
    person = converse(server)
    person.asks()
    place = server.url.split("/")[2]
    assert person.lines[:2] == [f"unspool: m at {place}; /help lists the commands", ">"]


def test_a_server_of_the_profile_itself_is_called_by_the_name_of_that(converse, unspool):
    unspool.env["OPENAI_BASE_URL"] = "https://eu.api.openai.com/v1"
    person = converse(None, "--key", "k", "-m", "m")
    person.asks()
    assert person.lines[0] == "unspool: m at openai; /help lists the commands"


def test_help_is_one_screen_of_eighty_columns(converse, serve):
    person = converse(serve(b""))
    person.resize(80, 24)
    person.answers("/help\r", "/model", "//x sends /x.")
    assert any(line.startswith("/model") for line in person.lines)
    assert any(line.startswith("/quit") for line in person.lines)


def test_a_conversation_goes_on_by_its_id_and_shows_where_it_was(unspool, converse, serve):
    server = serve(stream("chat", "Hello."), stream("chat", "Other."), stream("chat", "Ada."))
    for prompt in ("My name is Ada", "Something else"):
        unspool("--base-url", server.url, "--api", "chat", "-m", "m", "--key", "k", prompt)
    person = converse(None, "--cid", unspool.journals()[0].stem[-6:], "--key", "k")
    person.asks()
    assert person.lines[1:3] == ["> My name is Ada", "Hello."]
    person.answers("Who am I?\r", "Ada.")
    leave(person)
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["My name is Ada", "Hello.", "Who am I?"]
    assert request(unspool, 2)["parent"] == unspool.journals()[0].stem


def test_a_prompt_on_the_command_line_is_asked_first(converse, serve):
    server = serve(stream("chat", "Hello."))
    person = converse(server, "Hi", "there")
    person.shows("Hello.")
    person.asks()
    assert server.requests[0].json["messages"] == [{"role": "user", "content": "Hi there"}]


# Lines


@pytest.mark.parametrize("keys", ["one\x1b\rtwo\r", "one\ntwo\r", "one\\\rtwo\r", '"""one\rtwo"""\r'])
def test_a_prompt_may_have_several_lines(converse, serve, keys):
    server = serve(stream("chat", "Hello."))
    converse(server).answers(keys, "Hello.")
    assert server.requests[0].json["messages"][0]["content"] == "one\ntwo"


def test_with_multi_enter_makes_a_line_and_alt_enter_sends(converse, serve):
    server = serve(stream("chat", "Hello."))
    person = converse(server)
    person.answers("/multi\r", "Alt-Enter sends")
    person.answers("one\rtwo\x1b\r", "Hello.")
    assert server.requests[0].json["messages"][0]["content"] == "one\ntwo"


def test_a_pasted_text_of_two_hundred_lines_is_one_prompt(converse, serve):
    server = serve(stream("chat", "Hello."))
    person = converse(server)
    text = "\n".join(f"line {number} of what was pasted" for number in range(200))
    person.asks()
    person.paste(text)
    person.shows("line 199 of")
    assert not server.requests
    person.type("\r")
    person.shows("Hello.")
    assert server.requests[0].json["messages"][0]["content"] == text


def test_a_prompt_can_be_written_in_the_editor(unspool, converse, serve):
    server = serve(stream("chat", "Hello."))
    unspool.env["EDITOR"] = "sh -c 'echo from the editor >> \"$0\"'"
    person = converse(server)
    person.asks()
    person.type("begun\x18\x05")
    person.shows("from the editor")
    person.answers("\r", "Hello.")
    assert server.requests[0].json["messages"][0]["content"] == "begun\nfrom the editor"


def test_the_editor_has_the_terminal_as_it_was(unspool, converse, serve):
    unspool.env["EDITOR"] = "sh -c 'stty -a > mode; echo x > \"$0\"'"
    person = converse(serve(b""), cwd=unspool.home)
    person.asks()
    person.type("\x18\x05")
    person.shows("> x")
    mode = (unspool.home / "mode").read_text().split()
    assert {"echo", "icanon", "isig", "icrnl", "-noflsh"} <= set(" ".join(mode).replace(";", "").split())


# The file of prompts


def test_prompts_are_kept_for_the_next_chat_once_each_and_for_nobody_else(unspool, converse, serve):
    server = serve(stream("chat", "Hello."))
    person = converse(server)
    for prompt in ("first one", "second", "first one"):
        person.answers(f"{prompt}\r", "Hello.")
    person.answers("the key is sk-0123456789\r", "Hello.")
    leave(person)
    kept = unspool.home / "state" / "chat_history"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert b"sk-0123456789" not in kept.read_bytes()
    person = converse(server)
    person.asks()
    person.type("\x12econ")
    person.shows("I-search backward: econ")
    person.type("\x07\x1b[A\x1b[A\x1b[A")
    person.shows("> second")
    person.type("\x1b[A\x1b[A")
    leave_line(person)


@pytest.mark.parametrize("more", [(), ("-n",)], ids=["kept", "not saved"])
def test_the_arrow_brings_the_prompt_of_the_command_line_back(unspool, converse, serve, more):
    person = converse(serve(stream("chat", "Hello.")), *more, "asked outside")
    person.shows("Hello.")
    person.asks()
    person.type("\x1b[A\x05, and more")
    person.shows("> asked outside, and more")
    leave_line(person)
    kept = unspool.home / "state" / "chat_history"
    assert (kept.read_text().splitlines() if kept.exists() else []) == ([] if more else ['"asked outside"'])


def leave_line(person):
    person.type("\x03")
    leave(person)


def test_nothing_is_kept_where_that_is_wanted(unspool, converse, serve):
    person = converse(serve(stream("chat", "Hello.")), "-n")
    person.answers("Hi\r", "Hello.")
    person.answers("And?\r", "Hello.")
    leave(person)
    assert list((unspool.home / "state").rglob("*")) == [] if (unspool.home / "state").exists() else True
    assert "continues this" not in person.text


# While an answer streams


def test_what_is_typed_while_an_answer_streams_waits_for_the_next_prompt(converse, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python is")), stream("chat", "Hello."))
    person = converse(server)
    person.asks()
    person.type("Tell me\r")
    person.shows("Python is")
    person.type("and what is Ru")
    server.requests[0].send(piece("chat", " a language.\n") + end("chat"))
    person.shows("> and what is Ru")
    at = person.lines.index("Python is a language.")
    assert [line for line in person.lines[at + 1 :] if line] == ["> and what is Ru"]
    person.type("by?\r")
    person.shows("Hello.")
    assert server.requests[1].json["messages"][-1]["content"] == "and what is Ruby?"


def test_a_line_that_was_typed_ahead_is_sent(converse, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python is")), stream("chat", "Hello."))
    person = converse(server)
    person.asks()
    person.type("Tell me\r")
    person.shows("Python is")
    person.type("Thanks\r")
    server.requests[0].send(end("chat"))
    person.shows("Hello.")
    assert server.requests[1].json["messages"][-1]["content"] == "Thanks"


def test_a_line_that_was_typed_ahead_of_a_failure_waits(converse, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python is")))
    person = converse(server)
    person.asks()
    person.type("Tell me\r")
    person.shows("Python is")
    person.type("Thanks\r")
    server.requests[0].socket.shutdown(socket.SHUT_RDWR)
    person.shows("> Thanks")
    person.type("!")
    person.shows("  !")
    assert len(server.requests) == 1


def test_a_paste_while_an_answer_streams_is_one_prompt_and_whole(converse, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python is")), stream("chat", "Hello."))
    person = converse(server)
    person.asks()
    person.type("Tell me\r")
    person.shows("Python is")
    text = "\n".join(f"line {number} of what was pasted" for number in range(1000))
    person.paste(text)
    server.requests[0].send(end("chat"))
    person.shows("line 999 of")
    assert len(server.requests) == 1
    person.answers("\r", "Hello.")
    assert server.requests[1].json["messages"][-1]["content"] == text


def test_ctrl_c_stops_the_answer_and_keeps_what_came(unspool, converse, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python is")), stream("chat", "Hello."))
    person = converse(server)
    person.asks()
    person.type("Tell me\r")
    person.shows("Python is")
    person.type("\x03\x03\x03")
    person.shows("stopped; what arrived stays in the conversation")
    person.asks()
    assert server.requests[0].hung_up.wait(PATIENCE)
    person.answers("Go on\r", "Hello.")
    leave(person)
    assert [one["content"] for one in server.requests[1].json["messages"]] == ["Tell me", "Python is", "Go on"]
    assert '"outcome":"cancelled"' in unspool.journals()[0].read_text()
    assert request(unspool, 1)["parent"] == unspool.journals()[0].stem


def test_ctrl_c_before_anything_came_leaves_the_conversation_as_it_was(converse, serve):
    server = serve(then_silence(head()), stream("chat", "Hello."))
    person = converse(server)
    person.asks()
    person.type("Tell me\r")
    assert server.arrived.wait(PATIENCE)
    person.type("\x03")
    person.shows("stopped before anything arrived")
    person.answers("Hi\r", "Hello.")
    assert [one["content"] for one in server.requests[1].json["messages"]] == ["Hi"]


def test_resizing_while_an_answer_streams_loses_nothing(converse):
    with Simulator(SimulatorSettings(itl=0.002)) as simulator:
        person = converse(simulator)
        person.asks()
        person.type("a story in 600 tokens\r")
        person.sees("Paragraph 2")
        # The emulator does not reflow: what is larger shows all that was there.
        for columns, rows in ((110, 24), (130, 30), (150, 40)):
            person.resize(columns, rows)
            person.sees("Paragraph", len(person.said))
        person.asks()
        leave(person)
    text = " ".join(" ".join(person.everything).split())
    assert [f"Paragraph {number} has" in text for number in range(1, 8)] == [True] * 7


def test_an_answer_of_five_thousand_lines_is_all_there(converse, serve):
    text = "".join(f"- point {number}\n" for number in range(5000))
    person = converse(serve(stream("chat", *(text[at : at + 4000] for at in range(0, len(text), 4000)))))
    person.answers("Tell me\r", "point 4999")
    leave(person)
    points = [line.split()[-1] for line in person.everything if "point " in line]
    assert points == [str(number) for number in range(5000)]


# What goes wrong


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        (error(429, "Slow down."), "rate limited: Slow down"),
        (error(400, "No such thing."), "bad request: No such thing"),
        (then_reset(head() + start("chat") + piece("chat", "Pyth")), "cut: "),
    ],
    ids=["429", "400", "cut"],
)
def test_a_turn_that_fails_leaves_the_conversation_as_it_was(unspool, converse, serve, failing, words):
    server = serve(stream("chat", "Hello."), failing, stream("chat", "Ada."))
    person = converse(server)
    person.answers("I am Ada\r", "Hello.")
    person.answers("Who am I?\r", words, "/retry asks again")
    person.answers("/retry\r", "Ada.")
    leave(person)
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["I am Ada", "Hello.", "Who am I?"]
    assert request(unspool, 2)["parent"] == unspool.journals()[0].stem


def test_a_retry_that_fails_keeps_the_answer_there_was(converse, serve):
    server = serve(stream("chat", "Hello."), error(429, "Slow down."), stream("chat", "Ada."))
    person = converse(server)
    person.answers("I am Ada\r", "Hello.")
    person.answers("/retry\r", "Slow down")
    person.answers("Who am I?\r", "Ada.")
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["I am Ada", "Hello.", "Who am I?"]


def test_without_a_key_it_says_so_at_once(unspool):
    terminal = unspool.on_terminal("chat")
    assert (terminal.code, b"no API key for openai" in terminal.output) == (3, True)


# Leaving


def test_ctrl_c_clears_the_line_and_twice_on_an_empty_one_leaves(converse, serve):
    server = serve(stream("chat", "Hello."))
    person = converse(server)
    person.asks()
    person.type("nonsense\x03")
    person.type("\x03")
    person.shows("press Ctrl-C again to leave")
    person.answers("Hi\r", "Hello.")
    assert server.requests[0].json["messages"][0]["content"] == "Hi"
    person.type("\x03\x03")
    assert person.leaves() == 0
    assert person.is_restored


@pytest.mark.parametrize("words", ["/quit", "/exit", "/bye", "exit", "quit"])
def test_words_that_leave(converse, serve, words):
    person = converse(serve(b""))
    person.asks()
    person.type(words + "\r")
    assert person.leaves() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt_leaves_the_terminal_as_it_was(converse, serve, number):
    person = converse(serve(stream("chat", "Hello.")))
    person.answers("Hi\r", "Hello.")
    person.type("half a")
    person.shows("> half a")
    person.child.send_signal(number)
    assert person.leaves() == 128 + number
    assert person.is_restored
    assert not person.brackets_pastes
    assert "continues this conversation" in person.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_an_answer_streams_leaves_the_terminal_as_it_was(unspool, converse, serve, number):
    person = converse(serve(then_silence(head() + start("chat") + piece("chat", "Python is"))))
    person.asks()
    person.type("Tell me\r")
    person.shows("Python is")
    person.child.send_signal(number)
    assert person.leaves() == 128 + number
    assert person.is_restored
    assert not person.brackets_pastes
    assert '"outcome":"cancelled"' in unspool.journal()


def test_a_window_that_is_closed_ends_the_chat(converse, serve):
    person = converse(serve(b""))
    person.asks()
    person.hang_up()
    assert person.child.wait(PATIENCE) in (0, 129, -signal.SIGHUP)


# Being stopped


@pytest.mark.parametrize("streaming", [False, True], ids=["at the prompt", "while an answer streams"])
def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(converse, serve, streaming):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python is")), stream("chat", "Hello."))
    person = converse(server, stoppable=True)
    person.asks()
    if streaming:
        person.type("Tell me\r")
        person.shows("Python is")
    person.type("\x1a")
    person.stops()
    assert person.is_restored
    assert not person.brackets_pastes
    person.goes_on()
    if streaming:
        person.awaits_quiet()
        person.type("secret")
        server.requests[0].send(piece("chat", " nice.\n") + end("chat"))
        person.shows("> secret")
        assert "secret" not in "".join(line for line in person.lines if "nice" in line)
        leave_line(person)
    else:
        person.asks()
        person.type("Hi\r")
        person.shows("Python is")
        person.type("\x03")
        person.asks()
        leave(person)


# Hostile text


def test_nothing_foreign_reaches_the_terminal_unmade_safe(unspool, converse, serve):
    listed = head(type="application/json") + json.dumps({"data": [{"id": f"evil{HOSTILE}"}]}).encode()
    (unspool.home / "evil\x1b]52;c;cm0=\x07\u202e").write_text("x")
    history = unspool.home / "state" / "chat_history"
    history.parent.mkdir()
    history.write_text(json.dumps(f"remembered {HOSTILE}") + "\n")
    person = converse(serve(listed, stream("chat", HOSTILE)), "-s", HOSTILE, cwd=unspool.home)
    person.asks()
    person.type("\x1b[A")
    person.shows("> remembered")
    person.type("\x03")
    person.paste(f"pasted {HOSTILE}")
    person.shows("> pasted")
    person.type("\x03/model ev")
    person.shows("evil")
    person.settles()
    person.type("\t")
    person.shows("/model evil")
    person.type("\x03/file ev")
    person.shows("> /file ev")
    person.settles()
    person.type("\t")
    person.shows("/file evil")
    person.type("\x03")
    person.answers("Hi\r", "over")
    for command, cue in (("/history", "> Hi"), ("/system", "never ends"), ("/last", "over"), ("/raw", "over")):
        person.answers(f"{command}\r", cue)
    person.answers("/save evil\x16\x1b[2J\r", "saved")
    leave(person)
    assert [evil for evil in _EVIL if evil in person.said] == []


def test_no_colour_and_a_dumb_terminal_still_chat(unspool, converse, serve):
    unspool.env["NO_COLOR"] = "1"
    person = converse(serve(stream("chat", "**Hello.**")))
    person.answers("Hi\r", "Hello.")
    leave(person)
    assert b";3" not in person.said
    person = converse(serve(stream("chat", "**Hello.**"), stream("chat", "Ada.")), term="dumb")
    person.shows(">")
    person.type("Hx\x7fi\n")
    person.shows("Hello.")
    person.type("Who?\n")
    person.shows("Ada.")
    assert b"\x1b" not in person.said
    person.type("\x04")
    assert person.leaves() == 0
    assert person.is_restored


def test_the_rest_of_a_cut_answer_is_had_and_the_conversation_goes_on_with_the_whole(unspool, converse, serve):
    cut = then_reset(head() + start("chat") + piece("chat", "Ada Lovelace was a mathe"))
    server = serve(stream("chat", "Hello."), cut, stream("chat", "matician."), stream("chat", "In 1815."))
    person = converse(server)
    person.answers("I am Ada\r", "Hello.")
    person.answers("Who was I?\r", "cut: ", "/resume gets the rest, and /retry asks again")
    person.answers("/resume\r", "Ada Lovelace was a mathe", "matician.")
    person.answers("Born when?\r", "1815")
    leave(person)
    asked_again, after = (server.requests[number].json["messages"] for number in (2, 3))
    assert [one["content"] for one in asked_again[:-1]] == [
        "I am Ada",
        "Hello.",
        "Who was I?",
        "Ada Lovelace was a mathe",
    ]
    whole = "Ada Lovelace was a mathematician."
    assert [one["content"] for one in after] == ["I am Ada", "Hello.", "Who was I?", whole, "Born when?"]
    assert request(unspool, 2)["parent"] == unspool.journals()[1].stem
    assert request(unspool, 3)["parent"] == unspool.journals()[2].stem


def test_an_answer_that_is_cut_twice_is_resumed_twice(converse, serve):
    first = then_reset(head() + start("chat") + piece("chat", "One, two, "))
    second = then_reset(head() + start("chat") + piece("chat", "three, "))
    server = serve(first, second, stream("chat", "four."), stream("chat", "Five."))
    person = converse(server)
    person.answers("Count\r", "/resume gets the rest")
    person.answers("/resume\r", "three,", "/resume gets the rest")
    person.answers("/resume\r", "four.")
    person.answers("And?\r", "Five.")
    assert [one["content"] for one in server.requests[3].json["messages"]] == [
        "Count",
        "One, two, three, four.",
        "And?",
    ]


def test_the_rest_of_an_answer_can_be_had_after_a_failure_brought_nothing(converse, serve):
    cut = then_reset(head() + start("chat") + piece("chat", "One, two, "))
    server = serve(cut, error(429, "Slow down."), stream("chat", "three."))
    person = converse(server)
    person.answers("Count\r", "/resume gets the rest")
    person.answers("/resume\r", "Slow down", "/retry asks again")
    person.answers("/resume\r", "three.")
    assert [one["content"] for one in server.requests[2].json["messages"][:-1]] == ["Count", "One, two, "]


def test_an_answer_at_its_token_limit_goes_on(converse, serve):
    limited = stream("chat", "One, two, ", reason="length")
    server = serve(limited, stream("chat", "three."), stream("chat", "Four."))
    person = converse(server)
    person.answers("Count\r", "stopped at the token limit (length); /resume continues it, and /set max_tokens N allows")
    person.answers("/resume\r", "three.")
    person.answers("And?\r", "Four.")
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["Count", "One, two, three.", "And?"]


def test_an_answer_that_was_stopped_goes_on(converse, serve):
    begun = then_silence(head() + start("chat") + piece("chat", "One, two, "))
    server = serve(begun, stream("chat", "three."), stream("chat", "Four."))
    person = converse(server)
    person.asks()
    person.type("Count\r")
    person.sees("One, two,")
    person.type("\x03")
    person.sees("stopped; what arrived stays in the conversation")
    person.answers("/resume\r", "three.")
    person.answers("And?\r", "Four.")
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["Count", "One, two, three.", "And?"]


def test_a_file_for_the_next_prompt_waits_while_the_last_answer_is_resumed(converse, serve, tmp_path):
    (tmp_path / "notes.md").write_text("a")
    cut = then_reset(head() + start("chat") + piece("chat", "One, two, "))
    server = serve(cut, stream("chat", "three."), stream("chat", "Four."))
    person = converse(server)
    person.answers("Count\r", "/resume gets the rest")
    person.answers(f"/file {tmp_path}/notes.md\r", "is attached to the next prompt")
    person.answers("/resume\r", "three.")
    person.answers("And?\r", "Four.")
    assert server.requests[2].json["messages"][-1]["content"].startswith("File notes.md:")


def test_a_conversation_that_ended_in_a_cut_answer_is_resumed_in_a_later_chat(unspool, converse, serve):
    cut = then_reset(head() + start("chat") + piece("chat", "One, two, "))
    server = serve(cut, stream("chat", "three."), stream("chat", "Four."))
    unspool.env |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-0123456789"}
    unspool("--api", "chat", "-m", "m", "--retries", "0", "Count")
    person = converse(server, "-c")
    person.answers("/resume\r", "One, two, ", "three.")
    person.answers("And?\r", "Four.")
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["Count", "One, two, three.", "And?"]


@pytest.mark.parametrize(
    ("arguments", "before", "words"),
    [
        ((), None, "there is no prompt yet"),
        ((), stream("chat", "Hello."), "the last answer is complete"),
        (("--no-log",), then_reset(head() + start("chat") + piece("chat", "Hel")), "is not saved"),
    ],
    ids=["nothing", "whole", "not saved"],
)
def test_where_there_is_no_rest_it_says_so(converse, serve, arguments, before, words):
    server = serve(*([before] if before is not None else [stream("chat", "Hello.")]))
    person = converse(server, *arguments)
    if before is not None:
        person.answers("Hi\r", "Hel")
    person.answers("/resume\r", words)
    assert len(server.requests) == (before is not None)


def test_the_rest_of_a_background_response_is_that_of_the_same_answer(unspool, converse, serve):
    begun = then_silence(head() + start("responses") + piece("responses", "Ada Lovelace was a mathe"))
    rest = head() + piece("responses", "matician.") + end("responses")
    server = serve(begun, rest, stream("responses", "In 1815."))
    person = converse(server, "--api", "responses", "--background", "--timeout", "1")
    person.answers("Who was I?\r", "cut: ", "/resume gets the rest")
    person.answers("/resume\r", "Ada Lovelace was a mathematician.")
    person.answers("Born when?\r", "1815")
    leave(person)
    assert [one.method for one in server.requests] == ["POST", "GET", "POST"]
    assert len(unspool.journals()) == 2
    said = [one["content"] for one in server.requests[2].json["input"]]
    assert said == ["Who was I?", "Ada Lovelace was a mathematician.", "Born when?"]


# Schemas and tools


def test_each_answer_follows_the_schema_of_the_chat(converse, serve):
    server = serve(stream("chat", '{"a": 1}'), stream("chat", '{"a": "x"}'))
    person = converse(server, "--schema", "a int")
    person.answers("one\r", '{"a": 1}')
    person.answers("two\r", "does not follow the schema")
    assert [one.json["response_format"]["type"] for one in server.requests] == ["json_schema"] * 2


def test_the_result_of_a_tool_is_given_and_the_model_continues(converse, serve, tmp_path):
    (tmp_path / "weather.json").write_text(json.dumps(WEATHER))
    server = serve(calls("chat", CALL), stream("chat", "It rains."), stream("chat", "Bye."))
    person = converse(server, "--tool", str(tmp_path / "weather.json"))
    person.answers("Weather?\r", "the model calls the tool weather", "/result TEXT")
    person.answers("And now?\r", "the model waits for a result of weather")
    assert len(server.requests) == 1
    person.answers("/result rain\r", "It rains.")
    person.answers("Thanks\r", "Bye.")
    person.answers("/result more\r", "no tool call is waiting for a result")
    leave(person)
    said = server.requests[2].json["messages"]
    assert [one["role"] for one in said] == ["user", "assistant", "tool", "assistant", "user"]
    assert (said[2]["tool_call_id"], said[2]["content"]) == ("call_1", "rain")
    assert said[1]["tool_calls"][0]["function"]["name"] == "weather"
    assert [one["function"]["name"] for one in server.requests[1].json["tools"]] == ["weather"]


def test_of_several_calls_each_gets_its_own_result(converse, serve, tmp_path):
    (tmp_path / "weather.json").write_text(json.dumps(WEATHER))
    server = serve(calls("chat", CALL, ("call_2", "clock", "{}")), stream("chat", "Noon, and rain."))
    person = converse(server, "--tool", str(tmp_path / "weather.json"))
    person.answers("Weather?\r", "/result NAME TEXT")
    person.answers("/result noon\r", "which call?")
    person.answers("/result clock noon\r")
    person.answers("/result weather rain\r", "Noon, and rain.")
    results = {
        one["tool_call_id"]: one["content"]
        for one in server.requests[1].json["messages"]
        if "content" in one and one["role"] == "tool"
    }
    assert results == {"call_1": "rain", "call_2": "noon"}


def test_a_question_that_was_edited_is_shown(unspool, converse, serve):
    server = serve(stream("chat", "One."), stream("chat", "Two."))
    unspool.env["EDITOR"] = "sh -c 'echo in the editor > \"$0\"'"
    person = converse(server)
    person.answers("typed\r", "One.")
    person.answers("/edit\r", "> in the editor", "Two.")
    assert server.requests[1].json["messages"][0]["content"] == "in the editor"


def test_help_in_a_small_window_names_the_commands_and_explains_one(converse, serve):
    person = converse(serve(b""))
    person.resize(60, 16)
    person.answers("/help\r", "/help NAME explains a command")
    assert len([line for line in person.lines if line]) <= 16
    person.answers("/help save\r", "save the conversation as Markdown")
