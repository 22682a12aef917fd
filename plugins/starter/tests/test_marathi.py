"""The Marathi grammar: hand-checked sentences, true labels, disjoint splits."""

import unicodedata
from collections import Counter, defaultdict
from random import Random

import pytest
from langadapt_starter.marathi import SPLITS, NliPair, nli, sts
from langadapt_starter.marathi.frames import FRAMES, Frame, Sentence, is_plural, render
from langadapt_starter.marathi.lexicon import Numeral, Word, function_words, load, tables
from langadapt_starter.marathi.morphology import forms
from langadapt_starter.marathi.pairs import sample
from langadapt_starter.marathi.relations import AT_LEAST, ONLY, Step, contradictions, entailments, neutrals

LABELS = ("entailment", "neutral", "contradiction")
_FRAMES = {frame.id: frame for frame in FRAMES}


@pytest.fixture(scope="module")
def pairs() -> dict[str, list[NliPair]]:
    return {split: nli(split) for split in SPLITS}


def _words(text: str) -> list[str]:
    assert text.endswith(".")
    return text.removesuffix(".").split(" ")


def _form_words(word: Word) -> set[str]:
    return {token for form in forms(word) for token in form.split()}


def _shared() -> set[str]:
    """Function words, numerals and the forms of the light verb."""
    light = [word for table in tables() for word in table if word.split == "all"]
    numerals = {numeral.lemma for numeral in load("train").numerals}
    return {*function_words(), *numerals, *(token for word in light for token in _form_words(word))}


def _content(split: str) -> set[str]:
    words = [word for table in tables() for word in table if word.split == split]
    return {token for word in words for token in _form_words(word)} - _shared()


def _word(lemma: str) -> Word:
    if "/" in lemma:
        lemma, _, qualifier = lemma.partition("/")
        return next(Numeral(n.lemma, n.value, qualifier) for n in load("train").numerals if n.lemma == lemma)
    return next(word for table in tables() for word in table if word.lemma == lemma)


def _sentence(frame_id: str, fill: str, negative: bool = False) -> Sentence:
    frame = _FRAMES[frame_id]
    sentence = Sentence(frame, {}, negative)
    for part in fill.split(","):
        slot, _, lemma = part.partition("=")
        sentence = sentence.put(slot, _word(lemma), is_plural(frame, slot))
    return sentence


