"""How long work will take, said honestly."""

from __future__ import annotations

from langadapt.progress import WINDOW, Pace, duration


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_follows_the_last_minute() -> None:
    """Ten fast steps, then slow ones: what is left goes at the pace of now, not of the average."""
    clock = Clock()
    pace = Pace(100, clock)
    for _ in range(10):
        clock.now += 0.2
        pace.tick()
    assert pace.shown() == "5.0/s, 18 s left"
    while clock.now < 3 * WINDOW:
        clock.now += 6
        pace.tick()
    assert abs(pace.seconds_each() - 6) < 0.1
    assert pace.shown() == f"6.0 s each, {duration((100 - pace.done) * 6)} left"


def test_without_a_total_nothing_is_promised() -> None:
    clock = Clock()
    pace = Pace(None, clock)
    clock.now = 1.0
    for _ in range(50):
        pace.tick()
    assert pace.shown() == "50/s"


def test_durations_read_well() -> None:
    assert [duration(s) for s in (0.4, 59, 98, 3600 * 2 + 300)] == ["0 s", "59 s", "1 min 38 s", "2 h 5 min"]
