"""The training loop.

One optimiser step takes `batch_size` rows over all devices.  Rows are tokenised before the first step; inside a
step, sequences of similar length are padded together (:mod:`langadapt.modeling.batching`).  A separable objective's
batches are bucketed by length inside shuffled mega-batches, and a batch is cut into micro-batches by tokens whose
gradients accumulate; an objective with in-batch negatives sees random batches, each whole at once.

Every step seeds its own generators from (seed, step), so a run that is killed and resumed from a checkpoint
takes the very same path, bit for bit on CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from langadapt.contracts.component import Context
from langadapt.contracts.encoder import TrainableEncoder, TrainableScorer
from langadapt.contracts.training import Batch, Loss, Models, Objective, Optimizer, Row, Sampler, Schedule
from langadapt.errors import StageFailed
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.encoder import own_rows
from langadapt.training.checkpoints import Checkpoints
from langadapt.training.distributed import gather_rows, total, world
from langadapt.training.optimizer import parameter_groups
from langadapt.training.sampling import Bucketed, Random
from langadapt.training.tokenized import TokenizedRows, steps_per_epoch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know; see :class:`langadapt.verbs.train.options.Train` for the meanings."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: int
    clip: float
    precision: str
    tokens_per_batch: int
    evaluate_every: int
    keep: str
    mega_batch: int = 16
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None


@dataclass
class History:
    """What happened, without clocks: part of the artifact, so it must not differ between runs."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    validations: list[tuple[int, str, float]] = field(default_factory=list)
    best_step: int | None = None
    best_value: float | None = None


@dataclass(frozen=True)
class Validation:
    """One measurement during training: its name, value, and which direction is better."""

    name: str
    value: float
    higher_is_better: bool


class Step(nn.Module):
    """Encoder, head and objective behind one forward call, so that DDP, FSDP and compile see one module."""

    def __init__(
        self,
        encoder: TrainableEncoder | TrainableScorer,
        head: nn.Module | None,
        objective: Objective,
        teacher: TrainableEncoder | None,
    ) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.head = head
        # In lists: a pydantic model is no submodule, and the teacher neither trains nor stands in checkpoints.
        self._objective, self._teacher = [objective], [teacher]

    @property
    def teacher(self) -> Any:
        return self._teacher[0]

    def forward(self, batch: Batch, step: int) -> Loss:
        models = Models(self.encoder, self.head, self._teacher[0])
        loss: Loss = self._objective[0].loss(models, batch, step)
        return loss


def train(
    encoder: TrainableEncoder | TrainableScorer,
    head: nn.Module | None,
    objective: Objective,
    data: TokenizedRows,
    tokenizer: PreTrainedTokenizerFast,
    schedule: Schedule,
    optimizer: Optimizer,
    settings: Settings,
    validate: Callable[[Any], Validation] | None,
    ctx: Context,
    alone: bool = False,
    teacher: TrainableEncoder | None = None,
    sampler: Sampler | None = None,
) -> History:
    """Train in place; the encoder holds the last (or the best) weights afterwards.

    Args:
        alone: this process trains by itself, whatever others of a distributed run do: for training inside a stage that one process
            does while the rest wait for its artifact (an evaluator that fine-tunes).
        teacher: a second encoder for the loss; it stays as it is.
        sampler: which rows share a batch; None takes random batches, bucketed by length where rows do not see one another.

    Raises:
        StageFailed: the loss or the gradient is not a number (naming the step), training had nothing to learn, or its own files were
            altered while it ran.
    """
    module = Step(encoder, head, objective, teacher)
    run = _Run(module, objective, data, tokenizer, schedule, optimizer, settings, validate, ctx, alone, sampler)
    return run.go()