AFFIRMATIVE = [
    ("motion.past", "A=राम,V=जाणे,L=शाळा", "राम शाळेत गेला."),
    ("motion.past", "A=सीता,V=जाणे,L=बाजार,T=काल,W=सायकल", "सीता काल सायकलीने बाजारात गेली."),
    ("motion.past", "A=मूल,V=परतणे,L=देऊळ", "मूल देवळात परतले."),
    ("motion.conjoined", "A=राम,B=सीता,V=जाणे,L=शेत", "राम आणि सीता शेतात गेले."),
    ("motion.conjoined", "A=नेहा,B=गीता,V=येणे,L=किल्ला", "नेहा आणि गीता किल्ल्यात आल्या."),
    ("motion.future", "A=मीना,V=जाणे,L=पुणे,T=उद्या", "मीना उद्या पुण्याला जाईल."),
    ("motion.habitual", "A=राधा,V=जाणे,L=बाग,T=दररोज", "राधा दररोज बागेत जाते."),
    ("motion.companion", "A=राम,C=मीना,V=जाणे,L=मंदिर", "राम मीनाबरोबर मंदिरात गेला."),
    ("motion.desire", "A=राम,V=जाणे,L=जंगल", "रामला जंगलात जायचे आहे."),
    ("motion.duty", "A=राम,V=जाणे,L=शेत", "रामने शेतात गेले पाहिजे."),
    ("activity.plural", "A=मूल,V=हसणे,L=बाग", "मुले बागेत हसत आहेत."),
    ("activity.past_progressive", "A=मुलगी,V=रडणे", "मुलगी रडत होती."),
    ("activity.ability", "A=स्वाती,V=धावणे,M=वेगाने", "स्वाती वेगाने धावू शकते."),
    ("eat.past", "A=राम,V=खाणे,O=आंबा", "रामने आंबा खाल्ला."),
    ("eat.past", "A=राम,V=खाणे,O=पोळी", "रामने पोळी खाल्ली."),
    ("eat.past", "A=सीता,V=खाणे,O=केळे,J=पिकलेला", "सीताने पिकलेले केळे खाल्ले."),
    ("eat.quantity", "A=शेतकरी,V=खाणे,O=पोळी,Q=दोन/", "शेतकऱ्याने दोन पोळ्या खाल्ल्या."),
    ("eat.quantity", "A=राम,V=खाणे,O=केळे,Q=तीन/फक्त", "रामने फक्त तीन केळी खाल्ली."),
    ("eat.past", "A=नेहा,V=पिणे,O=चहा,J=गरम", "नेहाने गरम चहा प्यायला."),
    ("eat.desire", "A=मीना,V=खाणे,O=भाकरी", "मीनाला भाकरी खायची आहे."),
    ("eat.causative", "A=राम,R=मीना,V=खाणे,O=पेरू", "रामने मीनाला पेरू खायला लावला."),
    ("read.progressive", "A=राम,V=वाचणे,O=पुस्तक,L=बाग", "राम बागेत पुस्तक वाचत आहे."),
    ("read.plural", "A=मूल,V=वाचणे,O=कविता", "मुलांनी कविता वाचली."),
    ("write.instrument", "A=रेखा,V=लिहिणे,O=पत्र,I=पेन", "रेखाने पेनाने पत्र लिहिले."),
    ("teach.habitual", "A=मीना,R=मूल,V=शिकवणे,O=गणित", "मीना मुलांना गणित शिकवते."),
    ("trade.price", "A=राम,V=विकत घेणे,O=साडी,P=पाचशे/", "रामने पाचशे रुपयांना साडी विकत घेतली."),
    ("give.past", "A=राम,R=सीता,V=देणे,O=पुस्तक", "रामने सीताला पुस्तक दिले."),
    ("call.past", "A=सीता,R=मुलगा,V=बोलावणे", "सीताने मुलाला बोलावले."),
    ("meet.past", "A=राधा,R=राम,V=भेटणे", "राधा रामला भेटली."),
    ("contest.past", "A=राम,V=जिंकणे,O=स्पर्धा", "रामने स्पर्धा जिंकली."),
    ("contest.past", "A=राम,V=हरणे,O=स्पर्धा", "राम स्पर्धा हरला."),
    ("learn.progressive", "A=शोभा,V=शिकणे,O=इतिहास", "शोभा इतिहास शिकत आहे."),
    ("be.surface", "O=छत्री,J=काळा,L=टेबल", "काळी छत्री टेबलावर आहे."),
    ("be.age", "A=मीना,Y=दहा/", "मीना दहा वर्षांची आहे."),
    ("compare.adjective", "A=राम,B=मीना,J=ठेंगणा", "राम मीनापेक्षा ठेंगणा आहे."),
    ("exist.quantity", "L=शेत,Q=तीन/,O=झाड", "शेतात तीन झाडे आहेत."),
    ("have.kin", "A=राम,Q=दोन/,O=बहीण", "रामला दोन बहिणी आहेत."),
    ("possess.adjective", "A=मीना,O=सायकल,J=नवा", "मीनाची सायकल नवी आहे."),
    ("want.object", "A=राम,O=घड्याळ", "रामला घड्याळ हवे आहे."),
    ("like.object", "A=सीता,V=आवडणे,O=आंबा", "सीताला आंबा आवडतो."),
    ("weather.past", "L=पुणे,T=काल,V=पडणे,O=पाऊस", "पुण्यात काल पाऊस पडला."),
]
NEGATIVE = [
    ("motion.past", "A=सीता,V=जाणे,L=शाळा", "सीता शाळेत गेली नाही."),
    ("motion.future", "A=राम,V=जाणे,L=मुंबई", "राम मुंबईला जाणार नाही."),
    ("motion.duty", "A=राम,V=जाणे,L=जंगल", "रामने जंगलात जाऊ नये."),
    ("activity.plural", "A=मुलगी,V=हसणे", "मुली हसत नाहीत."),
    ("activity.past_progressive", "A=राम,V=हसणे", "राम हसत नव्हता."),
    ("activity.ability", "A=राम,V=नाचणे", "राम नाचू शकत नाही."),
    ("eat.past", "A=राम,V=खाणे,O=पोळी", "रामने पोळी खाल्ली नाही."),
    ("eat.desire", "A=राम,V=खाणे,O=केळे", "रामला केळे खायचे नाही."),
    ("want.object", "A=राम,O=छत्री", "रामला छत्री नको आहे."),
    ("be.place_past", "A=मीना,L=बाग", "मीना बागेत नव्हती."),
]


