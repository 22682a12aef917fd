"""What a stage costs: seconds, the most memory this process held, and energy where the hardware counts it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

PEAK, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
COUNTERS = Path("/sys/class/powercap")


@dataclass
class Meter:
    """Reads the counters when it is made, and again when asked.  Whatever the machine does not count is left out.

    Args:
        fresh_peak: let the process's peak of memory begin anew, which whoever else measures it loses.
    """

    fresh_peak: bool = True
    began: float = field(default_factory=time.monotonic)
    busy: float = field(default_factory=time.process_time)
    joules: dict[Path, int] = field(default_factory=lambda: _counters())
    gpu: float | None = field(default_factory=lambda: _gpu_joules())

    def __post_init__(self) -> None:
        """Let the peak of memory begin anew (Linux)."""
        if not self.fresh_peak:
            return
        try:
            RESET.write_text("5")
        except OSError:
            return

    def read(self) -> dict[str, float]:
        """What was spent since the meter was made.

        ``seconds``, ``core_seconds`` of this process on all cores, ``peak_mb`` of this process, ``joules`` of the whole processor (RAPL)
        and ``gpu_joules`` of all graphics cards (NVML): other work on them counts too.
        """
        found = {"seconds": round(time.monotonic() - self.began, 3), "core_seconds": round(time.process_time() - self.busy, 3)}
        if (peak := _peak()) is not None:
            found["peak_mb"] = round(peak, 1)
        spent = [_since(counter, before, now) for counter, now in _counters().items() if (before := self.joules.get(counter)) is not None]
        if spent:
            found["joules"] = round(sum(spent) / 1e6, 3)
        if self.gpu is not None and (now := _gpu_joules()) is not None:
            found["gpu_joules"] = round(now - self.gpu, 3)
        return found


def _peak() -> float | None:
    """Megabytes of the process's largest resident size since the last reset."""
    try:
        lines = PEAK.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def _counters() -> dict[Path, int]:
    """Microjoules of each processor package (RAPL), where they can be read."""
    found = {}
    for counter in sorted(COUNTERS.glob("intel-rapl:*/energy_uj")):
        if counter.parent.name.count(":") == 1:  # a package; its parts are counted in it
            try:
                found[counter] = int(counter.read_text())
            except (OSError, ValueError):
                continue
    return found


def _since(counter: Path, before: int, now: int) -> int:
    """Microjoules between two readings of a counter that begins anew at its range's end."""
    if now >= before:
        return now - before
    return now - before + int((counter.parent / "max_energy_range_uj").read_text())


def _gpu_joules() -> float | None:
    """Of all graphics cards since their driver was loaded, where NVIDIA's library (nvidia-ml-py) is installed and a card counts them."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            cards = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(card) for card in cards) / 1000 if cards else None
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, or a card older than Volta
        return None
