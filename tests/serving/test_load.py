"""A server under load: nothing is lost, nobody gets another's answer, an adapter is replaced between two answers and within none."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np
import pytest

from langadapt import Encoder
from langadapt.serving.guards import Guards

WORDS = ["नदी", "गावाजवळ", "वाहते", "आणि", "मुले", "मैदानात", "खेळत", "आहेत", "शेतकरी", "शेतात", "काम", "करतो", "बाजार", "रविवारी", "भरतो"]
MODELS = ("base", "telecom", "clinical")


async def _asked_at_once(url: str, bodies: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    """Status and JSON of each, a connection each (httpx looks through all of them for every answer)."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as client:

        async def one(body: dict[str, Any]) -> tuple[int, Any]:
            async with client.post("/v1/embeddings", json=body) as answer:
                return answer.status, await answer.json()

        return await asyncio.gather(*map(one, bodies))


def test_a_thousand_at_once(loaded: Callable[[], Encoder], serving: Any) -> None:
    """Each with texts of its own, through one of three models."""
    rng = random.Random(0)
    bodies = [
        {
            "model": MODELS[i % 3],
            "encoding_format": "base64",
            "input": [" ".join(rng.choices(WORDS, k=rng.randint(1, 6))) + f" {i}" for _ in range(rng.randint(1, 3))],
        }
        for i in range(1000)
    ]
    with serving(loaded()) as served:
        answers = asyncio.run(_asked_at_once(served.url, bodies))
        passes = served.service.counting.registry.get_sample_value("langadapt_passes_total")
        assert [status for status, _ in answers] == [200] * 1000
        texts = [text for body in bodies for text in body["input"]]
        names = [None if body["model"] == "base" else body["model"] for body in bodies for _ in body["input"]]
        expected = served.encoder.encode(texts, adapter=names)  # type: ignore[arg-type]
    assert passes is not None
    assert passes < 500, "calls share passes"
    found = np.array([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for _, one in answers for row in one["data"]])
    assert np.abs(found - expected).max() < 1e-5
    assert served.service.batcher.waiting_tokens == 0


def test_a_long_request_gives_way(tiny: Path, serving: Any, until: Any) -> None:
    with serving(Encoder.load(tiny, device="cpu"), batch_tokens=256) as served:
        ended: dict[str, float] = {}

        def ask(name: str, texts: list[str]) -> None:
            assert served.post("/v1/embeddings", {"input": texts}).status_code == 200
            ended[name] = time.monotonic()

        served.encoder._module.model.register_forward_pre_hook(lambda *_: time.sleep(0.02))
        long = threading.Thread(target=ask, args=("long", WORDS * 130))
        long.start()
        until(lambda: served.service.batcher.waiting_tokens > 0)
        ask("short", ["one"])
        assert served.service.batcher.waiting_tokens > 0, "the long one was over already, which shows nothing"
        long.join()
    assert ended["short"] < ended["long"]


