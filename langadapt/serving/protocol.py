"""What may be asked of the server, and how refusals are written.

Embeddings and models are asked for as OpenAI's API has it, reranking as Cohere's and Jina's have it; everything a body may hold is
stated here, and anything else is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

TEXTS = 2048
"""Most texts of one request, OpenAI's own limit."""


class Refusal(Exception):
    """A request that gets no answer.

    Args:
        status: of HTTP.
        message: what is wrong, and what to do.
        code: a word for machines.
        retry_after: seconds after which the same request may be taken.
    """

    def __init__(self, status: int, message: str, code: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.retry_after = status, message, code, retry_after

    def body(self) -> dict[str, Any]:
        """As OpenAI's clients read it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}


def _texts(value: Any) -> Any:
    """One text or a list of them; token ids are those of another tokenizer."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and isinstance(value[0], int | list):
        raise ValueError(
            "these are token ids, and they are another tokenizer's: send texts "
            "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"
        )
    return value


Texts = Annotated[list[str], BeforeValidator(_texts), Field(min_length=1, max_length=TEXTS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class EmbeddingsBody(_Body):
    """``POST /v1/embeddings``."""

    input: Texts
    model: str = "base"
    """``base`` (or the base's name), an adapter, or ``auto`` for the adapter whose training texts are most like each text."""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    """Keep the first numbers only, scaled anew: for encoders trained so (Kusupati et al. 2022, arXiv:2205.13147)."""
    normalize: bool | None = None
    """Not OpenAI's: vectors of length one, or as they come; None is the encoder's own way."""
    user: str | None = None


class RerankBody(_Body):
    """``POST /rerank``."""

    query: str
    documents: list[str | dict[str, str]] = Field(min_length=1, max_length=TEXTS)
    """Texts, or objects with a ``text``."""
    model: str = "scorer"
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False

    def texts(self) -> list[str]:
        """The documents' texts.

        Raises:
            Refusal: an object without one.
        """
        for i, document in enumerate(self.documents):
            if isinstance(document, dict) and "text" not in document:
                raise Refusal(400, f"document {i} has no 'text'", "invalid_body")
        return [document["text"] if isinstance(document, dict) else document for document in self.documents]


class SimilarityBody(_Body):
    """``POST /similarity``."""

    texts: Texts
    others: Texts | None = None
    """Compared with `texts`; None compares these with one another."""
    model: str = "base"


class AdapterBody(_Body):
    """``PUT /v1/adapters/NAME``."""

    path: str = Field(min_length=1)
    """A folder on the server's machine, or a Hub id."""


def explained(error: ValidationError) -> str:
    """The first thing that a body is refused for."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "the body"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"[:500]
