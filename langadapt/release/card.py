"""A release: what people download.  Its card, its checksums, and the normalizer inside its tokenizer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.artifacts import scores as score_tables
from langadapt.errors import StoreError
from langadapt.files import RECORD, file_digest, strangers
from langadapt.release import licences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SUMS = "SHA256SUMS"


def bake_normalizer(tokenizer: PreTrainedTokenizerFast, normalizer: Any) -> bool:
    """Put a normalizer's rules in front of the tokenizer's own, so that every loader applies them; False if it cannot be."""
    rules = normalizer.fast()
    if rules is None:
        return False
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    own = backend.normalizer
    backend.normalizer = normalizers.Sequence([rules, own]) if own is not None else rules
    return True


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` in the format of ``sha256sum``, over every file but itself."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    lines = [f"{file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of a release; nothing when it is whole.

    Raises:
        StoreError: there is no SHA256SUMS, a line of it is malformed, or it names a file outside the release.
    """
    stated = _stated_sums(folder)
    yield from altered(folder)
    for name, what in strangers(folder, {*stated, SUMS, RECORD}):
        yield name, "is not in SHA256SUMS" if what.startswith("does not belong") else what


def altered(folder: Path) -> Iterator[tuple[str, str]]:
    """As :func:`check_sums`, without what somebody put beside the release's own files."""
    for name, digest in _stated_sums(folder).items():
        path = folder / name
        if not path.is_file():
            yield name, "is missing"
        elif file_digest(path) != digest:
            yield name, "was altered (its sha256 differs)"


def _stated_sums(folder: Path) -> dict[str, str]:
    sums = folder / SUMS
    if not sums.is_file():
        raise StoreError("there is no SHA256SUMS", where=str(folder), hint="Is this a release folder?")
    stated = {}
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot be read: {error}", where=str(sums)) from error
    for number, line in enumerate(lines, 1):
        digest, gap, name = line.partition("  ")
        if not gap or len(digest) != 64 or Path(name).is_absolute() or ".." in Path(name).parts:
            raise StoreError("not a checksum line", where=f"{sums}:{number}")
        stated[name] = digest
    return stated


def is_starter(facts: dict[str, Any]) -> bool:
    """True when any part of the release came from the packaged starter."""
    return any(resource["place"] == "starter" for resource in facts["resources"])


def licence_of(facts: dict[str, Any]) -> tuple[str, list[str]]:
    """(licence tag for the Hub, remarks): the strictest reading of what base, data and translation engines state."""
    texts = {resource["licence"] for resource in facts["resources"]}
    texts |= {engine["licence"] for engine in facts.get("engines", []) if engine["binding"]}
    return licences.tag(texts), licences.remarks(texts)


def card(facts: dict[str, Any], scores: score_tables.Scores) -> str:
    """The model card in the Hub's format."""
    language = facts["language"]
    title = f"{language['name'] or 'Text'} encoder ({' → '.join(facts['recipes'])})"
    parts = [_front_matter(facts, scores), f"# {title}\n"]
    if is_starter(facts):
        parts.append(_starter_note(facts))
    parts += [
        _intended(facts),
        _usage(facts),
        _scores(scores, facts),
        _making(facts),
        _sources(facts),
        _environment(facts),
        _limits(facts),
    ]
    return "\n".join(part for part in parts if part)


def scorer_card(facts: dict[str, Any], scores: score_tables.Scores) -> str:
    """The card of a scorer of pairs."""
    language = facts["language"]
    head = ["---"]
    if language["code"]:
        head += ["language:", f"- {json.dumps(language['code'])}"]
    head += [f"license: {licence_of(facts)[0]}", "library_name: sentence-transformers", "pipeline_tag: text-ranking"]
    head += ["tags:", "- cross-encoder", "- reranker", "- langadapt"]
    parts = [
        "\n".join([*head, "---", ""]),
        f"# {language['name'] or 'Text'} cross-encoder ({' → '.join(facts['recipes'])})\n",
        _starter_note(facts) if is_starter(facts) else "",
        f"Reads two texts of together at most {facts['pair_length']} tokens and says in one number how they belong together; "
        f"{facts['parameters'] / 1e6:.1f} M weights. It puts the passages that a search has found into a better order.\n",
        SCORER_USAGE,
        _scores(scores, facts),
        _making(facts),
        _sources(facts),
        _environment(facts),
    ]
    return "\n".join(part for part in parts if part)


