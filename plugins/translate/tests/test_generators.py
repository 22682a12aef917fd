"""Questions by a chat endpoint or a file: a real server that refuses first, memory, and pairs that a build trains on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from langadapt.contracts import Context, PairReader, Resource
from langadapt.errors import DataError, RegistryError
from langadapt.planning.pinning import pin_paths
from langadapt.registry.registry import Registry

TEXTS = ["एक माणूस गिटार वाजवत आहे", "आज पाऊस पडला आणि शाळा बंद आहे", "शेतकरी शेतात काम करतो"]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with server.lock:
            server.seen.append(prompt)
            refused = len(server.seen) == 1
        text = f"  काय\n{prompt.rpartition(' ')[2]}? "
        answer = b"busy" if refused else json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(503 if refused else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[Any]:
    found: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.seen, found.lock = [], threading.Lock()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def resource(path: Path, kind: str) -> Resource:
    found = Resource.model_validate({"name": path.stem, "format": kind, "sources": {"path": {"paths": [str(path)]}}})
    return found.model_copy(update={"pinned": pin_paths(found, (path,), "here")})


@pytest.fixture
def corpus(tmp_path: Path) -> Resource:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*TEXTS, TEXTS[0], ""]) + "\n", encoding="utf-8")
    return resource(path, "text")


def test_a_question_a_text_and_none_asked_twice(server: Any, registry: Registry, corpus: Resource, tmp_path: Path) -> None:
    endpoint = {"use": "openai-compatible", "url": f"http://127.0.0.1:{server.server_port}/v1", "model": "toy", "first_wait": 0.05}
    reader = registry.make(PairReader, {"use": "generated", "data": corpus, "generator": endpoint, "prompt": "Ask: {text}"})
    ctx = Context(cache=tmp_path / "cache")
    rows = list(reader.pairs(None, ctx))
    assert [row["positive"] for row in rows] == TEXTS
    assert [row["anchor"] for row in rows] == [f"काय {text.rpartition(' ')[2]}?" for text in TEXTS]
    assert sorted(set(server.seen)) == sorted(f"Ask: {text}" for text in TEXTS)
    asked = len(server.seen)
    assert asked == 4  # one was refused at first
    assert list(reader.pairs(None, ctx)) == rows
    assert len(server.seen) == asked
    other = registry.make(PairReader, {"use": "generated", "data": corpus, "generator": endpoint, "prompt": "Another: {text}"})
    list(other.pairs(None, ctx))
    assert len(server.seen) == asked + 3


def test_answers_from_a_file(registry: Registry, corpus: Resource, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [json.dumps({"prompt": f"Ask: {text}", "answer": f"काय {i}?"}, ensure_ascii=False) for i, text in enumerate(TEXTS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    slot = {"use": "generated", "data": corpus, "generator": {"use": "file", "data": resource(path, "text")}, "prompt": "Ask: {text}"}
    found = list(registry.make(PairReader, slot).pairs(None, Context(cache=tmp_path / "a")))
    assert [row["anchor"] for row in found] == ["काय 0?", "काय 1?", "काय 2?"]
    path.write_text(lines[0] + "\n", encoding="utf-8")
    short = {**slot, "generator": {"use": "file", "data": resource(path, "text")}}
    with pytest.raises(DataError, match="there is no answer to 'Ask: आज"):
        list(registry.make(PairReader, short).pairs(None, Context(cache=tmp_path / "b")))


def test_prompts_and_options_that_cannot_be_meant(registry: Registry, corpus: Resource, tmp_path: Path) -> None:
    endpoint = {"use": "openai-compatible", "url": "http://127.0.0.1:9/v1", "model": "toy"}
    with pytest.raises(DataError, match="no {text} in it"):
        list(
            registry.make(PairReader, {"use": "generated", "data": corpus, "generator": endpoint, "prompt": "Ask."}).pairs(None, Context())
        )
    with pytest.raises(RegistryError, match="no option 'modle'"):
        registry.make(PairReader, {"use": "generated", "data": corpus, "generator": {**endpoint, "modle": "x"}})
