"""``langadapt serve`` as its users start it: a process of its own, a folder that changes under it, an end that loses nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from langadapt import Encoder

Run = Callable[..., "subprocess.CompletedProcess[str]"]

TEXTS = [f"नदी गावाजवळ वाहते {i}" for i in range(2000)]


class Started:
    """A server's process and what it has said."""

    def __init__(self, *arguments: str) -> None:
        line = [sys.executable, "-m", "langadapt", "serve", *arguments, "--port", "0"]
        self.process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        self.said: list[str] = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr or ()))
        self.reader.start()

    def url(self) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(r"(http://127\S+) answers", "".join(self.said)):
                return found.group(1)
            time.sleep(0.05)
        raise AssertionError("".join(self.said))


@pytest.fixture
def start(tiny: Path) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def make(*arguments: str) -> Started:
        started.append(Started(*arguments))
        return started[-1]

    yield make
    for one in started:
        one.process.kill()
        one.process.wait()
        one.reader.join()


def test_a_server_from_start_to_end(start: Any, tiny: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    release = tmp_path / "runs" / "mr-look" / "release"
    shutil.copytree(tiny, release)
    encoder = Encoder.load(tiny, device="cpu")
    encoder.add_adapter("telecom", folders["telecom"])
    expected = encoder.encode(TEXTS, adapter="telecom")
    server = start(str(release), "--adapter", f"telecom={folders['telecom']}", "--batch-tokens", "256")
    url = server.url()
    assert [one["id"] for one in httpx.get(f"{url}/v1/models").json()["data"]] == ["mr-look", "telecom"]

    # A folder that is written anew under a server: what it serves is what it read.
    weights = release / "model.safetensors"
    os.truncate(weights, 1000)
    weights.write_bytes(b"\0" * weights.stat().st_size)
    body = {"input": TEXTS, "model": "telecom"}
    answer = httpx.post(f"{url}/v1/embeddings", json={**body, "input": TEXTS[:3]}, timeout=60)
    assert np.abs(np.array([row["embedding"] for row in answer.json()["data"]]) - expected[:3]).max() < 1e-5

    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/v1/embeddings", json=body, timeout=120)))
    asking.start()
    while "langadapt_waiting_tokens 0.0" in httpx.get(f"{url}/metrics").text:
        time.sleep(0.005)
    server.process.send_signal(signal.SIGTERM)
    asking.join()
    assert server.process.wait(60) == 0
    server.reader.join()
    assert answers[0].status_code == 200
    assert np.abs(np.array([row["embedding"] for row in answers[0].json()["data"]]) - expected).max() < 1e-5
    assert "Stopped; what was taken is answered.\n" in server.said[-1]
    lines = [json.loads(line) for line in server.said if line.startswith("{")]
    assert {line["route"] for line in lines} == {"/v1/models", "/v1/embeddings", "/metrics"}
    assert "नदी" not in "".join(server.said)


def test_what_cannot_be_served(run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            ((str(tiny), "--port", port), f"cannot listen at 127.0.0.1 port {port}: Address already in use"),
            ((str(tiny), "--port", "0", "--host", "256.0.0.1"), "cannot listen at 256.0.0.1"),
            ((str(tmp_path / "nothing"), "--port", "0"), "there is no such folder"),
            ((str(tiny), "--port", "0", "--keys", str(tmp_path / "keys")), "there is no key"),
            ((str(tiny), "--port", "0", "--rate", "often"), "'often' is no rate"),
            ((str(tiny), "--port", "0", "--adapter", "telecom"), "telecom is not NAME=PATH"),
            ((str(tiny), "--port", "0", "--adapter", "base=x"), "an adapter cannot be called base"),
            ((str(tiny), "--port", "0", "--name", "x", "--adapter", "x=y"), "the encoder cannot be called x here"),
            ((str(tiny), "--port", "0", "--scorer", str(tiny)), "no trained head"),
        ):
            done = run("serve", *arguments)
            assert done.returncode == 2, arguments
            assert said in done.stderr
            assert "Traceback" not in done.stderr
