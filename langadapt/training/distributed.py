"""The few things a training step needs to know of other processes."""

from __future__ import annotations

import os
import warnings

import torch
import torch.distributed as dist

from langadapt.errors import StageFailed


def world() -> tuple[int, int]:
    """(rank, number of processes) as the launcher set them; (0, 1) alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def meet(device: str) -> tuple[list[int], str]:
    """Bring the processes of a run together for the first time; returns their process ids and the backend that joins them.

    Raises:
        StageFailed: the launcher promised several processes and they do not find each other.
    """
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    wanted = world()[1]
    if not dist.is_initialized() or dist.get_world_size() != wanted:
        raise StageFailed(
            f"{wanted} processes were started, and {state.num_processes} found each other",
            hint="Start them with 'langadapt build … --processes N' or with accelerate's launcher.",
        )
    found: list[int] = [0] * wanted
    dist.all_gather_object(found, os.getpid())
    return found, dist.get_backend()


def wait_for_everyone() -> None:
    """Let no process go on before all of them are here."""
    dist.barrier()


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, d) of all processes, stacked in rank order, with gradients flowing back to their owners.

    Processes may bring different numbers of rows.  The backward pass sums what every process asks of a row, and the
    gradient average over processes undoes that factor: the number of devices does not change the result.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    from torch.distributed.nn.functional import all_gather

    count = torch.tensor([rows.shape[0]], device=rows.device)
    counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    most = int(max(int(c) for c in counts))
    padded = torch.nn.functional.pad(rows, (0, 0, 0, most - rows.shape[0]))
    with warnings.catch_warnings():  # torch announces another name for it, which older versions lack
        warnings.simplefilter("ignore", FutureWarning)
        parts = all_gather(padded.contiguous())  # type: ignore[no-untyped-call]
    return torch.cat([part[: int(c)] for part, c in zip(parts, counts, strict=True)])


def total(value: int, device: torch.device) -> int:
    """Sum of a count over all processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    tensor = torch.tensor([value], device=device, dtype=torch.int64)
    dist.all_reduce(tensor)
    return int(tensor.item())
