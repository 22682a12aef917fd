"""The answers: embeddings, models, reranking, similarities, adapters that come and go."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from langadapt.errors import DataError, LangadaptError, ModelError
from langadapt.inference.asking import Asked
from langadapt.inference.encoder import Encoder
from langadapt.inference.router import choose
from langadapt.serving.batcher import Batcher
from langadapt.serving.counting import Counting
from langadapt.serving.guards import Guards
from langadapt.serving.protocol import AdapterBody, EmbeddingsBody, Refusal, RerankBody, SimilarityBody, explained

if TYPE_CHECKING:
    from starlette.requests import Request

Body = TypeVar("Body", bound=BaseModel)

RESERVED = ("base", "auto", "scorer")
"""Models that are no adapters."""

CELLS = 262_144
"""Most cosines of one request."""


@dataclass
class Service:
    """One encoder, its adapters and perhaps a scorer, as HTTP sees them.

    Args:
        name: what the base is called, beside ``base``.
        timeout: seconds after which a caller is told to come again.
        ready: False while the server stops.
    """

    encoder: Encoder
    batcher: Batcher
    guards: Guards
    counting: Counting
    name: str = "base"
    timeout: float = 120.0
    ready: Callable[[], bool] = lambda: True

    # models ----------------------------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, Any]]:
        """Everything that may stand as ``model``."""
        size = {"dimensions": self.encoder.width, "max_tokens": self.encoder.settings.max_length}
        rows = [(self.name, "base"), *((name, "adapter") for name in self.encoder.adapters)]
        if self.encoder.centroids:
            rows.append(("auto", "router"))
        found = [{"id": name, "kind": kind, **size} for name, kind in rows]
        if self.batcher.scorer is not None:
            found.append({"id": "scorer", "kind": "scorer"})
        return [{"object": "model", "created": 0, "owned_by": "langadapt", **one} for one in found]

    async def list_models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        return answer({"object": "list", "data": self.models()})

    async def one_model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        name = request.path_params["name"]
        found = next((one for one in self.models() if one["id"] == name), None)
        if found is None:
            raise self._unknown(name)
        return answer(found)

    def _unknown(self, name: str) -> Refusal:
        known = ", ".join(one["id"] for one in self.models())
        return Refusal(404, f"there is no model {name[:100]!r} here; there is {known}"[:500], "model_not_found")

    # vectors ---------------------------------------------------------------------------------------------------------

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        body = await self._read(request, EmbeddingsBody)
        if body.dimensions is not None and body.dimensions > self.encoder.width:
            raise Refusal(400, f"dimensions: {body.dimensions} of {self.encoder.width} there are", "invalid_body")
        vectors, call = await self._embedded(request, body.input, body.model)
        vectors = self.encoder.finished(vectors, body.normalize)
        if body.dimensions is not None:
            vectors = _shortened(vectors, body.dimensions, unit=body.normalize is not False)
        if body.encoding_format == "base64":
            rows: list[Any] = [base64.b64encode(np.asarray(row, "<f4").tobytes()).decode() for row in vectors]
        else:
            rows = list(np.asarray(vectors, np.float32))
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        usage = {"prompt_tokens": call.tokens, "total_tokens": call.tokens}
        return answer({"object": "list", "data": data, "model": body.model, "usage": usage}, truncated=sum(call.cut.values()))

    async def similarity(self, request: Request) -> Response:
        """``POST /similarity``: cosines."""
        body = await self._read(request, SimilarityBody)
        if len(body.texts) * len(body.others or body.texts) > CELLS:
            raise Refusal(413, f"more than {CELLS:,} cosines: send fewer texts", "body_too_large")
        vectors, call = await self._embedded(request, body.texts + (body.others or []), body.model)
        units = self.encoder.finished(vectors, True)
        left, right = units[: len(body.texts)], units[len(body.texts) :] if body.others else units
        cosines = np.clip(left @ right.T, -1.0, 1.0)
        return answer({"similarities": list(cosines), "model": body.model, "usage": {"total_tokens": call.tokens}})

    async def _embedded(self, request: Request, texts: list[str], model: str) -> tuple[np.ndarray, Asked]:
        """Vectors (n, d) of a request's texts by the model that it names, and how these were read."""
        names: Any = None
        centroids = self.encoder.centroids if model == "auto" else {}
        if centroids:
            plain, _ = await self._made(request, texts, [None] * len(texts))
            names = choose(plain, centroids)
        elif model in self.encoder.adapters:
            names = model
        elif model not in ("base", self.name):
            self.counting.texts.labels("unknown").inc(len(texts))
            raise self._unknown(model)
        elif self.encoder.default_adapter is not None:
            names = self.encoder.default_adapter
        vectors, call = await self._made(request, texts, names)
        self.counting.texts.labels(model).inc(len(texts))
        self.counting.truncated.inc(sum(call.cut.values()))
        request.state.told.update(model=model[:100], texts=len(texts), tokens=call.tokens)
        return vectors, call

    async def _made(self, request: Request, texts: list[str], names: Any) -> tuple[np.ndarray, Asked]:
        try:
            call, future = await run_in_threadpool(self.batcher.embed, texts, names)
        except ModelError as error:
            asked_for = {names} if isinstance(names, str) else {name for name in names or () if name}
            if gone := sorted(asked_for - set(self.encoder.adapters)):  # removed since it was looked up
                raise self._unknown(gone[0]) from error
            raise
        return await self._or_gone(request, future), call

    async def _or_gone(self, request: Request, future: Future[np.ndarray]) -> np.ndarray:
        """A future's answer, unless the client goes or it takes too long; what is not begun is dropped then."""
        made = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            both: set[asyncio.Future[Any]] = {made, gone}
            left = request.state.start + self.timeout - time.monotonic()
            await asyncio.wait(both, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
            if made.done():
                return made.result()
            made.cancel()
            if gone.done():
                raise Refusal(499, "the client has gone", "client_gone")
            raise Refusal(503, f"not done within {self.timeout:.0f} s", "timeout", retry_after=self.timeout)
        finally:
            gone.cancel()

    # reranking -------------------------------------------------------------------------------------------------------

    async def rerank(self, request: Request) -> Response:
        """``POST /rerank``: relevance between 0 and 1 (the logistic function of the scorer's logit), best first."""
        body = await self._read(request, RerankBody)
        if self.batcher.scorer is None:
            raise Refusal(404, "no scorer is served: start the server with --scorer", "model_not_found")
        texts = body.texts()
        future = await run_in_threadpool(self.batcher.score, [(body.query, text) for text in texts])
        logits = (await self._or_gone(request, future)).astype(np.float64)
        relevance = 0.5 * (1.0 + np.tanh(logits / 2))
        order = np.argsort(-logits, kind="stable")[: body.top_n]
        rows: list[dict[str, Any]] = [{"index": int(i), "relevance_score": float(relevance[i])} for i in order]
        if body.return_documents:
            rows = [{**row, "document": {"text": texts[row["index"]]}} for row in rows]
        request.state.told.update(texts=len(texts))
        return answer({"model": body.model, "results": rows})

    # adapters --------------------------------------------------------------------------------------------------------

    async def adapter(self, request: Request) -> Response:
        """``PUT`` and ``DELETE /v1/adapters/NAME``."""
        return await (self._put_adapter(request) if request.method == "PUT" else self._delete_adapter(request))

    async def _put_adapter(self, request: Request) -> Response:
        """Add it, or let it take the place of the one of that name in one step."""
        name = request.path_params["name"]
        if not re.fullmatch(r"[\w.\-]{1,100}", name) or name in (*RESERVED, self.name):
            raise Refusal(400, f"an adapter cannot be called {name[:100]!r} here", "invalid_name")
        body = await self._read(request, AdapterBody)
        was = name in self.encoder.adapters
        await run_in_threadpool(lambda: self.encoder.add_adapter(name, body.path, replace=True))
        return answer({"id": name, "object": "adapter", "replaced": was}, status=200 if was else 201)

    async def _delete_adapter(self, request: Request) -> Response:
        """Calls that use it end undisturbed."""
        name = request.path_params["name"]
        if name not in self.encoder.adapters:
            raise self._unknown(name)
        if name == self.encoder.default_adapter:
            raise Refusal(409, f"the encoder that is served speaks through '{name}'", "in_use")
        await run_in_threadpool(self.encoder.remove_adapter, name)
        return answer({"id": name, "object": "adapter", "deleted": True})

    # health ----------------------------------------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        """``GET /healthz``: the process can work."""
        return answer({"status": "ok" if self.batcher.alive else "broken"}, status=200 if self.batcher.alive else 500)

    async def readyz(self, request: Request) -> Response:
        """``GET /readyz``: send requests here."""
        ready = self.ready() and self.batcher.alive and self.batcher.waiting_tokens <= self.batcher.most_waiting
        return answer({"status": "ready" if ready else "busy"}, status=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``, for Prometheus."""
        return Response(self.counting.text(), media_type="text/plain; version=0.0.4")

    async def _read(self, request: Request, kind: type[Body]) -> Body:
        try:
            return kind.model_validate(await self.guards.body(request))
        except ValidationError as error:
            raise Refusal(400, explained(error), "invalid_body") from error


def answer(body: Any, status: int = 200, truncated: int = 0) -> Response:
    """JSON; NumPy rows are written without lists in between."""
    headers = {"x-langadapt-truncated": str(truncated)} if truncated else None
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status, headers, "application/json")


def refusal_of(error: Exception) -> Refusal:
    """An error as HTTP says it."""
    if isinstance(error, DataError):
        return Refusal(400, f"{error.what}. {error.hint}".rstrip(". ") + ".", "invalid_body")
    if isinstance(error, LangadaptError):
        where = f"{error.where}: " if error.where else ""
        return Refusal(422, f"{where}{error.what}. {error.hint}".rstrip(". ") + ".", "cannot_be_done")
    return Refusal(500, f"this should not happen: {type(error).__name__}", "internal_error")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _shortened(vectors: np.ndarray, dimensions: int, unit: bool) -> np.ndarray:
    """The first numbers of vectors, as float32, scaled to length one or not."""
    found = np.array(vectors[:, :dimensions], np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12) if unit else found
