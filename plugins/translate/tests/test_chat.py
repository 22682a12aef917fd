"""The HTTP engine against a real server on this machine that refuses, errs and babbles before it answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langadapt_translate.chat import Chat

from langadapt.contracts.component import Context
from langadapt.errors import DataError


class Server(ThreadingHTTPServer):
    """Says every sentence in capitals; `faults` are served first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[tuple[int, str]] = []
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.times.append(time.monotonic())
            server.seen.append(body)
            server.keys.append(self.headers.get("Authorization", ""))
            code, text = server.faults.pop(0) if server.faults else (200, "")
        texts = json.loads(body["messages"][1]["content"])
        if code == 200 and not text:
            text = "```json\n" + json.dumps([one.upper() for one in texts], ensure_ascii=False) + "\n```"
        answer = json.dumps({"choices": [{"message": {"content": text}}]}).encode() if code == 200 else text.encode()
        self.send_response(code)
        if code == 429:
            self.send_header("Retry-After", "0.3")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def chat(server: Server, **options: Any) -> Chat:
    return Chat(url=f"http://127.0.0.1:{server.server_port}/v1", model="toy", first_wait=0.05, **options)


TEXTS = [f"sentence é {i}" for i in range(50)]


def said(engine: Chat, texts: list[str], ctx: Context) -> list[str]:
    found = dict(engine.translate(texts, "en", "gl", ctx))
    return [found[i].text for i in range(len(texts))]


def test_answers_in_order_with_a_key(server: Server, here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "secret")
    engine = chat(server, key_variable="TOY_KEY", sentences=7)
    assert said(engine, TEXTS, here) == [text.upper() for text in TEXTS]
    assert set(server.keys) == {"Bearer secret"}
    assert "secret" not in json.dumps(engine.identity())
    assert {len(json.loads(body["messages"][1]["content"])) for body in server.seen} == {7, 1}


def test_refusals_are_retried_as_the_server_asks(server: Server, here: Context) -> None:
    server.faults = [(429, "slow down"), (503, "busy"), (500, "oops")]
    start = time.monotonic()
    assert said(chat(server, parallel=1, sentences=50), TEXTS, here) == [text.upper() for text in TEXTS]
    assert time.monotonic() - start > 0.3
    assert len(server.seen) == 4


def test_an_answer_that_does_not_count_is_asked_for_in_halves(server: Server, here: Context) -> None:
    server.faults = [(200, '["only one"]'), (200, "Sure! Here are your translations.")]
    assert said(chat(server, parallel=1, sentences=10), TEXTS[:10], here) == [text.upper() for text in TEXTS[:10]]


def test_the_rate_is_kept(server: Server, here: Context) -> None:
    said(chat(server, sentences=10, requests_per_minute=600), TEXTS, here)
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) > 0.05


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ([(401, "no such key")], "HTTP 401: no such key"),
        ([(503, "busy")] * 9, "HTTP 503: busy"),
        ([(200, "never")] * 20, "does not answer with a JSON array"),
    ],
)
def test_an_end_to_patience(faults: list[tuple[int, str]], told: str, server: Server, here: Context) -> None:
    server.faults = faults
    with pytest.raises(DataError, match=told):
        said(chat(server, retries=2, parallel=1, sentences=4), TEXTS[:4], here)


def test_no_server(here: Context) -> None:
    with pytest.raises(DataError, match="did not answer"):
        list(Chat(url="http://127.0.0.1:9/v1", model="toy", retries=1, first_wait=0.01).translate(["a"], "en", "gl", here))
