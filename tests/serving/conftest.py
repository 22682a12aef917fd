"""A real server on a free port, for the time of a test module."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn

from langadapt import Encoder
from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scorer as scorers
from langadapt.inference.scorer import Scorer
from langadapt.modeling.digest import weights_digest
from langadapt.registry.registry import Registry
from langadapt.serving.app import make_app
from langadapt.serving.batcher import Batcher
from langadapt.serving.counting import Counting
from langadapt.serving.guards import Guards
from langadapt.serving.listening import bound
from langadapt.serving.service import Service


@dataclass
class Served:
    """A server that listens."""

    url: str
    encoder: Encoder
    service: Service
    server: uvicorn.Server
    log: list[dict[str, Any]] = field(default_factory=list)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=60, **options)


@contextmanager
def _serving(encoder: Encoder, scorer: Scorer | None = None, guards: Guards | None = None, **options: Any) -> Iterator[Served]:
    """Serve an encoder from a thread of this process, and stop as SIGTERM would."""
    timeout = options.pop("timeout", 60.0)
    counting = Counting()
    batcher = Batcher(encoder, scorer, told=counting.passed, **options)
    counting.watch(batcher)
    service = Service(encoder, batcher, guards or Guards(), counting, "tiny", timeout)
    log: list[dict[str, Any]] = []
    listener = bound("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make_app(service, log.append), log_level="warning", access_log=False, lifespan="on"))
    service.ready = lambda: not server.should_exit
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", encoder, service, server, log)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _make_adapter(tiny: Path, registry: Registry, folder: Path, seed: int, prompt: str = "", centroid: Any = None) -> Path:
    """A LoRA adapter whose weights matter."""
    torch.manual_seed(seed)
    adaptation: Any = registry.build("adaptation", {"use": "lora", "r": 4})
    model = copy.deepcopy(encoders.load(tiny, mlm_head=False).model)
    adaptation.attach(model)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.1 * torch.randn(weight.shape)
    adaptation.save(model, folder)
    settings = encoders.read_settings(tiny)[0].with_(prompt=prompt)
    (folder / "encoder.json").write_text(json.dumps(dataclasses.asdict(settings)), encoding="utf-8")
    adapters.save(adapters.AdapterRecord(adaptation.slot(), adaptation.library, adapters.Base(weights_digest(tiny), "bert", 1), 1), folder)
    if centroid is not None:
        adapters.save_centroid(centroid, folder)
    return folder


@pytest.fixture(scope="session")
def folders(tiny: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of the tiny base; one brings a prompt of its own."""
    place = tmp_path_factory.mktemp("served")
    return {
        "telecom": _make_adapter(tiny, registry, place / "telecom", 1),
        "clinical": _make_adapter(tiny, registry, place / "clinical", 2, prompt="नदी "),
    }


@pytest.fixture(scope="session")
def scorer(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("scorer")
    scorers.save(scorers.load(tiny, max_length=48), path)
    return Scorer.load(path, device="cpu")


@pytest.fixture(scope="session")
def loaded(tiny: Path, folders: dict[str, Path]) -> Callable[[], Encoder]:
    """Makes an encoder with both adapters."""

    def make() -> Encoder:
        found = Encoder.load(tiny, device="cpu")
        for name, folder in folders.items():
            found.add_adapter(name, folder)
        return found

    return make


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    """``with serving(encoder, scorer, guards, …) as served``."""
    return _serving


@pytest.fixture(scope="session")
def make_adapter(tiny: Path, registry: Registry) -> Callable[..., Path]:
    """``make_adapter(folder, seed, prompt, centroid)``: an adapter of the tiny base."""
    return partial(_make_adapter, tiny, registry)


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool]], None]:
    """``until(holds)``: wait until it does, not for ever."""

    def wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end, "it did not come to pass"
            time.sleep(0.005)

    return wait
