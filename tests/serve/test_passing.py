"""What upstream keeps belongs to who obtained it here, where all callers share one key."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.server import Connection, Server
from support.waiting import PATIENCE
from unspool.serve.owners import hash_token, new_token

from .gateways import Running

PATHS = '["/files", "/files/*", "/batches", "/batches/*", "/vector_stores", "/vector_stores/*"]'


class Upstream:
    """Keeps files and batches under one key, as OpenAI does."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.kept: list[str] = []

    def __call__(self, connection: Connection) -> None:
        kind = connection.path.split("/")[2]
        if connection.method == "POST":
            self.kept.append(f"{kind}-{next(self.numbers)}")
            connection.reply(200, {"id": self.kept[-1], "object": kind})
        elif connection.path.endswith(f"/{kind}"):
            own = [{"id": id, "object": kind} for id in self.kept if id.startswith(kind)]
            connection.reply(200, {"object": "list", "data": own, "first_id": own[0]["id"], "last_id": own[-1]["id"]})
        else:
            connection.reply(200, {"id": connection.path.split("/")[3], "secret": True})


class Caller:
    """Asks a gateway with a token."""

    def __init__(self, gateway: Running, token: str) -> None:
        self._url = gateway.url
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, path: str, body: object) -> requests.Response:
        return requests.post(self._url + path, json=body, headers=self._headers, timeout=PATIENCE)

    def get(self, path: str) -> requests.Response:
        return requests.get(self._url + path, headers=self._headers, timeout=PATIENCE)


@pytest.fixture
def callers(tmp_path: Path) -> Iterator[tuple[Caller, Caller]]:
    tokens = {"alice": new_token(), "bob": new_token()}
    file = tmp_path / "tokens.toml"
    entry = '[[token]]\nname = "{}"\nhash = "{}"\npaths = {}\n'
    file.write_text("".join(entry.format(name, hash_token(token), PATHS) for name, token in tokens.items()))
    with Server(Upstream()) as server, Running(server.url, tmp_path / "g", key="sk-gateway", tokens=file) as gateway:
        yield Caller(gateway, tokens["alice"]), Caller(gateway, tokens["bob"])


def test_what_one_caller_obtained_is_not_there_for_another(callers: tuple[Caller, Caller]) -> None:
    alice, bob = callers
    mine = alice.post("/files", {"purpose": "batch"}).json()["id"]
    assert alice.get(f"/files/{mine}").json()["secret"]
    for path in (f"/files/{mine}", f"/files/{mine}/content", f"/files/x/../{mine}", f"/files//{mine}"):
        assert bob.get(path).status_code == 404


def test_a_list_has_only_what_its_caller_obtained(callers: tuple[Caller, Caller]) -> None:
    alice, bob = callers
    mine, his = (one.post("/files", {}).json()["id"] for one in callers)
    assert [one["id"] for one in alice.get("/files").json()["data"]] == [mine]
    assert [one["id"] for one in bob.get("/files/").json()["data"]] == [his]
    assert mine not in bob.get("/files").text


@pytest.mark.parametrize(
    "body",
    [
        {"input_file_id": "{}"},
        {"file_ids": ["{}"]},
        {"file_id": "{}"},
        {"deeper": [{"file_id": "{}"}]},
        {"previous_response_id": "{}"},
        {"conversation": {"id": "{}"}},
    ],
)
def test_a_body_names_only_what_its_caller_obtained(callers: tuple[Caller, Caller], body: dict[str, object]) -> None:
    alice, bob = callers
    mine = alice.post("/files", {}).json()["id"]
    given = json.loads(json.dumps(body).replace("{}", mine))
    assert alice.post("/batches", given).status_code == 200
    assert bob.post("/batches", given).status_code == 404


def test_metadata_may_have_any_words(callers: tuple[Caller, Caller]) -> None:
    assert callers[0].post("/batches", {"metadata": {"file_id": "mine"}}).status_code == 200
