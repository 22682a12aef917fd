"""The kit's laws catch what they are for: each broken component below fails the one that is named, and the sound one passes all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.testing.conform import _lasts_as_a_slot, _says_what_it_is
from langadapt.testing.laws import LAWS, Case
from langadapt.testing.toys import Toy, toy_folder

pytestmark = pytest.mark.usefixtures("one_thread")

PLUGIN = '''
"""Components that are wrong, each in its own way."""
import itertools
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import normalizers

from langadapt.contracts import (Adaptation, Affine, Batch, ComponentRef, Embedding, Loss, Merger, Mixture, Normalizer, Objective, Pooler,
                                 Role, Sampler, Schedule, Transform, VocabInit, hookimpl)

REFS = []


def listed(kind):
    REFS.append(ComponentRef(kind.kind, kind.name, f"{__name__}:{kind.__name__}", "wrong"))
    return kind


@listed
class Sound(Pooler):
    """Mean of the tokens' states."""
    name: ClassVar[str] = "sound"

    def pool(self, states, weights=None):
        mask = states.mask[:, :, None].float()
        return (states.last * mask).sum(1) / mask.sum(1)


@listed
class Padded(Pooler):
    """Mean of padding too."""
    name: ClassVar[str] = "padded"

    def pool(self, states, weights=None):
        return states.last.mean(1)


@listed
class Wide(Sound):
    """Says another width than it gives."""
    name: ClassVar[str] = "wide"

    def width(self, spec):
        return spec.width + 1


@listed
class Cut(Pooler):
    """A vector that no gradient passes."""
    name: ClassVar[str] = "cut"

    def pool(self, states, weights=None):
        mask = states.mask[:, :, None].float()
        return ((states.last * mask).sum(1) / mask.sum(1)).detach().requires_grad_()


@listed
class Shaped(Transform):
    """Depends on the other vectors."""
    name: ClassVar[str] = "shaped"

    def fit(self, vectors):
        fitted = Affine(np.eye(vectors.shape[1], dtype=np.float32), np.zeros(vectors.shape[1], dtype=np.float32))
        fitted.apply = lambda rows: rows - rows.mean(0)
        return fitted


class _Pairs(Objective):
    columns = ({"anchor": Role.TEXT, "positive": Role.TEXT},)

    def collate(self, rows, tokenizer, rng, head=None):
        return Batch([row["anchor"] for row in rows], len(rows))