SCORER_USAGE = """## How to use

```python
from sentence_transformers import CrossEncoder

model = CrossEncoder("PATH_OR_HUB_ID")
model.predict([("question", "passage"), ("question", "another passage")])
```
"""


def adapter_card(facts: dict[str, Any], scores: score_tables.Scores) -> str:
    """The card of an adapter released alone."""
    record = facts["adapter"]
    base, method = record["base"], record["adaptation"]["use"]
    about = facts["domain"] or facts["language"]["name"] or "text"
    head = ["---"]
    if facts["language"]["code"]:
        head += ["language:", f"- {json.dumps(facts['language']['code'])}"]
    head += [f"license: {licence_of(facts)[0]}", f"library_name: {'peft' if record['library'] == 'peft' else 'adapter-transformers'}"]
    head += ["tags:", "- adapter", "- sentence-similarity", "- langadapt"]
    if "/" in base["origin"] and " " not in base["origin"]:
        head += ["base_model:", f"- {json.dumps(base['origin'])}"]
    share = 100 * record["trained"] / base["parameters"]
    parts = [
        "\n".join([*head, "---", ""]),
        f"# {about[:1].upper()}{about[1:]} adapter ({method})\n",
        _starter_note(facts) if is_starter(facts) else "",
        f"{record['trained']:,} weights ({share:.2f} % of the base) for the {base['model_type']} encoder "
        f"**{base['origin'] or 'named below'}** with {base['parameters'] / 1e6:.1f} M. It does nothing without that base: "
        "`adapter.json` holds the digest of the base's weights, and langadapt refuses any other.\n",
        _adapter_usage(facts),
        _scores(scores, facts),
        _making(facts),
        _sources(facts) if facts["resources"] else NO_SOURCES,
        _environment(facts),
        f"Digest of the base's weights: `{base['digest']}`\n",
    ]
    return "\n".join(part for part in parts if part)


NO_SOURCES = "Sources and licences of base and data: not known to the store; a build's own release states them.\n"


OTHER_IN_LIBRARY = ("bloom", "deberta", "modernbert")
"""Model types that the library adapters does not know, or whose fused projections it gives random biases."""


def _adapter_usage(facts: dict[str, Any]) -> str:
    """How langadapt and the adapter's own library load it: what works, and nothing else."""
    record = facts["adapter"]
    base, roles, kind = facts["hub_base"] or "PATH_OR_HUB_ID_OF_THE_BASE", record["roles"], record["base"]["model_type"]
    lines = ["## How to use\n"]
    if facts["served"]:
        lines += ["```python", "from langadapt import Encoder\n", f'encoder = Encoder.load("{base}")']
        lines += [f'encoder.add_adapter("{role}", "PATH_OF_THIS/{role}")' for role in roles]
        lines += [f'{role} = encoder.encode(["…"], adapter="{role}")' for role in roles]
        if not roles:
            lines += ['encoder.add_adapter("mine", "PATH_OF_THIS")', 'vectors = encoder.encode(["…"], adapter="mine")']
        lines += ["```\n"]
    if record["library"] == "adapters" and kind in OTHER_IN_LIBRARY:
        return "\n".join([*lines, f"The library `adapters` alone does not load it as it was trained on the architecture {kind}.\n"])
    if facts["served"]:
        lines += [f"or with `{record['library']}` itself (pooling is then yours to do):\n"]
    else:
        lines += [
            f"langadapt scores this method (`{record['adaptation']['use']}`) in a build, but `Encoder.add_adapter` cannot serve it "
            f"exactly and refuses it. Load it with `{record['library']}` (pooling is then yours to do):\n"
        ]
    return "\n".join([*lines, "```python", *_in_library(facts), "```\n"])


