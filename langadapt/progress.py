"""How long work shows itself: bars on a terminal, plain lines in a pipe, nothing in JSON mode."""

from __future__ import annotations

import time
from collections import deque
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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

        columns = (
            SpinnerColumn(),
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[note]}"),
        )
        self._note = ""
        first = _first(items)
        pace = Pace(total - first if total is not None else None)
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(what, total=total, completed=first, pace="", note="")
            for item in items:
                yield item
                pace.tick()
                progress.update(task, completed=first + pace.done, pace=pace.shown(), note=self._note)

    def _lines(self, items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
        """One line every ten seconds: a log file stays readable."""
        self._note = ""
        shown = time.monotonic()
        first = _first(items)
        pace = Pace(total - first if total is not None else None)
        for item in items:
            yield item
            pace.tick()
            if (now := time.monotonic()) - shown >= 10:
                shown = now
                of = f" of {total:,}" if total is not None else ""
                self.console.print(f"  {what}: {first + pace.done:,}{of}, {pace.shown()}  {self._note}", markup=False)


def _first(items: Iterable[T]) -> int:
    """How many of a range were done before: a resumed training starts in its middle."""
    return int(items[0]) if isinstance(items, range) and len(items) else 0


class Pace:
    """How fast work goes and how long it will take, from the last minute of it: what else runs on a machine comes and goes.

    Args:
        total: items to do; None where nobody knows.
    """

    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done = total, 0
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])

    def tick(self) -> None:
        """One item is done."""
        self.done += 1
        now = self._clock()
        if now - self._marks[-1][0] >= 0.5 or len(self._marks) == 1:
            self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[1][0] > WINDOW:
            self._marks.popleft()

    def seconds_each(self) -> float:
        """Seconds an item took lately."""
        then, before = self._marks[0]
        return (self._clock() - then) / max(self.done - before, 1)

    def shown(self) -> str:
        """``4.9 s each, 1 min 38 s left``."""
        each = self.seconds_each()
        rate = f"{each:.1f} s each" if each >= 1 else f"{1 / max(each, 1e-9):,.0f}/s" if each < 0.1 else f"{1 / each:.1f}/s"
        if self.total is None:
            return rate
        return f"{rate}, {duration(max(self.total - self.done, 0) * each)} left"


WINDOW = 60.0
"""Seconds over which a pace is measured."""


def duration(seconds: float) -> str:
    """``8 s``, ``1 min 38 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
