"""The kit's laws catch what they are for: each broken component below fails the one that is named, and the sound one passes all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.testing.conform import _lasts_as_a_slot, _says_what_it_is
from langadapt.testing.laws import LAWS, Case, NotTried
from langadapt.testing.toys import Toy, toy_folder

pytestmark = pytest.mark.usefixtures("one_thread")

WRONG = {
    "pooler/padded": "padding_changes_nothing",
    "pooler/wide": "its_width_is_what_it_says",
    "pooler/cut": "its_weights_train_and_last",
    "pooler/mute": "_says_what_it_is",
    "transform/shaped": "it_maps_row_by_row",
    "objective/loose": "how_texts_are_grouped_changes_nothing",
    "objective/averaged": "its_loss_is_no_mean",
    "transform/faded": "it_is_restored_from_its_arrays",
    "objective/chancy": "how_texts_are_grouped_changes_nothing",
    "objective/still": "its_loss_is_a_sum_that_trains",
    "normalizer/growing": "twice_is_once",
    "normalizer/apart": "twice_is_once",
    "sampler/lossy": "it_loses_no_row",
    "schedule/steep": "its_factor_stays_in_bounds",
    "merger/sum": "equals_merged_are_themselves",
    "vocab-init/misled": "what_is_copied_is_exact",
    "embedding/ragged": "it_has_a_row_for_every_token",
    "corpus/shuffled": "its_documents_come_in_order",
    "corpus/homeless": "its_documents_come_in_order",
    "pairs/worded": "its_rows_have_its_columns",
    "translator/curt": "its_offer_is_cheap",
    "generator/forgetful": "its_fingerprint_stays",
    "source/nameless": "its_fingerprint_stays",
    "selector/editor": "it_keeps_some_of_the_rows",
    "selector/greedy": "it_keeps_some_of_the_rows",
    "selector/moody": "it_keeps_some_of_the_rows",
    "annotator/short": "it_adds_what_it_says",
    "annotator/other": "it_adds_what_it_says",
    "tokenizer/renamed": "its_tokenizer_lasts",
    "tokenizer/unframed": "its_tokenizer_frames_texts",
    "tokenizer/blind": "its_tokenizer_frames_texts",
    "adaptation/dead": "what_it_marks_is_what_trains",
    "adaptation/heavy": "what_it_marks_is_what_trains",
    "adaptation/lost": "it_lasts",
    "optimizer/uphill": "it_goes_downhill",
    "optimizer/restless": "it_goes_downhill",
    "evaluator/outside": "its_scores_are_whole",
    "evaluator/undefined": "its_scores_are_whole",
    "evaluator/fickle": "its_scores_are_whole",
    "exporter/forger": "its_release_is_the_encoder",
    "exporter/author": "its_release_is_the_encoder",
}


@pytest.fixture(scope="module")
def wrong() -> Registry:
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        return Registry(load_plugins(("all_wrong",)))
    finally:
        sys.path.remove(str(Path(__file__).parent))


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
        except NotTried:
            continue
        except (AssertionError, ValueError):  # a width that is not there breaks numpy's own check first
            found.append(rule.__name__)
    return found


@pytest.mark.parametrize("key", sorted(WRONG))
def test_a_broken_component_breaks_its_law(wrong: Registry, key: str, tmp_path: Path) -> None:
    assert WRONG[key] in failed(wrong, key, tmp_path)


def test_a_sound_one_breaks_none(wrong: Registry, tmp_path: Path) -> None:
    assert failed(wrong, "pooler/sound", tmp_path) == []


def test_every_kind_has_a_law_and_every_law_catches_something() -> None:
    from langadapt.contracts.kinds import KINDS

    assert set(KINDS) == set(LAWS), "a kind without a law, or a law for none"
    laws = {rule.__name__ for rules in LAWS.values() for rule in rules}
    assert laws - set(WRONG.values()) == set(), "a law that no broken component below shows to catch anything"