def _in_library(facts: dict[str, Any]) -> list[str]:
    """Lines of code that load an adapter in peft or adapters."""
    record, hub = facts["adapter"], facts["hub_base"]
    folder = f"PATH_OF_THIS/{record['roles'][0]}" if record["roles"] else "PATH_OF_THIS"
    if record["library"] == "peft" and hub:
        return ["from peft import AutoPeftModel", f'model = AutoPeftModel.from_pretrained("{folder}")  # fetches {hub}']
    load = ["from transformers import AutoModel", f'base = AutoModel.from_pretrained("{hub or "PATH_OR_HUB_ID_OF_THE_BASE"}")']
    if record["library"] == "peft":
        return ["from peft import PeftModel", *load, f'model = PeftModel.from_pretrained(base, "{folder}")']
    start = ["import adapters", *load, "adapters.init(base)"]
    if facts["composition"]:
        return [*start, 'base.load_adapter_setup("PATH_OF_THIS", set_active=True, use_safetensors=True)']
    if parts := facts["parts"]:
        wrapped = f'model = PeftModel.from_pretrained(base, "PATH_OF_THIS/{parts["peft"]}")'
        return [*start, _loaded(f"PATH_OF_THIS/{parts['adapters']}"), "from peft import PeftModel", wrapped]
    return [*start, _loaded(folder)]


def _loaded(folder: str) -> str:
    return f'base.load_adapter("{folder}", load_as="mine", set_active=True, use_safetensors=True)'


def _front_matter(facts: dict[str, Any], scores: score_tables.Scores) -> str:
    tag, _ = licence_of(facts)
    # JSON strings are YAML strings: nothing a manifest says can break out of its field.
    lines = ["---"]
    if facts["language"]["code"]:
        lines += ["language:", f"- {json.dumps(facts['language']['code'])}"]
    peer = facts.get("in_peer", True)
    lines += [f"license: {tag}", *(["library_name: sentence-transformers"] if peer else []), "pipeline_tag: sentence-similarity"]
    lines += ["tags:", *(["- sentence-transformers"] if peer else []), "- feature-extraction", "- sentence-similarity", "- langadapt"]
    base = next((r["origin"] for r in facts["resources"] if r["name"] == "encoder" and "/" in r["origin"] and " " not in r["origin"]), None)
    if base:
        lines += ["base_model:", f"- {json.dumps(base)}"]
    datasets = dict.fromkeys(r["hub"] for r in facts["resources"] if r["place"] == "hub" and r["name"] != "encoder" and r["hub"])
    if datasets:
        lines += ["datasets:", *(f"- {json.dumps(name)}" for name in datasets)]
    # Scores on a generated test say nothing of real text: they stand in the table, named as what they are, and not here.
    final = [score for score in scores.get(facts["encoder_stage"], []) if score.get("made") != "generated"]
    if final:
        name = "-".join([*([facts["language"]["code"]] if facts["language"]["code"] else []), *facts["recipes"]])
        lines += ["model-index:", f"- name: {json.dumps(name)}", "  results:"]
    for score in final:
        lines += [
            "  - task:",
            "      type: sentence-similarity" if score["metric"] in ("spearman", "pearson") else "      type: other",
            "    dataset:",
            f"      name: {json.dumps(score['task'], ensure_ascii=False)}",
            f"      type: {json.dumps(score['task'], ensure_ascii=False)}",
            "    metrics:",
            f"    - type: {json.dumps(METRICS.get(score['metric'], score['metric']))}",
            f"      value: {score['value']:.4f}",
        ]
    return "\n".join([*lines, "---", ""])


METRICS = {"spearman": "spearman_cosine", "pearson": "pearson_cosine"}
"""Our metrics' names on the Hub."""


