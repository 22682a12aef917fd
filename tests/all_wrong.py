"""Components that are wrong, each in its own way: what the laws of the kit must catch."""

# mypy: ignore-errors

import itertools
from typing import ClassVar

import numpy as np
import torch
from tokenizers import normalizers

from langadapt.contracts import (
    Adaptation,
    Affine,
    Annotator,
    Batch,
    ComponentRef,
    CorpusReader,
    Document,
    Embedding,
    Evaluator,
    Exporter,
    Generator,
    LightAdaptation,
    Loss,
    Merger,
    Mixture,
    Normalizer,
    Objective,
    Offer,
    Optimizer,
    PairReader,
    Pooler,
    Role,
    Sampler,
    Schedule,
    Score,
    Selector,
    Source,
    TokenizerTrainer,
    Transform,
    Translator,
    VocabInit,
    hookimpl,
)

REFS = []
CALLS = itertools.count()
"""Goes on from call to call: what a component that is not deterministic differs by."""


def listed(kind):
    """File a component under what it is wrong in, the first line of its docstring."""
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


@listed
class Faded(Transform):
    """Restores another map than it stored."""

    name: ClassVar[str] = "faded"

    def fit(self, vectors):
        width = vectors.shape[1]
        return Affine(np.eye(width, dtype=np.float32), -vectors.mean(0))

    def restore(self, arrays):
        return Affine(arrays["weight"], np.zeros_like(arrays["bias"]))


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


@listed
class Averaged(_Pairs):
    """A mean where a sum is meant."""

    name: ClassVar[str] = "averaged"

    def loss(self, models, batch, step):
        return Loss(models.encoder.embed(batch.sequences).square().mean())


@listed
class Chancy(_Pairs):
    """Another loss each time."""

    name: ClassVar[str] = "chancy"

    def loss(self, models, batch, step):
        return Loss(models.encoder.embed(batch.sequences).square().sum() * (1 + next(CALLS)))


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


@listed
class Shuffled(CorpusReader):
    """Documents in another order each time."""

    name: ClassVar[str] = "shuffled"

    def documents(self, ctx):
        texts = ["one", "two", "three"]
        turn = next(CALLS) % 3
        return iter([Document(text, f"here:{i}") for i, text in enumerate(texts[turn:] + texts[:turn])])


@listed
class Homeless(CorpusReader):
    """A document that does not say where it stands."""

    name: ClassVar[str] = "homeless"

    def documents(self, ctx):
        return iter([Document("a text", "")])


@listed
class Worded(PairReader):
    """Words where numbers are declared."""

    name: ClassVar[str] = "worded"
    columns: ClassVar[dict] = {"sentence1": Role.TEXT, "sentence2": Role.TEXT, "score": Role.NUMBER}

    def pairs(self, translator, ctx):
        return iter([{"sentence1": "a", "sentence2": "b", "score": "4.2"}])


@listed
class Curt(Translator):
    """Cannot serve a pair and does not say what is missing."""

    name: ClassVar[str] = "curt"

    def offer(self, source, target):
        return Offer("none", False)

    def translate(self, texts, source, target, ctx):
        return iter(())


class _Silent(Generator):
    def generate(self, prompts, ctx):
        return iter(())


@listed
class Forgetful(_Silent):
    """Another identity each time it is asked."""

    name: ClassVar[str] = "forgetful"

    def fingerprint(self):
        return str(next(CALLS))


@listed
class Nameless(Source):
    """No identity: all of its versions share one cache."""

    name: ClassVar[str] = "nameless"

    def fingerprint(self):
        return ""

    def fetch(self, folder):
        (folder / "a.txt").write_text("a")


@listed
class Editor(Selector):
    """Changes the rows it keeps."""

    name: ClassVar[str] = "editor"

    def select(self, rows, encoder, ctx):
        return rows.map(lambda row: {"text": row["text"].upper()})


@listed
class Greedy(Selector):
    """Keeps nothing."""

    name: ClassVar[str] = "greedy"

    def select(self, rows, encoder, ctx):
        return rows.select([])


@listed
class Moody(Selector):
    """Keeps other rows each time."""

    name: ClassVar[str] = "moody"

    def select(self, rows, encoder, ctx):
        return rows.select([next(CALLS) % len(rows)])


