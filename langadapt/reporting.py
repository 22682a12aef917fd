"""How long work shows itself: bars on a terminal, plain lines in a pipe, nothing in JSON mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

Metrics = Callable[[int, dict[str, float]], None]


class ConsoleLog:
    """A :class:`langadapt.registry.component.Log` that writes to stderr (progress) through rich.

    Args:
        quiet: say nothing but warnings.
        on_metrics: receives every figure that long work reports.
    """

    def __init__(self, quiet: bool = False, on_metrics: Metrics | None = None, console: Console | None = None) -> None:
        from rich.console import Console

        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.on_metrics = on_metrics
        self._note = ""

    def info(self, message: str) -> None:
        if not self.quiet:
            self.console.print(f"  {message}", markup=False)

    def warning(self, message: str) -> None:
        self.console.print(f"  warning: {message}", style="yellow", markup=False)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self._note = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self.on_metrics:
            self.on_metrics(step, values)

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        if self.quiet:
            yield from items
        elif self.console.is_terminal:
            yield from self._bar(items, what, total)
        else:
            yield from self._lines(items, what, total)

    def _bar(self, items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        columns = (
            SpinnerColumn(),
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._note = ""
        start, done = time.monotonic(), 0
        first = items[0] if isinstance(items, range) and len(items) else 0
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(what, total=total, completed=first, rate="", note="")
            for item in items:
                yield item
                done += 1
                rate = f"{done / max(time.monotonic() - start, 1e-6):.1f}/s"
                progress.update(task, completed=first + done, rate=rate, note=self._note)

    def _lines(self, items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
        """One line every ten seconds: a log file stays readable."""
        self._note = ""
        start = shown = time.monotonic()
        first = items[0] if isinstance(items, range) and len(items) else 0
        for done, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - shown >= 10:
                shown, rate = now, done / (now - start)
                left = f" of {total:,}, {max(total - first - done, 0) / rate:.0f} s left" if total else ""
                self.console.print(f"  {what}: {first + done:,}{left}, {rate:.1f}/s  {self._note}", markup=False)