class _Run:
    """One training run: plain state and short steps."""

    def __init__(
        self,
        module: Step,
        objective: Objective,
        data: TokenizedRows,
        tokenizer: PreTrainedTokenizerFast,
        schedule: Schedule,
        optimizer: Optimizer,
        settings: Settings,
        validate: Callable[[Any], Validation] | None,
        ctx: Context,
        alone: bool,
        sampler: Sampler | None,
    ) -> None:
        self.objective, self.data, self.tokenizer = objective, data, tokenizer
        self.schedule, self.settings, self.validate, self.ctx = schedule, settings, validate, ctx
        self.rank, self.world = (0, 1) if alone else world()
        # Under an objective that never pools, a pooler's weights get no gradient.
        idle = getattr(module.encoder, "pooling", None) is not None
        own = Alone(settings.precision, ctx.device) if alone else None
        self.accelerator: Any = own or make_accelerator(settings.precision, ctx.device, idle)
        module.encoder.budget = settings.tokens_per_batch
        module.encoder.gather = gather_rows if self.world > 1 else own_rows
        self.module = module.to(self.accelerator.device)
        if teacher := module.teacher:
            teacher.to(self.accelerator.device).eval().requires_grad_(False)
            teacher.budget = settings.tokens_per_batch
        self.optimizer = optimizer.build(parameter_groups(self.module, settings.weight_decay), settings.learning_rate)
        self.wrapped: Any
        self.prepared: Any
        self.wrapped, self.prepared = self.accelerator.prepare(self.module, self.optimizer)
        self.checkpoints = Checkpoints(ctx.workdir / "checkpoints")
        self.history = History()
        self.log_every = max(1, min(LOG_EVERY, settings.steps // 20))
        # In-batch negatives of one length would give themselves away by it: such objectives keep random batches.
        mega = settings.mega_batch if objective.separable else 1
        self.sampler: Sampler = sampler or (Bucketed(mega_batch=mega) if mega > 1 else Random())
        self.longest, self.texts = data.longest(), data.texts_per_row()
        self.per_epoch = steps_per_epoch(len(data), settings.batch_size)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def go(self) -> History:
        first = self._resume()
        self.module.train()
        saved_at = time.monotonic()
        for step in self.ctx.log.track(range(first, self.settings.steps), "training", self.settings.steps):
            loss = self._step(step)
            if step % self.log_every == 0 or step == self.settings.steps - 1:
                self.history.losses.append((step, loss))
                self.ctx.log.metrics(step, {"loss": loss, "learning_rate": self._rate(step)})
            done = step + 1
            if self.validate and (done % self.settings.evaluate_every == 0 or done == self.settings.steps):
                self._validate(done)
            if done < self.settings.steps and self._due(done, saved_at):
                self._save(done)
                saved_at = time.monotonic()
        if self.settings.keep == "best" and self.history.best_step is not None:
            self.checkpoints.restore_best(self.module, self.history.best_step)
        self.module.eval()
        self.module.encoder.gather = own_rows
        return self.history

    def _due(self, done: int, saved_at: float) -> bool:
        if self.settings.checkpoint_steps:
            return done % self.settings.checkpoint_steps == 0
        return time.monotonic() - saved_at >= self.settings.checkpoint_seconds

    def _save(self, done: int) -> None:
        if self.rank == 0:
            state = {
                "losses": self.history.losses,
                "validations": self.history.validations,
                "best": [self.history.best_step, self.history.best_value],
            }
            self.checkpoints.save(done, self.module, self.optimizer, state)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> int:
        """Restore the newest checkpoint; returns the step to go on with.  A damaged one is set aside, and training starts anew."""
        if self.rank == 0 and (problem := self.checkpoints.problem(self.settings.steps, self.settings.keep == "best")):
            aside = self.checkpoints.set_aside()
            self.ctx.log.warning(f"the training checkpoint is damaged ({problem}); set aside in {aside}, the stage starts anew")
        self.accelerator.wait_for_everyone()
        newest = self.checkpoints.newest()
        if newest is None:
            return 0
        state = self.checkpoints.load(newest, self.module, self.optimizer)
        self.history.losses = [(int(s), float(v)) for s, v in state["losses"]]
        self.history.validations = [(int(s), str(n), float(v)) for s, n, v in state["validations"]]
        self.history.best_step, self.history.best_value = state["best"]
        self.ctx.log.info(f"resuming at step {state['step']} of {self.settings.steps}")
        return int(state["step"])

    def _rows(self, step: int) -> np.ndarray:
        """Numbers of this process's share of a step's rows, strided so that shares differ by one row at most."""
        epoch, within = divmod(step, self.per_epoch)
        size = self.settings.batch_size
        if self._order[0] != epoch:
            self._order = (epoch, self.sampler.order(self.data, size, epoch, self.ctx.seed_for("order")))
        whole = self._order[1][within * size : (within + 1) * size]
        # The short last batch of an epoch may leave a process without a row: it borrows the first one.
        return whole[self.rank :: self.world] if len(whole) > self.rank else whole[:1]

    def _step(self, step: int) -> float:
        torch.manual_seed(step_seed(self.ctx.seed_for("dropout"), step, self.rank))
        rng = np.random.default_rng([self.ctx.seed_for("collate"), step, self.rank])
        batches = [self.objective.collate(rows, self.tokenizer, rng, self.module.head) for rows in self._micro(self._rows(step))]
        device = self.accelerator.device
        count = sum(batch.count for batch in batches)
        if self.objective.separable and self.world > 1:
            count = total(count, device)
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        value = 0.0
        # Separable: the mean over processes of W · local sum / global count is the global mean.
        # In-batch negatives: every process has the whole loss, and gathering already multiplied its gradient by W.
        scale = (self.world if self.objective.separable else 1) / max(count, 1)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with self._accumulating(last), self.accelerator.autocast():
                loss = self.wrapped(batch, step)
                scaled = loss.total * scale
            self._finite(scaled, step, "loss")
            with self._accumulating(last):
                self.accelerator.backward(scaled)
            value += float(scaled.detach())
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), self.settings.clip)
        if norm is not None:
            self._finite(norm, step, "gradient")
        self.prepared.step()
        self.prepared.zero_grad(set_to_none=True)
        if self.objective.separable and self.world > 1:
            value = float(self.accelerator.reduce(torch.tensor(value, device=device), "mean"))
        return value

    def _accumulating(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        if last or self.world == 1:
            return contextlib.nullcontext()
        return self.accelerator.no_sync(self.wrapped)  # type: ignore[no-any-return]

    def _micro(self, rows: np.ndarray) -> Iterator[list[Row]]:
        """Rows cut by tokens for a separable objective; all of them, once, for any other."""
        if not self.objective.separable or not len(rows):
            yield self.data.take(rows)
            return
        texts = int(self.texts[rows].max())
        # A micro-batch may hold several length groups: it bounds memory, groups bound padding.
        for group in group_by_length(self.longest[rows].tolist(), self.settings.tokens_per_batch * 2 // max(texts, 1), waste=math.inf):
            yield self.data.take(rows[group])

    def _rate(self, step: int) -> float:
        factor: float = self.schedule.factor(step, self.settings.steps, self.settings.warmup)
        return self.settings.learning_rate * factor

    def _finite(self, value: torch.Tensor, step: int, what: str) -> None:
        if not torch.isfinite(value).all():
            raise StageFailed(
                f"the {what} is {value.item()} at step {step + 1} of {self.settings.steps}",
                hint="Lower learning_rate, raise warmup, or set precision to fp32; then run the same command again.",
            )

    def _validate(self, done: int) -> None:
        assert self.validate is not None
        self.module.eval()
        found = self.validate(self.module.encoder)
        self.module.train()
        self.history.validations.append((done, found.name, found.value))
        self.ctx.log.metrics(done - 1, {found.name: found.value})
        best = self.history.best_value
        better = best is None or (found.value > best if found.higher_is_better else found.value < best)
        if better:
            self.history.best_step, self.history.best_value = done, found.value
            if self.settings.keep == "best" and self.rank == 0:
                self.checkpoints.save_best(self.module, done)
        self.accelerator.wait_for_everyone()


LOG_EVERY = 10
"""Steps between the figures that go to observers and the event file, at most; a short training tells more of its steps."""


def step_seed(seed: int, step: int, rank: int) -> int:
    """A 63-bit seed for torch's generator at one step of one process."""
    digest = hashlib.sha256(f"{seed}:{step}:{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Alone:
    """The part of accelerate's :class:`Accelerator` that the loop uses, for a process that trains without the others of its run."""

    def __init__(self, precision: str, device: str) -> None:
        self.device = torch.device(device)
        self._bf16 = precision == "bf16"

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        return module, optimizer

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def clip_grad_norm_(self, parameters: Any, most: float) -> torch.Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, most)

    def wait_for_everyone(self) -> None:
        return None


def make_accelerator(precision: str, device: str, idle: bool = False) -> Accelerator:
    """An accelerator in the plan's precision; the device is the machine's best unless `device` is ``cpu``."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    # Stages of one process may differ in precision; accelerate keeps the first one's in a global otherwise.
    AcceleratorState._reset_state(reset_partial_state=False)
    cpu = device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)] if idle else []
    return Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=cpu, kwargs_handlers=handlers)