@pytest.mark.parametrize(("frame_id", "fill", "expected"), AFFIRMATIVE)
def test_affirmative_sentences(frame_id: str, fill: str, expected: str) -> None:
    assert render(_sentence(frame_id, fill)) == expected


@pytest.mark.parametrize(("frame_id", "fill", "expected"), NEGATIVE)
def test_negative_sentences(frame_id: str, fill: str, expected: str) -> None:
    assert render(_sentence(frame_id, fill, negative=True)) == expected


RELATIONS = [
    ("eat.past", "A=राम,V=खाणे,O=आंबा", "entailment", "रामने फळ खाल्ले."),
    ("eat.past", "A=राम,V=खाणे,O=आंबा", "entailment", "कोणीतरी आंबा खाल्ला."),
    ("eat.past", "A=राम,V=खाणे,O=आंबा", "contradiction", "कोणीही आंबा खाल्ला नाही."),
    ("eat.past", "A=राम,V=खाणे,O=फळ", "neutral", "रामने आंबा खाल्ला."),
    ("eat.quantity", "A=राम,V=खाणे,O=आंबा,Q=पाच/फक्त", "entailment", "रामने किमान तीन आंबे खाल्ले."),
    ("eat.quantity", "A=राम,V=खाणे,O=आंबा,Q=पाच/फक्त", "contradiction", "रामने फक्त तीन आंबे खाल्ले."),
    ("eat.quantity", "A=राम,V=खाणे,O=आंबा,Q=पाच/किमान", "neutral", "रामने किमान सात आंबे खाल्ले."),
    ("compare.adjective", "A=राम,B=मीना,J=उंच", "entailment", "मीना रामपेक्षा ठेंगणी आहे."),
    ("compare.adjective", "A=राम,B=मीना,J=उंच", "contradiction", "मीना रामपेक्षा उंच आहे."),
    ("give.past", "A=राम,R=सीता,V=देणे,O=पुस्तक", "entailment", "सीताला रामकडून पुस्तक मिळाले."),
    ("give.past", "A=राम,R=सीता,V=देणे,O=पुस्तक", "neutral", "सीताने रामला पुस्तक दिले."),
    ("opening.past", "A=राम,V=उघडणे,O=खिडकी", "contradiction", "रामने खिडकी बंद केली."),
    ("motion.conjoined", "A=सीता,B=राम,V=जाणे,L=शाळा", "entailment", "सीता शाळेत गेली."),
    ("motion.past", "A=राम,V=जाणे,L=शाळा", "contradiction", "राम बाजारात गेला."),
    ("motion.past", "A=राम,V=जाणे,L=शाळा", "neutral", "सीता शाळेत गेली."),
]


def _steps(sentence: Sentence) -> dict[str, list[Step]]:
    lexicon = load("train")
    return {
        "entailment": entailments(sentence, lexicon),
        "contradiction": list(contradictions(sentence, lexicon)),
        "neutral": neutrals(sentence, lexicon),
    }


@pytest.mark.parametrize(("frame_id", "fill", "label", "hypothesis"), RELATIONS)
def test_relations_earn_their_label(frame_id: str, fill: str, label: str, hypothesis: str) -> None:
    steps = _steps(_sentence(frame_id, fill))
    assert [name for name in LABELS if hypothesis in {render(step.sentence) for step in steps[name]}] == [label]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.id)
def test_no_hypothesis_earns_two_labels(frame: Frame) -> None:
    drawn = [sample(frame, load("train"), Random(seed)) for seed in range(12)]
    for sentence in drawn:
        if sentence is not None:
            texts = {name: {render(step.sentence) for step in steps} for name, steps in _steps(sentence).items()}
            assert texts["contradiction"] & (texts["entailment"] | texts["neutral"] | {render(sentence)}) == set()
            assert texts["entailment"] & texts["neutral"] == set()


def test_negation_turns_kind_of_round() -> None:
    fruit = _steps(_sentence("eat.past", "A=राम,V=खाणे,O=फळ", negative=True))
    mango = _steps(_sentence("eat.past", "A=राम,V=खाणे,O=आंबा", negative=True))
    assert "रामने आंबा खाल्ला नाही." in {render(step.sentence) for step in fruit["entailment"]}
    assert "रामने फळ खाल्ले नाही." in {render(step.sentence) for step in mango["neutral"]}