def _starter_note(facts: dict[str, Any]) -> str:
    return (
        "> **This is a starter release, for trying things out.** Part of it comes from the packages that langadapt ships: a base that "
        "is a 4-bit round trip of its original, or training pairs generated from a small grammar. Do not quote its scores.\n"
        f"> The full build: `{full_build(facts)}`\n"
    )


def full_build(facts: dict[str, Any]) -> str:
    """The command that builds the same from full sources; what the Hub does not have is the user's to give, as are the files they gave."""
    given = facts["given"]
    words = ["langadapt", "build", *(["--lang", given["lang"]] if given["lang"] else [])]
    words += ["--domain", facts["domain"]] if facts["domain"] else []
    words += [word for name in given["recipes"] for word in ("--recipe", name)]
    words += ["--sources", "hub"]
    words += ["--base", given["base"]] if given["base"] else []
    words += [word for item in given["resources"] for word in ("--resource", item)]
    for resource in facts["resources"]:
        if resource["name"] == "encoder" and resource["place"] == "starter" and not resource["hub"]:
            words += ["--base", "YOUR_ENCODER"]
        elif resource["place"] == "starter" and not resource["hub"]:
            words += ["--resource", f"{resource['name']}=YOUR_{resource['name'].upper().replace('-', '_')}.tsv"]
    if given["translator"]:
        slot = given["translator"]
        words += ["--translator", slot if isinstance(slot, str) else json.dumps(slot, ensure_ascii=False)]
    return shlex.join(words)


def _intended(facts: dict[str, Any]) -> str:
    name = facts["language"]["name"] or "text"
    return (
        f"Maps {name} sentences and short paragraphs to {facts['width']}-dimensional vectors, for semantic search, similarity and "
        f"clustering. {facts['parameters'] / 1e6:.1f} M weights, up to {facts['max_length']} tokens a text.\n"
    )


def _usage(facts: dict[str, Any]) -> str:
    normal = facts["normalizer"]
    baked = facts["normalizer_in_tokenizer"]
    where = "its rules are part of `tokenizer.json`" if baked else "other libraries do not apply it: do so before encoding"
    note = f"\nTexts were normalised with `{normal['use']}` (version {normal['version']}); {where}.\n" if normal else ""
    prompt = f"\nEvery text is prefixed with `{facts['prompt']}` (the default prompt).\n" if facts["prompt"] else ""
    code = facts.get("tokenizer_code")
    trust = ", trust_remote_code=True" if code else ""
    if code:
        note += (
            f"\nThe tokenizer's rules are in `{code[0]}`. Load with `trust_remote_code=True`: without it, words are read from the front "
            "alone and vectors differ. langadapt needs no such flag.\n"
        )
    call = "encoder.encode(texts)  # float32 (n, d)"
    if facts.get("gives") == "multi":
        call = "encoder.encode_multi(texts)  # a vector a token: compare with vectors.maxsim(others)"
    elif facts.get("output"):
        call = f"encoder.encode(texts)  # {facts['output']['use']}; normalize=True gives float32"
    ours = f'```python\nfrom langadapt import Encoder\n\nencoder = Encoder.load("PATH_OR_HUB_ID")\nvectors = {call}\n```\n'
    if not facts.get("in_peer", True):
        return "## How to use\n\n" + ours + note + prompt
    return (
        "## How to use\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("PATH_OR_HUB_ID"{trust})\nvectors = model.encode(texts)  # texts: a list of sentences\n'
        "print(model.similarity(vectors, vectors))\n```\n\n"
        "or, with adapters and batching by tokens:\n\n" + ours + note + prompt
    )