def test_an_adapter_is_replaced_in_one_step(
    loaded: Callable[[], Encoder], tiny: Path, tmp_path: Path, make_adapter: Any, serving: Any
) -> None:
    """No call fails meanwhile, and each is the old one's or the new one's whole."""
    versions = [make_adapter(tmp_path / f"v{i}", 10 + i) for i in range(2)]
    texts = [f"{word} {i}" for i, word in enumerate(WORDS)]
    encoder = loaded()
    expected = []
    for folder in versions:
        encoder.add_adapter("v", folder, replace=True)
        expected.append(encoder.encode(texts, adapter="v"))
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    headers = {"authorization": "Bearer root"}
    stop, problems, seen = threading.Event(), [], set()
    with serving(encoder, guards=Guards(admin_keys=("root",)), batch_tokens=64) as served:

        def ask() -> None:
            with httpx.Client(base_url=served.url, timeout=60) as client:
                while not stop.is_set():
                    answer = client.post("/v1/embeddings", json={"input": texts, "model": "v"})
                    if answer.status_code != 200:
                        problems.append(answer.text)
                        return
                    found = np.array([row["embedding"] for row in answer.json()["data"]])
                    fits = [i for i in range(2) if np.abs(found - expected[i]).max() < 1e-5]
                    seen.update(fits)
                    if len(fits) != 1:
                        problems.append("vectors of neither, or of both")

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for i in itertools.islice(itertools.cycle(range(2)), 40):
            answer = httpx.put(f"{served.url}/v1/adapters/v", json={"path": str(versions[i])}, headers=headers, timeout=60)
            assert (answer.status_code, answer.json()["replaced"]) == (200, True)
        stop.set()
        for thread in threads:
            thread.join()
        assert problems == []
        assert seen == {0, 1}
        assert httpx.delete(f"{served.url}/v1/adapters/v", headers=headers).json()["deleted"] is True
        assert served.post("/v1/embeddings", {"input": "x", "model": "v"}).status_code == 404
        for body, status, said in (
            ({"path": str(tmp_path / "nothing")}, 422, "no such folder"),
            ({"path": str(tiny)}, 422, ""),
            ({}, 400, "path: "),
        ):
            answer = httpx.put(f"{served.url}/v1/adapters/v", json=body, headers=headers)
            assert answer.status_code == status
            assert said in answer.json()["error"]["message"]
        assert httpx.put(f"{served.url}/v1/adapters/auto", json={"path": str(versions[0])}, headers=headers).status_code == 400
        bad = httpx.put(f"{served.url}/v1/adapters/base", json={"path": str(versions[0])}, headers=headers)
        assert bad.status_code == 400


def test_a_text_that_breaks_a_pass_fails_alone(loaded: Callable[[], Encoder], serving: Any) -> None:
    """Whoever shared the pass gets an answer all the same."""
    encoder = loaded()
    with serving(encoder) as served:
        theirs, module = encoder._module.embed, encoder._module
        bad = encoder.tokenizer("broken " * 7)["input_ids"]
        gate = threading.Event()

        def embed(ids: Any, *rest: Any) -> Any:
            gate.wait(20)
            if any(list(one) == bad for one in ids):
                raise RuntimeError("out of luck")
            return theirs(ids, *rest)

        module.embed = embed  # type: ignore[method-assign]
        answers: dict[str, httpx.Response] = {}
        texts = ["first", "broken " * 7, "one", "two", "three"]

        def ask(text: str) -> None:
            answers[text] = served.post("/v1/embeddings", {"input": text})

        threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        gate.set()
        for thread in threads:
            thread.join()
    assert {text: answer.status_code for text, answer in answers.items()} == {text: 500 if "broken" in text else 200 for text in texts}
    assert "RuntimeError" in answers["broken " * 7].json()["error"]["message"]
    assert any("out of luck" in one.get("error", "") for one in served.log)


def test_the_thread_outlives_an_adapter_that_cannot_be_let_go(loaded: Callable[[], Encoder], serving: Any) -> None:
    """Freeing one copies what is left: where memory has run out, the caller is answered and the others are served."""
    encoder = loaded()
    slots = encoder._adapters.bank().slots
    theirs = slots.release
    with serving(encoder) as served:

        def release(part: Any) -> None:
            slots.release = theirs  # type: ignore[method-assign]
            raise MemoryError("no room")

        slots.release = release  # type: ignore[method-assign]
        assert served.post("/v1/embeddings", {"input": "x", "model": "telecom"}).status_code == 200
        assert served.post("/v1/embeddings", {"input": "x", "model": "telecom"}).status_code == 200
        assert httpx.get(f"{served.url}/healthz").status_code == 200


@pytest.mark.slow
def test_memory_is_flat(loaded: Callable[[], Encoder], serving: Any) -> None:
    """A minute of calls of all sizes, clients that go away among them."""
    rng = random.Random(1)
    with serving(loaded()) as served:

        def some(count: int) -> None:
            with httpx.Client(base_url=served.url) as client:
                for _ in range(count):
                    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(rng.randint(1, 40))]
                    try:
                        client.post("/v1/embeddings", json={"input": texts, "model": rng.choice(MODELS)}, timeout=rng.choice((0.01, 60)))
                    except httpx.TimeoutException:
                        continue

        some(300)
        before = _resident()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            some(50)
        assert _resident() - before < 30_000_000


def _resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()
