"""What Prometheus is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langadapt.serving.batcher import Batcher, Pass

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Counting:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        given: Any = {"registry": self.registry}
        self.requests = Counter("langadapt_requests", "Requests, by route and status.", ("route", "status"), **given)
        self.seconds = Histogram("langadapt_request_seconds", "From a request's head to its answer.", ("route",), buckets=SECONDS, **given)
        self.texts = Counter("langadapt_texts", "Texts that were asked for, by model.", ("model",), **given)
        self.truncated = Counter("langadapt_truncated_texts", "Texts that were longer than their maximum.", **given)
        self.passes = Counter("langadapt_passes", "Forward passes.", **given)
        self.tokens = Counter("langadapt_tokens", "Tokens that went through passes.", **given)
        self.pass_texts = Histogram("langadapt_pass_texts", "Texts of a pass.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512), **given)
        self.pass_seconds = Histogram("langadapt_pass_seconds", "What a pass took.", buckets=SECONDS, **given)
        self._waiting = Gauge("langadapt_waiting_tokens", "Tokens that no pass has taken yet.", **given)

    def watch(self, batcher: Batcher) -> None:
        """Show what waits at a batcher."""
        self._waiting.set_function(lambda: batcher.waiting_tokens)

    def passed(self, done: Pass) -> None:
        """Count a pass."""
        self.passes.inc()
        self.tokens.inc(done.tokens)
        self.pass_texts.observe(done.texts)
        self.pass_seconds.observe(done.seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus's format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
