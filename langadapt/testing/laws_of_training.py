"""Laws of what training is put together from: objectives, adaptations, optimisers, schedules, samplers, mergers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from langadapt.contracts.training import Models
from langadapt.contracts.vectors import Pooler
from langadapt.testing.laws import Case, NotTried, law
from langadapt.testing.toys import SENTENCES, rows_of


def _rows(case: Case) -> list[dict[str, Any]]:
    """Rows with the columns that an objective likes best."""
    return case.rows if case.rows is not None else rows_of(case.component.columns[0], 20)


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
        if teacher is not None:
            teacher.requires_grad_(False)
        self.objective, self.models = objective, Models(encoder, head.eval() if head is not None else None, teacher)
        self.tokenizer, self.rows = tokenizer, rows

    def draws(self) -> bool:
        """Whether putting a batch together asks for chance."""
        rng = np.random.default_rng(4)
        before = rng.bit_generator.state
        self.objective.collate(self.rows.take(range(2)), self.tokenizer, rng, self.models.head)
        return bool(rng.bit_generator.state != before)

    def loss(self, budget: int = 100_000, rows: range | None = None) -> Any:
        """The loss of some rows (the first twelve), masked or drawn the same way every time."""
        self.models.encoder.budget = budget
        rng = np.random.default_rng(4)
        chosen = rows if rows is not None else range(min(12, len(self.rows)))
        batch = self.objective.collate(self.rows.take(chosen), self.tokenizer, rng, self.models.head)
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


@law("objective")
def its_loss_is_no_mean(case: Case) -> None:
    """Where rows do not see one another and nothing is drawn, the loss of a batch is the sum of its parts', and so is the count."""
    training = _Training(case)
    if not training.objective.separable:
        raise NotTried("its rows see one another")
    if training.draws():
        raise NotTried("what it draws for a row depends on the rows before it")
    n = min(6, len(training.rows) // 2)
    (first, one), (second, other), (both, all_of) = (training.loss(rows=range(*ends)) for ends in ((0, n), (n, 2 * n), (0, 2 * n)))
    assert one.count + other.count == all_of.count, "`count` is not the number of terms"
    parts, whole = float((first.total + second.total).detach()), float(both.total.detach())
    assert math.isclose(parts, whole, rel_tol=1e-3, abs_tol=1e-4), f"{parts} in two parts, {whole} at once"


@law("adaptation")
def what_it_marks_is_what_trains(case: Case) -> None:
    """A gradient comes to every weight that it marked; a light one marks none of the base's."""
    import torch

    if case.component.new_rows:
        raise NotTried("the stage alone knows which rows are new")
    torch.manual_seed(0)
    loaded = case.toy.loaded(mlm_head=False)
    before = {name for name, _ in loaded.model.named_parameters()}
    case.component.attach(loaded.model)
    ids = loaded.tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    for role in (case.component.roles if case.component.light else ()) or ("",):
        if role:
            case.component.activate(loaded.model, role)
        loaded.model(**ids).last_hidden_state.square().mean().backward()
    trains = {name: weight for name, weight in loaded.model.named_parameters() if weight.requires_grad}
    assert trains, "nothing trains"
    unread = ("pooler.", "position_ids")  # no vector is read from BERT's pooling layer
    dead = [name for name, weight in trains.items() if weight.grad is None and not any(part in name for part in unread)]
    assert not dead, f"marked to train, and no gradient comes: {dead[:3]}"
    if case.component.light:
        bases = [name for name in trains if name.replace("base_layer.", "").replace("base_model.model.", "") in before]
        assert not bases, f"a light adaptation trains weights of the base: {bases[:3]}"


@law("adaptation")
def it_lasts(case: Case) -> None:
    """A light one, saved and attached to the base again, gives the same states."""
    import torch

    if not case.component.light:
        raise NotTried("its weights are the encoder's own")
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
    """Rows as a sampler sees them: a few texts, some of them twice, with the columns that it says it reads."""

    def __init__(self, columns: tuple[str, ...], n: int = 37) -> None:
        self.columns = columns
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
        if column not in self.columns:
            raise KeyError(f"it asks for '{column}', which `reads` does not name")
        return self.groups


@law("sampler")
def it_loses_no_row(case: Case) -> None:
    """Every row once an epoch; one seed gives one order."""
    view = _View(case.component.reads())
    for size, epoch in ((1, 0), (4, 0), (4, 3), (36, 1), (50, 0)):
        order = case.component.order(view, size, epoch, 9)
        assert sorted(order.tolist()) == list(range(len(view))), f"with batches of {size} rows are lost or repeated"
        assert order.tolist() == case.component.order(view, size, epoch, 9).tolist()


@law("merger")
def equals_merged_are_themselves(case: Case) -> None:
    """Names and shapes stay, and two of the same give it."""
    import torch

    weights = dict(case.toy.loaded().model.state_dict())
    merged = case.component.merge([weights, {name: value.clone() for name, value in weights.items()}])
    assert set(merged) == set(weights)
    assert all(torch.allclose(merged[name], value, atol=1e-6) for name, value in weights.items() if value.is_floating_point())
