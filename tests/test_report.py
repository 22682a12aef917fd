"""The page of a run: its numbers in a real browser, nothing asked of a network, nothing that axe finds serious."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langadapt.reports.flow import flow
from langadapt.reports.report import report_page
from langadapt.reports.shell import page, table
from langadapt.running.reporting import _plain

SCORE = {"metric": "macro-f1", "unit": "×100", "n": 60, "higher_is_better": True}


def facts() -> dict[str, Any]:
    """A run with one of everything that is drawn."""
    scores = {
        "base": [{**SCORE, "task": "moods <b>", "value": 61.25, "low": 50.0, "high": 70.0}],
        "tuned": [{**SCORE, "task": "moods <b>", "value": 72.5, "low": 66.0, "high": 80.0}],
    }
    confusion = {"confusion": {"labels": ["glad", "</script>"], "counts": [[20, 10], [5, 25]]}}
    scatter = {"scatter": {"x": [0.0, 1.0], "y": [0.2, 0.9], "x_label": "score by people", "y_label": "cosine"}}
    drawn = [{**score, "drawing": drawing} for score, drawing in zip(scores["tuned"] * 2, (confusion, scatter), strict=True)]
    view = {"map": [[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]], "cosines": [[1.0, 0.5], [0.5, 1.0]], "tokens_a_word": 1.75}
    stages = [
        {"name": "base", "do": "load", "inputs": [], "uses": {}, "from_store": True, "key": "a"},
        {"name": "tuned", "do": "train", "inputs": ["base"], "uses": {"objective": "mlm"}, "from_store": False, "key": "b", "seconds": 2.5},
    ]
    header, rows = ["task", "base", "tuned"], [["moods <b>", "61.2 [50.0, 70.0]", "72.5 [66.0, 80.0]"]]
    return {
        "title": "mr-look",
        "language": "mr",
        "domain": None,
        "recipes": ["look"],
        "seed": 42,
        "versions": {"langadapt": "0.2.0"},
        "machine": "a machine",
        "made": "2026-01-01 00:00",
        "released": "tuned",
        "release_bytes": 12_300_000,
        "stages": stages,
        "training": {"tuned": {"steps": 2, "losses": [[0, 3.0], [1, 2.0]], "validations": [[1, "held-out loss", 2.5]]}},
        "data": [{"stage": "pairs", "read": 100, "dropped": {"near-duplicates": 7}, "kept": 93}],
        "resources": [{"name": "nli", "from": "nli.tsv", "origin": "somewhere", "licence": "CC BY 4.0"}],
        "scores": {"scores": scores},
        "grids": {"scores": {"header": header, "rows": rows}},
        "drawings": {"scores": {"tuned": drawn}},
        "examples": {"scores": {"texts": ["गहू", "two", "three"], "encoders": {"base": view, "tuned": view}}},
    }


def test_texts_are_texts_and_end_no_element() -> None:
    """A label that looks like a tag is shown, and none of the data can end the script that holds it."""
    found = report_page(facts())
    assert "moods &lt;b&gt;" in found
    assert "<b>" not in found.split("<script", 1)[0]
    payload = found.split('id="data">', 1)[1].split("</script>", 1)[0]
    assert json.loads(payload)["drawings"]["scores"]["tuned"][0]["drawing"]["confusion"]["labels"] == ["glad", "</script>"]
    assert found.count("</script>") == 4  # the data and the three scripts
    assert "src=" not in found.split('id="data">', 1)[0]


def test_a_part_without_anything_is_left_out() -> None:
    bare = facts() | {"training": {}, "data": [], "drawings": {}, "examples": {}, "resources": []}
    headings = [part.split("</h2>")[0].split(">")[-1] for part in report_page(bare).split("<h2")[1:]]
    assert headings == ["Summary", "Scores", "Plan", "Versions"]


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        page("x", [], {"value": float("nan")})


def test_a_validation_that_is_no_number_is_drawn_as_none() -> None:
    told = _plain({"training": {"tuned": {"validations": [[1, "spearman", float("nan")]], "losses": [[0, float("inf")]]}}})
    assert told == {"training": {"tuned": {"validations": [[1, "spearman", None]], "losses": [[0, None]]}}}
    told["training"]["tuned"]["steps"] = 1
    assert "<td>–</td>" in report_page(facts() | told)


def test_stages_stand_below_what_they_read() -> None:
    """Of a diamond the join is the third row."""
    stages = [
        {"name": name, "do": "load", "inputs": inputs, "from_store": False}
        for name, inputs in (("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"]))
    ]
    tops = [float(part.split('"')[0]) for part in flow(stages).split(' y="')[1::3]]
    assert tops[0] < tops[1] == tops[2] < tops[3]
    assert "d (load) reads b, c" in flow(stages)


def test_a_table_has_heads_for_rows_and_columns() -> None:
    found = table(["task", "value"], [["sts", "80.1"]], "Scores")
    assert '<th scope="col">task</th>' in found
    assert '<th scope="row">sts</th><td>80.1</td>' in found


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_in_a_browser(browser: Any, width: int, scheme: str, tmp_path: Path) -> None:
    """Charts are drawn with the numbers of the run, without a word on the console, a request or a serious finding of axe."""
    axe = pytest.importorskip("axe_core_python.base", reason="axe-core-python is not installed")
    file = tmp_path / "report.html"
    file.write_text(report_page(facts()), encoding="utf-8")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get_log("performance")
    browser.get_log("browser")  # of the pages before
    browser.get(file.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.drawn") == "true"
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [told["params"]["request"]["url"] for told in asked if told["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    charts = browser.execute_script("return [...document.querySelectorAll('figure[data-chart]')].map(f => f.dataset.chart)")
    assert sorted(set(charts)) == ["confusion", "cosines", "funnel", "losses", "map", "scatter", "scores"]
    told = browser.execute_script("return [...document.querySelectorAll('[data-chart=scores] circle title')].map(t => t.textContent)")
    assert told == ["base: 61.3", "tuned: 72.5"]
    counts = "return [...document.querySelectorAll('[data-chart=confusion] rect title')].map(t => t.textContent)"
    assert "</script>, said to be glad: 5" in browser.execute_script(counts)
    browser.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script("const done = arguments[0]; axe.run().then(r => done(r.violations))")
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
