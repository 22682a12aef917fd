"""Notes, placeholders and the leak check, by hand and on real transcriptions."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from langadapt_clinical.leaks import LeakCheck, leaks
from langadapt_clinical.normalizer import Clinical
from langadapt_clinical.notes import discharge, sections, sentences

from langadapt.artifacts.dataset import from_rows
from langadapt.contracts.component import Context
from langadapt.errors import DataError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. [**Known lastname 123**] seen on [**2101-2-3**]", "Mr. DEID seen on DEID"),
        ("___ was admitted to _____ by <NAME> and [DATE]", "DEID was admitted to DEID by DEID and DEID"),
        ("5mg b.i.d., 10mL, 7µg, 120mmHg, 98.6 ºF", "5 mg b.i.d., 10 mL, 7 mcg, 120 mmHg, 98.6 °F"),
        ("2grams of IV5 <b>", "2grams of IV5 <b>"),
    ],
)
def test_placeholders_and_units(text: str, expected: str) -> None:
    normalizer = Clinical()
    assert normalizer.normalize(text) == expected == normalizer.fast().normalize_str(text)
    assert normalizer.normalize(expected) == expected


def test_real_transcriptions_are_spelt_alike(data: Path) -> None:
    normalizer = Clinical()
    fast = normalizer.fast()
    with gzip.open(data / "raw" / "en-clinical.txt.gz", "rt", encoding="utf-8") as handle:
        notes = [line.rstrip("\n") for line in handle]
    for note in notes:
        once = normalizer.normalize(note)
        assert normalizer.normalize(once) == once == fast.normalize_str(note)
    headings = [heading for note in notes for heading, _ in sections(note) if heading]
    assert len(headings) > 3 * len(notes)
    assert {"ALLERGIES", "MEDICATIONS", "SUBJECTIVE"} <= set(headings)


def test_sections() -> None:
    note = "Seen today. CHIEF COMPLAINT:, Cough. PAST MEDICAL HISTORY: Asthma, COPD. ASSESSMENT/PLAN:, Rest: two days."
    assert sections(note) == [
        ("", "Seen today."),
        ("CHIEF COMPLAINT", "Cough."),
        ("PAST MEDICAL HISTORY", "Asthma, COPD."),
        ("ASSESSMENT/PLAN", "Rest: two days."),
    ]
    assert sections("no heading here") == [("", "no heading here")]


def test_sentences_survive_abbreviations() -> None:
    text = "Pt. was seen by Dr. Smith at 9 a.m. on the ward. BP 120/80. Take 5 mg p.o. b.i.d. Return 1. Rest 2. Fluids"
    assert sentences("BP 120/80. HR 70.") == ["BP 120/80.", "HR 70."]
    assert sentences(text)[0] == "Pt. was seen by Dr. Smith at 9 a.m. on the ward."
    assert "1. Rest" in sentences(text)


def test_headings_as_mimic_writes_them() -> None:
    """The authors' rule: at the beginning of a line, every word but of, on and or with a capital."""
    note = (
        "Admission Date: today\nHistory of Present Illness:\nMr. A came: he fell.\nDisp: 30 tablets\nPertinent results: none\n"
        "Brief Hospital Course (by system): fine.\nLABS: Na 140"
    )
    assert sections(note) == [
        ("Admission Date", "today"),
        ("History of Present Illness", "Mr. A came: he fell.\nDisp: 30 tablets\nPertinent results: none"),
        ("Brief Hospital Course (by system)", "fine."),
        ("LABS", "Na 140"),
    ]


def test_discharge_summaries() -> None:
    assert not discharge("anything", "Discharge planning of nursing")
    assert discharge("DISCHARGE DIAGNOSES: pneumonia. HOSPITAL COURSE: fine.")
    assert not discharge("PREOPERATIVE DIAGNOSIS: hernia.")
    assert discharge("anything", "Discharge summary")
    assert not discharge("HOSPITAL COURSE: x", "Radiology")


