"""Laws of what training is put together from: objectives, adaptations, optimisers, schedules, samplers, mergers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from langadapt.contracts.data import Role
from langadapt.contracts.training import Models
from langadapt.contracts.vectors import Pooler
from langadapt.testing.laws import Case, law
from langadapt.testing.toys import SENTENCES, WIDTH


def _rows(case: Case) -> list[dict[str, Any]]:
    """Rows with the columns that an objective likes best."""
    if case.rows is not None:
        return case.rows
    n = len(SENTENCES)
    # Of a set of labels that differ from objective to objective, NLI's are the ones that people know.
    labels = ("entailment", "neutral", "contradiction")
    made: dict[Role, Any] = {
        Role.TEXT: lambda i, j: SENTENCES[(i + j) % n],
        Role.TEXTS: lambda i, j: [SENTENCES[(i + j + k) % n] for k in range(3)],
        Role.NUMBER: lambda i, j: (i % 5) / 4,
        Role.NUMBERS: lambda i, j: [math.sin(i + k) for k in range(WIDTH)],
        Role.LABEL: lambda i, j: labels[i % 3],
    }
    columns = case.component.columns[0]
    return [{name: made[role](i, j) for j, (name, role) in enumerate(columns.items())} for i in range(2 * n)]


class _Training:
    """An objective with the models it is computed with, and one batch."""

    def __init__(self, case: Case) -> None:
        import torch
        from datasets import Dataset

        from langadapt.training.tokenized import TokenizedRows

        torch.manual_seed(2)
        objective = case.component
        pooler = case.toy.registry.make(Pooler, case.pooler or "mean")
        encoder: Any = case.toy.scorer() if objective.leaves == "Scorer" else case.toy.module(pooler, objective.needs_mlm_head)
        teacher: Any = case.toy.module(mlm_head=objective.needs_mlm_head) if objective.needs_teacher else None
        tokenizer = case.toy.tokenizer()
        data = objective.prepare(Dataset.from_list(_rows(case)))
        rows = TokenizedRows.of(data, tokenizer, 64, objective.roles(), objective.long_texts, "", objective.word_ends())
        width = 0 if objective.leaves == "Scorer" else encoder.width
        head = objective.build(replace(encoder.spec, output_width=width), teacher.spec if teacher else None)
        with torch.no_grad():  # a student that is its teacher has nothing to learn
            for weight in encoder.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        self.objective, self.models = objective, Models(encoder, head.eval() if head is not None else None, teacher)
        self.tokenizer, self.rows = tokenizer, rows

    def loss(self, budget: int = 100_000) -> Any:
        """The loss of the first twelve rows, masked or drawn the same way every time."""
        self.models.encoder.budget = budget
        rng = np.random.default_rng(4)
        batch = self.objective.collate(self.rows.take(range(min(12, len(self.rows)))), self.tokenizer, rng, self.models.head)
        return self.objective.loss(self.models, batch, 0), batch


@law("objective")
def its_loss_is_a_sum_that_trains(case: Case) -> None:
    """A finite scalar with terms behind it, whose gradient reaches the encoder and every weight of the head, and never the teacher."""
    import torch

    training = _Training(case)
    loss, batch = training.loss()
    assert batch.count > 0
    assert loss.total.ndim == 0
    assert bool(torch.isfinite(loss.total)), f"the loss is {float(loss.total)}"
    loss.total.backward()
    models: Any = training.models
    reached = [weight for weight in models.encoder.parameters() if weight.grad is not None and bool(weight.grad.any())]
    assert reached, "no gradient reaches the encoder"
    for name, weight in models.head.named_parameters() if models.head is not None else ():
        assert not weight.requires_grad or weight.grad is not None, f"no gradient reaches its own weight '{name}'"
    if models.teacher is not None:
        assert all(weight.grad is None for weight in models.teacher.parameters()), "the teacher would train"


@law("objective")
def how_texts_are_grouped_changes_nothing(case: Case) -> None:
    """One forward pass or many: the loss is the same, and so it is a second time."""
    together, one_by_one = (float(_Training(case).loss(budget)[0].total.detach()) for budget in (100_000, 1))
    assert math.isclose(together, one_by_one, rel_tol=1e-4, abs_tol=1e-4), f"{together} in one pass, {one_by_one} text by text"
    assert float(_Training(case).loss()[0].total.detach()) == together


@law("adaptation")
def what_it_marks_is_what_trains(case: Case) -> None:
    """After a step's gradients every weight that it marked has one, and no other."""
    import torch

    if case.component.new_rows:
        return  # the stage alone knows which rows are new
    torch.manual_seed(0)
    loaded = case.toy.loaded(mlm_head=False)
    case.component.attach(loaded.model)
    for role in case.component.roles if case.component.light else ():
        case.component.activate(loaded.model, role)
    ids = loaded.tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    loaded.model(**ids).last_hidden_state.square().mean().backward()
    wrong = [name for name, weight in loaded.model.named_parameters() if weight.grad is not None and not weight.requires_grad]
    assert not wrong, f"gradients reach what is frozen: {wrong[:3]}"
    assert any(weight.grad is not None for weight in loaded.model.parameters()), "nothing trains"


