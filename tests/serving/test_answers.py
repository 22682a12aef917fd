"""What a server answers: the vectors of Encoder.encode, to OpenAI's own client, and a clear refusal to everything else."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from langadapt import Encoder
from langadapt.errors import DataError, PlanError
from langadapt.inference.router import choose
from langadapt.inference.scorer import Scorer
from langadapt.serving.guards import Guards, read_keys
from langadapt.serving.listening import bound

WORDS = ["नदी", "गावाजवळ", "वाहते", "आणि", "मुले", "मैदानात", "खेळत", "आहेत", "शेतकरी", "शेतात", "काम", "करतो", "बाजार", "रविवारी", "भरतो"]
TEXTS = ["नदी गावाजवळ वाहते", "hello", "", "मुले मैदानात खेळत आहेत " * 40]


@pytest.fixture(scope="module")
def served(loaded: Callable[[], Encoder], scorer: Scorer, serving: Any) -> Iterator[Any]:
    with serving(loaded(), scorer) as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("model", ["base", "tiny", "telecom", "clinical"])
@pytest.mark.parametrize("coding", ["float", "base64"])
def test_openai_client_gets_the_vectors(served: Any, client: openai.OpenAI, model: str, coding: Any) -> None:
    found = client.embeddings.create(model=model, input=TEXTS, encoding_format=coding)
    assert [one.index for one in found.data] == [0, 1, 2, 3]
    rows: list[Any] = [one.embedding for one in found.data]
    vectors = np.array([np.frombuffer(base64.b64decode(row), "<f4") if coding == "base64" else row for row in rows])
    expected = served.encoder.encode(TEXTS, adapter=None if model in ("base", "tiny") else model)
    assert np.abs(vectors - expected).max() < 1e-5
    assert found.usage.prompt_tokens == found.usage.total_tokens == served.encoder.stats.tokens
    others = served.encoder.encode(TEXTS, adapter="telecom" if model != "telecom" else None)
    assert np.abs(vectors - others).max() > 1e-2, "another model's vectors would have passed"


def test_one_text_and_fewer_dimensions(served: Any, client: openai.OpenAI) -> None:
    found = client.embeddings.create(model="base", input=TEXTS[0], dimensions=7)
    expected = served.encoder.encode(TEXTS[:1])[:, :7]
    assert np.abs(np.array(found.data[0].embedding) - expected[0] / np.linalg.norm(expected[0])).max() < 1e-5
    with pytest.raises(openai.BadRequestError, match="dimensions: 4000 of"):
        client.embeddings.create(model="base", input=TEXTS[0], dimensions=4000)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list()] == ["tiny", "telecom", "clinical", "scorer"]
    assert client.models.retrieve("telecom").owned_by == "langadapt"
    with pytest.raises(openai.NotFoundError, match="no model 'x'"):
        client.models.retrieve("x")


def test_truncated_texts_are_counted(served: Any) -> None:
    long = "मुले मैदानात खेळत आहेत " * 200
    answer = served.post("/v1/embeddings", {"input": [long, "x", long]})
    assert answer.headers["x-langadapt-truncated"] == "2"
    assert "x-langadapt-truncated" not in served.post("/v1/embeddings", {"input": "x"}).headers


def test_rerank_orders_by_the_scorer(served: Any, scorer: Scorer) -> None:
    documents: list[Any] = [f"{word} {i}" for i, word in enumerate(WORDS * 10)]  # more than the scorer reads at once
    documents[3] = {"text": "एक माणूस गिटार वाजवत आहे"}
    body = {"query": "कोण गिटार वाजवतो?", "documents": documents, "top_n": 5, "return_documents": True}
    found = served.post("/rerank", body).json()["results"]
    texts = [one if isinstance(one, str) else one["text"] for one in documents]
    logits = scorer.score([("कोण गिटार वाजवतो?", text) for text in texts])
    best = np.argsort(-logits, kind="stable")[:5]
    assert [row["index"] for row in found] == best.tolist()
    assert [row["relevance_score"] for row in found] == pytest.approx((1 / (1 + np.exp(-logits[best]))).tolist(), abs=1e-5)
    assert [row["document"]["text"] for row in found] == [texts[i] for i in best]


def test_similarities_are_cosines(served: Any) -> None:
    found = served.post("/similarity", {"texts": TEXTS[:2], "others": TEXTS, "model": "clinical"}).json()["similarities"]
    assert np.abs(np.array(found) - served.encoder.similarity(TEXTS[:2], TEXTS, adapter="clinical")).max() < 1e-5
    square = served.post("/similarity", {"texts": TEXTS}).json()["similarities"]
    assert np.abs(np.array(square) - served.encoder.similarity(TEXTS)).max() < 1e-5


def test_auto_takes_the_adapter_of_the_nearest_texts(tiny: Path, tmp_path: Path, make_adapter: Any, serving: Any) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    kinds = {"river": ["नदी गावाजवळ वाहते", "नदी वाहते"], "market": ["hello market", "the market opens"]}
    for seed, (name, texts) in enumerate(kinds.items()):
        centroid = encoder.encode(texts, normalize=True).mean(0)
        encoder.add_adapter(name, make_adapter(tmp_path / name, seed, centroid=centroid))
    asked = ["नदी", "the market", "गाव", "hello"]
    with serving(encoder) as served:
        assert "auto" in [one["id"] for one in httpx.get(f"{served.url}/v1/models").json()["data"]]
        rows = served.post("/v1/embeddings", {"input": asked, "model": "auto"}).json()["data"]
    names = choose(encoder.encode(asked), encoder.centroids)
    assert set(names) == {"river", "market"}
    assert np.abs(np.array([row["embedding"] for row in rows]) - encoder.encode(asked, adapter=names)).max() < 1e-5


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("/v1/embeddings", b"", 400, "no JSON"),
        ("/v1/embeddings", b"[" * 100_000, 400, "no JSON"),
        ("/v1/embeddings", '{"input": "नदी"}'.encode("utf-16"), 400, "no JSON"),
        ("/v1/embeddings", b'{"input": "\\ud800"}', 400, "no JSON"),
        ("/v1/embeddings", b'{"input": NaN}', 400, "no JSON"),
        ("/v1/embeddings", b"3", 400, "the body: "),
        ("/v1/embeddings", b'{"input": []}', 400, "input: "),
        ("/v1/embeddings", b'{"input": [1, 2]}', 400, "token ids"),
        ("/v1/embeddings", b'{"input": [[1, 2]]}', 400, "check_embedding_ctx_length=False"),
        ("/v1/embeddings", b'{"input": ["x", null]}', 400, "input.1: "),
        ("/v1/embeddings", json.dumps({"input": ["x"] * 2049}).encode(), 400, "input: "),
        ("/v1/embeddings", b'{"input": "x", "dimensions": 0}', 400, "dimensions: "),
        ("/v1/embeddings", b'{"input": "x", "dimensions": "7"}', 400, "dimensions: "),
        ("/v1/embeddings", b'{"input": "x", "encoding_format": "hex"}', 400, "encoding_format: "),
        ("/v1/embeddings", b'{"input": "x", "modle": "base"}', 400, "modle: "),
        ("/v1/embeddings", b'{"input": "x", "model": "telcom"}', 404, "there is tiny, telecom, clinical"),
        ("/similarity", b'{"texts": "x", "model": "scorer"}', 404, "no model 'scorer'"),
        ("/similarity", json.dumps({"texts": ["x"] * 600}).encode(), 413, "cosines"),
        ("/rerank", b'{"query": "x", "documents": [{"title": "y"}]}', 400, "document 0 has no 'text'"),
        ("/rerank", b'{"query": "x", "documents": ["y"], "top_n": 0}', 400, "top_n: "),
        ("/v1/embeddings", b"x" * 8_000_001, 413, "larger than 8,000,000 bytes"),
        ("/v1/nothing", b"{}", 404, "nothing that this server answers"),
        ("/v1/models", b"{}", 405, "POST /v1/models"),
        ("/v1/adapters/x", b"{}", 405, "POST /v1/adapters"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(served: Any, path: str, content: bytes, status: int, said: str) -> None:
    answer = httpx.post(f"{served.url}{path}", content=content, timeout=30)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert len(answer.content) < 1000
    assert served.post("/v1/embeddings", {"input": "x"}).status_code == 200, "others are still served"


def test_a_wrong_method_is_told_the_right_ones(served: Any) -> None:
    assert httpx.get(f"{served.url}/rerank").headers["allow"] == "POST"
    assert set(httpx.post(f"{served.url}/v1/adapters/x").headers["allow"].split(", ")) == {"PUT", "DELETE"}


def test_the_adapter_that_is_served_stays(loaded: Callable[[], Encoder], serving: Any) -> None:
    encoder = loaded()
    encoder.default_adapter = "telecom"
    with serving(encoder, guards=Guards(admin_keys=("root",))) as served:
        answer = httpx.delete(f"{served.url}/v1/adapters/telecom", headers={"authorization": "Bearer root"})
        assert answer.status_code == 409
        found = served.post("/v1/embeddings", {"input": TEXTS}).json()["data"]
    assert np.abs(np.array([row["embedding"] for row in found]) - encoder.encode(TEXTS, adapter="telecom")).max() < 1e-5


def test_a_client_that_goes_while_it_sends(served: Any, until: Any) -> None:
    def gone() -> int:
        return sum(one["status"] == 499 for one in served.log)

    before, (host, port) = gone(), served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    until(lambda: gone() > before)


def test_another_charset_and_a_body_that_lies_about_its_length(served: Any) -> None:
    answer = httpx.post(f"{served.url}/rerank", content=b"{}", headers={"content-type": "application/json; charset=latin-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_charset")

    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 100_000

    with pytest.raises((httpx.WriteError, httpx.ReadError, AssertionError)):  # refused at once: the rest is not read
        assert httpx.post(f"{served.url}/rerank", content=endless(), timeout=30).status_code == 200


def test_the_log_holds_no_text(served: Any) -> None:
    served.post("/v1/embeddings", {"input": ["geheim"], "model": "telecom"})
    last = served.log[-1]
    assert (last["route"], last["status"], last["model"], last["texts"]) == ("/v1/embeddings", 200, "telecom", 1)
    assert last["ms"] > 0
    assert "geheim" not in json.dumps(served.log)


def test_metrics_count_what_was_done(tiny: Path, serving: Any) -> None:
    with serving(Encoder.load(tiny, device="cpu")) as served:
        for size in (1, 2, 3):
            served.post("/v1/embeddings", {"input": WORDS[:size]})
        served.post("/v1/embeddings", {"input": "x", "model": "y" * 50})
        lines = httpx.get(f"{served.url}/metrics").text.splitlines()
    assert 'langadapt_requests_total{route="/v1/embeddings",status="200"} 3.0' in lines
    assert 'langadapt_requests_total{route="/v1/embeddings",status="404"} 1.0' in lines
    assert 'langadapt_texts_total{model="base"} 6.0' in lines
    assert 'langadapt_texts_total{model="unknown"} 1.0' in lines, "callers must not name series"
    assert "langadapt_pass_texts_sum 6.0" in lines
    assert "langadapt_waiting_tokens 0.0" in lines


def test_keys(loaded: Callable[[], Encoder], folders: dict[str, Path], tmp_path: Path, serving: Any) -> None:
    (tmp_path / "keys").write_text("# ours\nabc-1\n\nabc-2\n", encoding="utf-8")
    guards = Guards(read_keys(tmp_path / "keys"), ("root",))
    body = {"path": str(folders["telecom"])}
    with serving(loaded(), guards=guards) as served:
        for key, status in ((None, 401), ("abc-", 401), ("abc-12", 401), ("abc-1", 200), ("abc-2", 200), ("root", 200)):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            answer = served.post("/v1/embeddings", {"input": "x"}, headers=headers)
            assert answer.status_code == status, key
            assert ("www-authenticate" in answer.headers) == (status == 401)
        assert httpx.get(f"{served.url}/metrics").status_code == 401
        assert httpx.get(f"{served.url}/healthz").json() == {"status": "ok"}
        for key, status in (("abc-3", 401), ("abc-1", 403), ("root", 200)):
            answer = httpx.put(f"{served.url}/v1/adapters/telecom", json=body, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
    with serving(loaded()) as served:
        answer = httpx.put(f"{served.url}/v1/adapters/telecom", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(("text", "said"), [("# none\n", "no key"), ("one two\n", "without spaces"), ("schlüssel\n", "ASCII")])
def test_files_without_keys(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "keys").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_keys(tmp_path / "keys")


def test_rates(tiny: Path, serving: Any) -> None:
    with serving(Encoder.load(tiny, device="cpu"), guards=Guards(rate="3/minute")) as served:
        answers = [served.post("/v1/embeddings", {"input": "x"}) for _ in range(5)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
        assert 30 <= int(answers[-1].headers["retry-after"]) <= 60
        made_up = {"authorization": "Bearer made-up"}
        assert served.post("/v1/embeddings", {"input": "x"}, headers=made_up).status_code == 429, "a key that nobody gave is no identity"
    with pytest.raises(PlanError, match="no rate"):
        Guards(rate="often")


def test_what_waits_has_a_limit(tiny: Path, serving: Any, until: Any) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    with serving(encoder, most_waiting=50, batch_tokens=64) as served:
        release = _held_up(served)
        first = threading.Thread(target=lambda: served.post("/v1/embeddings", {"input": WORDS * 30}))
        first.start()
        until(lambda: served.service.batcher.waiting_tokens > 50)
        answer = served.post("/v1/embeddings", {"input": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        assert httpx.get(f"{served.url}/readyz").status_code == 503
        release.set()
        first.join()
        assert served.post("/v1/embeddings", {"input": "x"}).status_code == 200


def test_a_client_that_goes_away_leaves_no_work(tiny: Path, serving: Any, until: Any) -> None:
    encoder = Encoder.load(tiny, device="cpu")
    with serving(encoder) as served:
        release = _held_up(served)
        taken = threading.Thread(target=lambda: served.post("/v1/embeddings", {"input": "first"}))
        taken.start()
        until(lambda: release.entered.is_set())  # type: ignore[attr-defined]
        body = json.dumps({"input": WORDS}).encode()
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            until(lambda: served.service.batcher.waiting_tokens > 0)
        until(lambda: any(one["status"] == 499 for one in served.log))
        release.set()
        taken.join()
        assert served.post("/v1/embeddings", {"input": "last"}).status_code == 200
        until(lambda: served.service.batcher.waiting_tokens == 0)
        lines = httpx.get(f"{served.url}/metrics").text.splitlines()
        assert "langadapt_pass_texts_sum 2.0" in lines, "the texts of whoever has gone were read"


def test_whoever_waits_too_long_is_told(tiny: Path, serving: Any) -> None:
    with serving(Encoder.load(tiny, device="cpu"), timeout=0.3) as served:
        release = _held_up(served)
        answer = served.post("/v1/embeddings", {"input": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")
        release.set()


def test_a_port_in_use(served: Any) -> None:
    with pytest.raises(PlanError, match="cannot listen at 127.0.0.1 port"):
        bound("127.0.0.1", int(served.url.rpartition(":")[2]))


class _Gate(threading.Event):
    """Holds the passes of a server up until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()


def _held_up(served: Any) -> _Gate:
    """Let no pass begin before the gate that is returned is set."""
    gate, module = _Gate(), served.encoder._module

    def wait(*_: Any) -> None:
        gate.entered.set()
        gate.wait(30)

    module.model.register_forward_pre_hook(wait)
    return gate