@pytest.mark.parametrize(
    ("text", "sorts"),
    [
        ("Dr. Elena Marsh saw her.", ["name"]),
        ("Mr. X and Dr. Smith and Mrs. ABC saw her.", []),
        ("call 555-123-4567 or (617) 555 0199", ["phone", "phone"]),
        ("write to a.b@hospital.org, MRN: 12345678", ["e-mail", "record number"]),
        ("DOB 3/14/1962, SSN 123-45-6789, 12 Oak Street", ["social security number", "date of birth", "address"]),
        ("BP 120/80, 2.5-3.5 cm, L4-5, 10-20-30", []),
    ],
)
def test_what_looks_like_an_identifier(text: str, sorts: list[str]) -> None:
    assert leaks(text) == sorts


def test_refuse_drop_allow(ctx: Context) -> None:
    rows = from_rows([{"text": "clean text", "origin": "a.txt:1"}, {"text": "Dr. Elena Marsh, 555-123-4567", "origin": "a.txt:2"}])
    with pytest.raises(DataError, match=r"1 × name \(a.txt:2\); 1 × phone \(a.txt:2\)"):
        LeakCheck().select(rows, None, ctx)
    assert list(LeakCheck(action="drop").select(rows, None, ctx)["text"]) == ["clean text"]
    assert len(LeakCheck(action="allow").select(rows, None, ctx)) == 2


def test_a_build_refuses_identifiers_with_their_places(run: Run, tiny: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("SUBJECTIVE: The patient has had a cough for two weeks.\nPLAN: Call Dr. Elena Marsh at 555-123-4567 tomorrow.\n")
    arguments = ["build", "--lang", "en", "--domain", "clinical", "--recipe", "clinical-mlm", "--base", tiny, f"--resource=corpus={notes}"]
    pairs = tmp_path / "qa.tsv"
    pairs.write_text("question\tanswer\n" + "".join(f"what is {i}?\tit is {i} indeed\n" for i in range(60)))
    retrieval = "{use: retrieval, data: $domain.pairs, held_out: 0.15, passages: held-out}"
    done = run(*arguments, f"--resource=pairs={pairs}", "--out=out", f"--set=stages.scores.evaluators=[{retrieval}]")
    assert done.returncode == 2, done.stderr
    assert "notes.txt:2" in done.stderr
    assert "action: drop" in done.stderr


def test_files_of_ones_own_for_the_domains_tasks(run: Run, data: Path, tmp_path: Path) -> None:
    own = {
        "corpus": data / "raw" / "en-clinical.txt.gz",
        "pairs": data / "medquad-en-clinical" / "train",
        "similarity": tmp_path / "similarity.tsv",
        "abstracts": data / "mtsamples-en-clinical" / "train.tsv.gz",
        "abstracts-test": data / "mtsamples-en-clinical" / "train.tsv.gz",
    }
    own["similarity"].write_text("sentence1\tsentence2\tscore\nfever\tcough\t3\nfever\tpyrexia\t4\n", encoding="utf-8")
    plan = [
        "--lang",
        "en",
        "--domain",
        "clinical",
        "--recipe",
        "clinical-mlm",
        *(f"--resource={name}={path}" for name, path in own.items()),
    ]
    done = run("plan", *plan)
    assert done.returncode == 0, done.stderr
    assert str(own["similarity"]) in done.stdout
    assert "hub" not in done.stdout


def test_every_column_is_looked_at(ctx: Context) -> None:
    pairs = [{"premise": "clean text", "hypothesis": "Dr. Elena Marsh, 555-123-4567"}, {"premise": "clean", "hypothesis": "clean too"}]
    assert list(LeakCheck(action="drop").select(from_rows(pairs), None, ctx)["premise"]) == ["clean"]
    with pytest.raises(DataError, match=r"1 × phone \(row 1\)"):
        LeakCheck().select(from_rows(pairs), None, ctx)