@law("adaptation")
def it_lasts(case: Case) -> None:
    """A light one, saved and attached to the base again, gives the same states."""
    import torch

    if not case.component.light:
        return
    torch.manual_seed(0)
    loaded = case.toy.loaded(mlm_head=False)
    case.component.attach(loaded.model)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    (case.folder / "adapter").mkdir()
    case.component.save(loaded.model, case.folder / "adapter")
    again = case.toy.loaded(mlm_head=False)
    case.component.load(again.model, case.folder / "adapter")
    ids = loaded.tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    for role in case.component.roles or ("",):
        with torch.no_grad():
            states = []
            for model in (loaded.model, again.model):
                if role:
                    case.component.activate(model, role)
                states.append(model.eval()(**ids).last_hidden_state)
        assert torch.allclose(states[0], states[1], atol=1e-5), "what was saved is not what was trained"


@law("optimizer")
def it_goes_downhill(case: Case) -> None:
    """It lowers a bowl's height, and at a rate of zero it stays where it is."""
    import torch

    heights = []
    for rate in (0.05, 0.0):
        weight = torch.nn.Parameter(torch.full((8, 64), 3.0))
        optimizer = case.component.build([{"params": [weight], "weight_decay": 0.0}], rate)
        for _ in range(30):
            optimizer.zero_grad()
            weight.square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        heights.append(float(weight.detach().square().mean()))
    assert heights[0] < 8.0, f"after 30 steps the height is {heights[0]:.2f} of 9"
    assert heights[1] == 9.0


@law("schedule")
def its_factor_stays_in_bounds(case: Case) -> None:
    """Between 0 and 1 at every step, full once warmed up, without a step that is undefined."""
    for steps, warmup in ((1, 0), (7, 0), (100, 10), (3, 2)):
        factors = [case.component.factor(step, steps, warmup) for step in range(steps)]
        assert all(0.0 <= factor <= 1.0 for factor in factors), (steps, warmup, factors)
        assert max(factors) > 0.5, f"of {steps} steps with {warmup} to warm up, none is taken at more than half the rate"


class _View:
    """Rows as a sampler sees them: a few texts, some of them twice, with a column of clusters."""

    def __init__(self, n: int = 37) -> None:
        rng = np.random.default_rng(1)
        self.texts = [[tuple(rng.integers(5, 40, rng.integers(2, 30)).tolist()) for _ in range(2)] for _ in range(n)]
        self.texts[3] = self.texts[11] = self.texts[20]
        self.groups: list[Any] = rng.integers(0, 4, n).tolist()

    def __len__(self) -> int:
        return len(self.texts)

    def lengths(self) -> np.ndarray:
        return np.array([sum(map(len, texts)) for texts in self.texts])

    def texts_of(self, row: int) -> list[tuple[int, ...]]:
        return self.texts[row]

    def values(self, column: str) -> list[Any]:
        return self.groups


@law("sampler")
def it_loses_no_row(case: Case) -> None:
    """Every row once an epoch; one seed gives one order."""
    view = _View()
    for size in (1, 4, 36, 50):
        order = case.component.order(view, size, 0, 9)
        assert sorted(order.tolist()) == list(range(len(view))), f"with batches of {size} rows are lost or repeated"
        assert order.tolist() == case.component.order(view, size, 0, 9).tolist()


@law("merger")
def equals_merged_are_themselves(case: Case) -> None:
    """Names and shapes stay, and two of the same give it."""
    import torch

    weights = dict(case.toy.loaded().model.state_dict())
    merged = case.component.merge([weights, {name: value.clone() for name, value in weights.items()}])
    assert list(merged) == list(weights)
    assert all(torch.allclose(merged[name], value, atol=1e-6) for name, value in weights.items() if value.is_floating_point())
