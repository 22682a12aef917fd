"""Tasks of MTEB, scored by MTEB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from langadapt.contracts import Context, Evaluator, Resource, Score
from langadapt.errors import DataError, SourceError

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

    from langadapt.contracts import Embeds


AWAY = ("Connect", "Timeout", "Offline", "LocalEntryNotFound")
"""In names of errors that a network makes, and the next run may not meet."""


class Mteb(Evaluator):
    """Main scores, ×100, of tasks of the Massive Text Embedding Benchmark (Muennighoff et al. 2023, arXiv:2210.07316), by its package.

    `tasks` are taken from the Hub by their names, all their subsets in `languages` (ISO 639-3, ``mar``), of the splits that MTEB scores
    them on.  `data` is a resource that becomes a task too: what other evaluators here score on the same data agrees to the last digits
    (STS, paraphrase, bitext's accuracy; nDCG but for MTEB's rounding); MTEB's classification draws its own training rows.  Adapters with
    roles read queries and documents; prompts are the encoder's, not the task's.  MTEB gives no intervals, and so there are none.
    """

    name: ClassVar[str] = "mteb"

    tasks: list[str] = []
    languages: list[str] = []
    data: Resource | None = None
    test: Resource | None = None
    """Of a classification in `data`: the rows to score on."""
    language: str = "und-Zyyy"
    """Of `data`, as MTEB writes it (``mar-Deva``)."""

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        if not self.tasks and self.data is None:
            raise ValueError("neither tasks nor data are named")
        return self

    @property
    def test_data(self) -> Resource | None:
        return self.test or self.data

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        from langadapt_mteb.model import MtebModel
        from langadapt_mteb.tasks import local_task

        chosen = [local_task(self.data, ctx, self.test, self.language)] if self.data is not None else []
        model = MtebModel(encoder)
        return [score for task in [*chosen, *self._published()] for score in _scores(model, task, ctx)]

    def _published(self) -> list[AbsTask]:
        """Tasks of MTEB's by their names.

        Raises:
            DataError: there is no such task, or none in these languages.
        """
        import mteb

        found = []
        for name in self.tasks:
            try:
                found.append(mteb.get_task(name, languages=self.languages or None))
            except (KeyError, ValueError) as error:
                raise DataError(f"MTEB has no task '{name}' to offer: {' '.join(str(error).split())[:300]}") from error
        return found


def _scores(model: Any, task: AbsTask, ctx: Context) -> list[Score]:
    import mteb

    ctx.log.info(f"MTEB: {task.metadata.name}")
    try:
        task.load_data()
    except Exception as error:  # datasets and the Hub's client raise a dozen kinds
        kind = type(error).__name__
        away = isinstance(error, ConnectionError | TimeoutError) or any(part in kind for part in AWAY)
        raise (SourceError if away else DataError)(
            f"the data of MTEB's {task.metadata.name} cannot be had ({kind}: {' '.join(str(error).split())[:200]})",
            hint="Check the network, or leave the task out.",
        ) from error
    result = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
    found, several = [], sum(map(len, result.task_results[0].scores.values())) > 1
    for split, entries in result.task_results[0].scores.items():
        for entry in entries:
            about = f" {entry['hf_subset']} {split}" if several else ""
            n = _items(task, str(entry["hf_subset"]), split)
            found.append(Score(task.metadata.name + about, task.metadata.main_score, 100 * float(entry["main_score"]), None, None, n))
    return found


def _items(task: Any, subset: str, split: str) -> int:
    """Rows, or queries of a search, that a score is measured on."""
    whole = task.dataset.get(subset, task.dataset)
    part = whole[split]
    return len(part["queries"]) if isinstance(part, dict) else len(part)