def test_a_bare_or_exact_number_is_never_contradicted_loosely() -> None:
    bare = _sentence("eat.quantity", "A=राम,V=खाणे,O=आंबा,Q=पाच/")
    assert not [step for step in _steps(bare)["contradiction"] if step.slot == "Q"]
    exact = _sentence("eat.quantity", f"A=राम,V=खाणे,O=आंबा,Q=पाच/{ONLY}")
    assert "hypernym" not in {step.relation for step in _steps(exact)["entailment"]}
    assert f"रामने {AT_LEAST} पाच फळे खाल्ली." not in {render(s.sentence) for s in _steps(exact)["entailment"]}


def test_counts_and_balance(pairs: dict[str, list[NliPair]]) -> None:
    total = sum(len(found) for found in pairs.values())
    assert total >= 6000
    assert 0.75 <= len(pairs["train"]) / total <= 0.85
    for found in pairs.values():
        counts = Counter(pair.label for pair in found)
        assert set(counts) == set(LABELS)
        assert max(counts.values()) <= 1.1 * len(found) / 3
        assert min(counts.values()) >= 0.9 * len(found) / 3
    assert len({pair.frame for found in pairs.values() for pair in found}) >= 40
    assert {pair.frame for found in pairs.values() for pair in found} == set(_FRAMES)


def test_no_duplicates_and_no_pair_of_a_sentence_with_itself(pairs: dict[str, list[NliPair]]) -> None:
    for split, found in pairs.items():
        keys = [(pair.premise, pair.hypothesis) for pair in found]
        assert len(set(keys)) == len(keys)
        assert all(premise != hypothesis for premise, hypothesis in keys)
        scored = [frozenset((pair.sentence1, pair.sentence2)) for pair in sts(split)]
        assert len(set(scored)) == len(scored)
        assert all(len(pair) == 2 for pair in scored)


def test_premises_for_triplets(pairs: dict[str, list[NliPair]]) -> None:
    labels: dict[str, set[str]] = defaultdict(set)
    for pair in pairs["train"]:
        labels[pair.premise].add(pair.label)
    assert sum({"entailment", "contradiction"} <= found for found in labels.values()) >= 2000


def test_no_word_gives_a_label_away(pairs: dict[str, list[NliPair]]) -> None:
    for word in ("कोणीतरी", "कोणीही", "नाही"):
        counts = Counter(pair.label for pair in pairs["train"] if word in _words(pair.hypothesis))
        assert max(counts.values()) < 0.9 * sum(counts.values()), (word, counts)


def test_lexicon_tables_are_disjoint() -> None:
    train, dev, test = (_content(split) for split in SPLITS)
    assert train
    assert dev
    assert test
    assert train & dev == set()
    assert train & test == set()
    assert dev & test == set()


def test_lexicon_is_big_enough() -> None:
    nouns, verbs, adjectives, _ = tables()
    names = [noun for noun in nouns if "name" in noun.classes]
    assert len(names) >= 40
    assert len(nouns) - len(names) >= 150
    assert len(verbs) >= 60
    assert len(adjectives) >= 50
    for table in tables():
        lemmas = [word.lemma for word in table]
        assert len(set(lemmas)) == len(lemmas)


def test_every_word_is_known(pairs: dict[str, list[NliPair]]) -> None:
    for split in SPLITS:
        known = _content(split) | _shared()
        texts = [text for pair in pairs[split] for text in (pair.premise, pair.hypothesis)]
        texts += [text for pair in sts(split) for text in (pair.sentence1, pair.sentence2)]
        assert {word for text in texts for word in _words(text)} - known == set()
        assert all(unicodedata.is_normalized("NFC", text) for text in texts)


def test_scores() -> None:
    found = {split: sts(split) for split in SPLITS}
    assert sum(len(scored) for scored in found.values()) >= 2000
    for scored in found.values():
        counts = Counter(pair.score for pair in scored)
        assert set(counts) == {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}
        assert min(counts.values()) >= 0.8 * len(scored) / 6


def test_unrelated_pairs_share_no_content_word() -> None:
    for pair in sts("train"):
        if pair.score == 0.0:
            assert set(_words(pair.sentence1)) & set(_words(pair.sentence2)) <= _shared()


def test_same_seed_same_pairs() -> None:
    assert nli("dev", seed=5) == nli("dev", seed=5)
    assert sts("dev", seed=5) == sts("dev", seed=5)
    assert nli("dev", seed=5) != nli("dev", seed=6)


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="unknown split"):
        nli("validation")