@listed
class Loose(_Pairs):
    """A loss that depends on how texts are padded together."""
    name: ClassVar[str] = "loose"

    def loss(self, models, batch, step):
        groups = np.array_split(np.arange(len(batch.sequences)), max(1, 12 // max(1, models.encoder.budget // 1000)))
        states = [models.encoder.states([batch.sequences[i] for i in group]).last.mean(1) for group in groups if len(group)]
        return Loss(torch.cat(states).square().sum())


@listed
class Still(_Pairs):
    """A loss without a gradient for the encoder."""
    name: ClassVar[str] = "still"

    def loss(self, models, batch, step):
        return Loss(models.encoder.embed(batch.sequences).detach().square().sum().requires_grad_())


DRAWS = itertools.count()


@listed
class Chancy(_Pairs):
    """Another loss each time."""
    name: ClassVar[str] = "chancy"

    def loss(self, models, batch, step):
        return Loss(models.encoder.embed(batch.sequences).square().sum() * (1 + next(DRAWS)))


@listed
class Growing(Normalizer):
    """Twice is more than once."""
    name: ClassVar[str] = "growing"

    def normalize(self, text):
        return text.replace("a", "aa")


@listed
class Apart(Normalizer):
    """Bakes other rules into a release than training used."""
    name: ClassVar[str] = "apart"

    def normalize(self, text):
        return text.lower()

    def fast(self):
        return normalizers.NFC()


@listed
class Lossy(Sampler):
    """Loses what does not fill a batch."""
    name: ClassVar[str] = "lossy"

    def order(self, rows, batch_size, epoch, seed):
        return np.arange(len(rows) // batch_size * batch_size)


@listed
class Steep(Schedule):
    """Over the full rate."""
    name: ClassVar[str] = "steep"

    def factor(self, step, steps, warmup):
        return 1.5


@listed
class Sum(Merger):
    """A sum where a mean is meant."""
    name: ClassVar[str] = "sum"

    def merge(self, weights):
        return {name: sum(one[name] for one in weights) for name in weights[0]}


@listed
class Misled(VocabInit):
    """Says that rows were copied which were not."""
    name: ClassVar[str] = "misled"

    def mixture(self, old, new, texts, ctx):
        from scipy.sparse import csr_array

        weights = np.zeros((len(new.tokens), len(old.tokens)), dtype=np.float32)
        weights[np.arange(len(new.tokens)), (np.arange(len(new.tokens)) + 1) % len(old.tokens)] = 1
        return Mixture(csr_array(weights), ["copied"] * len(new.tokens))


@listed
class Ragged(Embedding):
    """A row that is no number."""
    name: ClassVar[str] = "ragged"

    def build(self, tokenizer, width):
        module = torch.nn.Embedding(len(tokenizer), width)
        module.weight.data[3, 3] = float("nan")
        return module


@listed
class Mute(Pooler):
    name: ClassVar[str] = "mute"

    def pool(self, states, weights=None):
        return states.last[:, 0]


@hookimpl
def langadapt_components():
    return REFS
'''

WRONG = {
    "pooler/padded": "padding_changes_nothing",
    "pooler/wide": "its_width_is_what_it_says",
    "pooler/cut": "its_weights_train_and_last",
    "pooler/mute": "_says_what_it_is",
    "transform/shaped": "it_maps_row_by_row",
    "objective/loose": "how_texts_are_grouped_changes_nothing",
    "objective/chancy": "how_texts_are_grouped_changes_nothing",
    "objective/still": "its_loss_is_a_sum_that_trains",
    "normalizer/growing": "twice_is_once",
    "normalizer/apart": "twice_is_once",
    "sampler/lossy": "it_loses_no_row",
    "schedule/steep": "its_factor_stays_in_bounds",
    "merger/sum": "equals_merged_are_themselves",
    "vocab-init/misled": "what_is_copied_is_exact",
    "embedding/ragged": "it_has_a_row_for_every_token",
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    import sys

    folder = tmp_path_factory.mktemp("plugin")
    (folder / "all_wrong.py").write_text(PLUGIN, encoding="utf-8")
    sys.path.insert(0, str(folder))
    return Registry(load_plugins(("all_wrong",)))


def failed(registry: Registry, key: str, folder: Path) -> list[str]:
    """Names of the laws that a component breaks."""
    kind, _, name = key.partition("/")
    ref = next(item.ref for item in registry.list(kind) if item.ref.name == name)
    found = []
    for number, rule in enumerate((_says_what_it_is, _lasts_as_a_slot, *LAWS[kind])):
        place = folder / str(number)
        place.mkdir()
        try:
            if rule is _says_what_it_is:
                _says_what_it_is(registry.get(kind, name), ref)
            else:
                call: Any = rule
                call(Case(registry.build(kind, name), Toy(toy_folder(), registry), place))
        except (AssertionError, ValueError):  # a width that is not there breaks numpy's own check first
            found.append(rule.__name__)
    return found


@pytest.mark.parametrize("key", sorted(WRONG))
def test_a_broken_component_breaks_its_law(wrong: Registry, key: str, tmp_path: Path) -> None:
    assert WRONG[key] in failed(wrong, key, tmp_path)


def test_a_sound_one_breaks_none(wrong: Registry, tmp_path: Path) -> None:
    assert failed(wrong, "pooler/sound", tmp_path) == []


def test_every_kind_that_is_computed_with_has_a_law() -> None:
    from langadapt.contracts.kinds import KINDS

    assert set(KINDS) == set(LAWS), "a kind without a law, or a law for none"