def _scores(scores: score_tables.Scores, facts: dict[str, Any]) -> str:
    if not scores:
        return ""
    table = "\n".join(score_tables.markdown(scores))
    note = "Values ×100 (with three decimals: from 0 to 1) and 95 % bootstrap intervals; the steps of the build side by side."
    if any("difference" in score for found in scores.values() for score in found):
        note += " The last column is the difference of the last encoder to the first, with a paired interval; a star says that a paired "
        note += "test, corrected over all tasks (Holm), leaves p below 0.05."
    tests = {score.get("made", "") for found in scores.values() for score in found}
    if "generated" in tests:
        note += " Tests marked *generated* come from a program, as training data may: they are no evidence for real text."
    if "translated" in tests:
        note += " Tests marked *translated* were translated by machine."
    first = next(iter(scores))
    worse = [
        f"{score['task']} {score['metric']} {score_tables.signed(score)}" for score in score_tables.losses(scores, facts["encoder_stage"])
    ]
    warning = f"\n> **This release is worse than `{first}`** on {'; '.join(worse)}.\n" if worse else ""
    seen = "".join(f"- {line}\n" for line in facts.get("seen", []))
    seen = f"\nRows of these tests that stand in training data, word for word or nearly:\n\n{seen}" if seen else ""
    missing = "".join(f"- {line}\n" for line in facts.get("unscored", []))
    missing = f"\nTests without a score:\n\n{missing}" if missing else ""
    return f"## Scores\n\n{note}\n{warning}\n{table}\n{seen}{missing}\n![scores](scores.svg)\n"


def _making(facts: dict[str, Any]) -> str:
    lines = ["## How it was made\n"]
    if facts["papers"]:
        lines.append("Methods: " + ", ".join(facts["papers"]) + ".\n")
    for stage in facts["stages"]:
        options = {k: v for k, v in stage["options"].items() if k in SHOWN and v is not None}
        rows = facts.get("rows", {}).get(stage["key"])
        shown = ", ".join([*([f"{rows:,} rows"] if rows else []), *(f"{k} {v}" for k, v in options.items())])
        uses = ", ".join(_uses(value) for value in stage["slots"].values() if value)
        lines.append(f"- **{stage['name']}** ({stage['do']}): {uses or '–'}{'; ' + shown if shown else ''}")
    if vocabulary := facts.get("vocabulary"):
        shown = ", ".join(f"{count:,} {origin}" for origin, count in vocabulary["counts"].items())
        lines.append(f"\nThe rows of the vocabulary ({vocabulary['method']}): {shown}. `langadapt show-token` tells one token's origin.")
    return "\n".join(lines) + "\n"


SHOWN = ("epochs", "steps", "batch_size", "learning_rate", "weight_decay", "precision", "max_length", "interpolate")
"""Stage options worth a reader's time; provenance.json has them all."""


def _uses(value: Any) -> str:
    return " + ".join(_uses(item) for item in value) if isinstance(value, list) else str(value["use"])


def _sources(facts: dict[str, Any]) -> str:
    lines = ["## Base, data and licences\n", "| resource | from | licence as published | origin |", "| --- | --- | --- | --- |"]
    for item in facts["resources"]:
        note = f" ({item['note']})" if item["note"] else ""
        lines.append(f"| {item['name']} | {item['from']} | {item['licence']} | {item['origin']}{note} |")
    for engine in {engine["name"]: engine for engine in facts.get("engines", [])}.values():
        note = "" if engine["binding"] else " (covers the engine, not what it translates)"
        lines.append(f"| translation | {engine['name']} | {engine['licence']}{note} | |")
    _, remarks = licence_of(facts)
    found = [f"- {remark}" for remark in facts["trained"].get("remarks", [])]
    about = ["", "What the data's readers had to say:\n", *found] if found else []
    return "\n".join([*lines, "", *remarks, *about]) + "\n"


def _environment(facts: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} {version}" for name, version in facts["environment"].items())
    return f"## Environment\n\n{shown}.\n"


def _limits(facts: dict[str, Any]) -> str:
    return (
        "## Limits\n\nSimilarity in a vector space is not truth: the model inherits what its base and data got wrong, and it was "
        f"scored on the tasks above alone. Texts over {facts['max_length']} tokens are truncated.\n"
        "`provenance.json` holds every option, digest and version; check this folder with `langadapt verify`.\n"
    )
