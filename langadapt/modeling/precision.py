"""Which number format a machine trains in."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Literal


def resolve_precision(wanted: str) -> Literal["fp32", "bf16"]:
    """``auto`` becomes bf16 where the hardware multiplies it natively, else fp32."""
    if wanted == "bf16" or (wanted == "auto" and native_bf16()):
        return "bf16"
    return "fp32"


@cache
def native_bf16() -> bool:
    """True on CUDA cards with bf16 and on x86 CPUs with AVX512-BF16 or AMX.

    Importing torch costs seconds; it is asked only where an accelerator may be present.
    """
    if _maybe_accelerator():
        import torch

        if torch.cuda.is_available():
            return bool(torch.cuda.is_bf16_supported())
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _maybe_accelerator() -> bool:
    return "torch" in sys.modules or any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"))
