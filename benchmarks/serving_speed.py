"""Texts a second of a server at 32 clients beside the encoder itself, and beside a plain server of sentence-transformers.

    python benchmarks/serving_speed.py --encoder FOLDER --texts FILE [--clients 32] [--rounds 3]

FILE has a text a line.  Requests hold 1 to 16 texts; every client asks again as soon as it is answered.  The plain server is what a
careful person writes: Starlette, the model in a thread, one request at a time (two at a time on the same cores are slower).  Servers are
processes of their own, all measured in turn in each round; pip install 'langadapt[serve]' sentence-transformers aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

Requests = list[list[str]]


def plain(folder: str, port: int) -> None:
    """The plain server."""
    import uvicorn
    from sentence_transformers import SentenceTransformer
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    model, turn = SentenceTransformer(folder, device="cpu"), threading.Lock()

    def encode(texts: list[str]) -> Any:
        with turn:
            return model.encode(texts, show_progress_bar=False)

    async def embeddings(request: Request) -> JSONResponse:
        vectors = await run_in_threadpool(encode, (await request.json())["input"])
        return JSONResponse({"data": [{"embedding": row} for row in vectors.tolist()]})

    app = Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"])])
    print(f"http://127.0.0.1:{port} answers", file=sys.stderr, flush=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def started(line: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A server and its address, once it listens."""
    process = subprocess.Popen([sys.executable, *line], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for said in process.stderr:
        if found := re.search(r"(http://127\S+) answers", said):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, found.group(1)
    raise SystemExit(f"{line} did not start")


async def asked(url: str, requests: Requests, clients: int) -> tuple[float, list[float]]:
    """Seconds in all, and of each request."""
    import aiohttp

    waiting, taken = list(reversed(requests)), []
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            while waiting:
                body = {"input": waiting.pop(), "model": "base"}
                start = time.perf_counter()
                async with session.post("/v1/embeddings", json=body) as answer:
                    found = json.loads(await answer.read())
                    assert answer.status == 200, found
                assert len(found["data"]) == len(body["input"])
                taken.append(time.perf_counter() - start)

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return time.perf_counter() - start, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain(given.encoder, given.plain)
        return
    rng = random.Random(0)
    texts = given.texts.read_text(encoding="utf-8").splitlines()[: given.count]
    requests, at = [], 0
    while at < len(texts):
        size = rng.randint(1, 16)
        requests.append(texts[at : at + size])
        at += size

    from langadapt import Encoder

    encoder = Encoder.load(given.encoder, device="cpu")
    servers = {
        "langadapt serve": started(["-m", "langadapt", "serve", given.encoder, "--port", "0", "--quiet"]),
        "plain server": started([__file__, "--encoder", given.encoder, "--plain", "8799"]),
    }
    time.sleep(1)
    rates: dict[str, list[float]] = {name: [] for name in ("Encoder.encode", *servers)}
    latencies: dict[str, list[float]] = {name: [] for name in servers}
    try:
        for url in (url for _, url in servers.values()):
            asyncio.run(asked(url, requests[:20], given.clients))  # warm
        encoder.encode(texts[:200])
        for number in range(given.rounds):
            start = time.perf_counter()
            encoder.encode(texts)
            rates["Encoder.encode"].append(len(texts) / (time.perf_counter() - start))
            for name, (_, url) in list(servers.items())[:: 1 if number % 2 else -1]:
                seconds, taken = asyncio.run(asked(url, requests, given.clients))
                rates[name].append(len(texts) / seconds)
                latencies[name] += taken
    finally:
        for process, _ in servers.values():
            process.terminate()
    print(f"{len(texts):,} texts in {len(requests)} requests of 1 to 16, {given.clients} clients, {given.rounds} rounds")
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates["Encoder.encode"], strict=True))
        line = f"{name:<16} {statistics.median(found):7.1f} texts/s  {ratio:5.2f} of Encoder.encode"
        if name in latencies:
            p50, p99 = np.percentile(latencies[name], [50, 99])
            line += f"   p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
        print(line)


if __name__ == "__main__":
    main()