class _Reader(Annotator):
    def reads(self):
        return {"text": Role.TEXT}

    def adds(self):
        return {"length": Role.NUMBER}


@listed
class Short(_Reader):
    """A value too few."""

    name: ClassVar[str] = "short"

    def annotate(self, rows, teacher, ctx):
        return {"length": [len(text) for text in rows["text"]][1:]}


@listed
class Other(_Reader):
    """Another column than it says."""

    name: ClassVar[str] = "other"

    def annotate(self, rows, teacher, ctx):
        return {"size": [len(text) for text in rows["text"]]}


@listed
class Renamed(TokenizerTrainer):
    """Other bytes each time."""

    name: ClassVar[str] = "renamed"

    def train(self, texts, base, ctx):
        base.add_tokens([f"token{next(CALLS)}"])
        return base


@listed
class Unframed(TokenizerTrainer):
    """Forgets the special tokens around a text."""

    name: ClassVar[str] = "unframed"

    def train(self, texts, base, ctx):
        from tokenizers import processors

        base.backend_tokenizer.post_processor = processors.Sequence([])
        return base


@listed
class Blind(TokenizerTrainer):
    """Knows no word of its text."""

    name: ClassVar[str] = "blind"

    def train(self, texts, base, ctx):
        from tokenizers import pre_tokenizers

        base.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split("\u0000", "isolated")
        base.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", "\u2603")])
        return base


@listed
class Dead(Adaptation):
    """Marks a weight that no gradient reaches."""

    name: ClassVar[str] = "dead"

    def attach(self, model):
        model.requires_grad_(True)
        model.spare = torch.nn.Parameter(torch.zeros(3))


@listed
class Heavy(LightAdaptation):
    """Says that it is light and trains the base."""

    name: ClassVar[str] = "heavy"
    library: ClassVar[str] = "peft"

    def attach(self, model):
        model.requires_grad_(False)
        model.get_input_embeddings().weight.requires_grad_(True)

    def save(self, model, folder):
        torch.save(model.get_input_embeddings().state_dict(), folder / "rows.pt")

    def load(self, model, folder):
        self.attach(model)
        model.get_input_embeddings().load_state_dict(torch.load(folder / "rows.pt"))


@listed
class Lost(Heavy):
    """Saves nothing."""

    name: ClassVar[str] = "lost"

    def save(self, model, folder):
        (folder / "rows.pt").touch()

    def load(self, model, folder):
        self.attach(model)


@listed
class Uphill(Optimizer):
    """Climbs."""

    name: ClassVar[str] = "uphill"

    def build(self, groups, learning_rate):
        return torch.optim.SGD(groups, lr=learning_rate, maximize=True)


@listed
class Restless(Optimizer):
    """Moves at a rate of zero."""

    name: ClassVar[str] = "restless"

    def build(self, groups, learning_rate):
        return torch.optim.SGD(groups, lr=max(learning_rate, 0.01))


@listed
class Outside(Evaluator):
    """A value beyond its own interval."""

    name: ClassVar[str] = "outside"

    def evaluate(self, encoder, ctx):
        return [Score("task", "metric", 50.0, 60.0, 70.0, 10)]


@listed
class Undefined(Evaluator):
    """A score that is no number."""

    name: ClassVar[str] = "undefined"

    def evaluate(self, encoder, ctx):
        return [Score("task", "metric", float("nan"), None, None, 10)]


@listed
class Fickle(Evaluator):
    """Another score each time."""

    name: ClassVar[str] = "fickle"

    def evaluate(self, encoder, ctx):
        return [Score("task", "metric", float(next(CALLS)), None, None, 10)]


@listed
class Forger(Exporter):
    """Writes weights that are not the encoder's."""

    name: ClassVar[str] = "forger"

    def export(self, encoder, tokenizer, settings, folder, texts=None):
        from langadapt.contracts.checkpoints import save_checkpoint

        with torch.no_grad():
            encoder.body.get_input_embeddings().weight.mul_(0.5)
        save_checkpoint(encoder.body, tokenizer, folder)


@listed
class Author(Exporter):
    """Writes the card, which is the core's."""

    name: ClassVar[str] = "author"

    def export(self, encoder, tokenizer, settings, folder, texts=None):
        (folder / "README.md").write_text("mine")


@hookimpl
def langadapt_components():
    return REFS
