"""The page to try a server: two models compared and a file searched in a real browser, nothing that axe finds serious."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langadapt import Encoder
from langadapt.serving.guards import Guards

SENTENCES = ["नदी गावाजवळ वाहते", "मुले मैदानात खेळत आहेत", "hello <b>market</b>"]


@pytest.fixture(scope="module")
def served(loaded: Callable[[], Encoder], serving: Any) -> Iterator[Any]:
    with serving(loaded()) as found:
        yield found


def _sized(browser: Any, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def _serious(browser: Any, axe: Any) -> list[str]:
    browser.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script("const done = arguments[0]; axe.run().then(r => done(r.violations))")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_sentences_compared_and_a_file_searched(browser: Any, served: Any, width: int, scheme: str, tmp_path: Path, until: Any) -> None:
    axe = pytest.importorskip("axe_core_python.base", reason="axe-core-python is not installed")
    _sized(browser, width, scheme)
    browser.get_log("browser")
    browser.get(served.url)
    until(lambda: browser.execute_script("return document.querySelectorAll('input[name=model]').length") == 3)
    browser.find_element("id", "sentences").send_keys("\n".join(SENTENCES))
    browser.find_element("css selector", "#compare button").click()
    until(lambda: len(browser.find_elements("css selector", "#maps table")) == 5)

    def cells(k: int) -> Any:
        code = "return [...document.querySelectorAll('#maps table')[arguments[0]].querySelectorAll('tbody tr')]"
        rows = browser.execute_script(code + ".map(r => [...r.querySelectorAll('td')].map(c => parseFloat(c.textContent)))", k)
        return np.array(rows)

    cosines = [served.encoder.similarity(SENTENCES, adapter=name) for name in (None, "telecom", "clinical")]
    for k, expected in enumerate([*cosines, cosines[1] - cosines[0], cosines[2] - cosines[0]]):
        assert np.abs(cells(k) - expected).max() < 0.0051
    assert browser.execute_script("return document.querySelectorAll('#maps b').length") == 0, "a sentence is no markup"

    passages = [f"{sentence} {i}" for i in range(100) for sentence in SENTENCES]
    (tmp_path / "passages.txt").write_text("\n".join(passages), encoding="utf-8")
    browser.find_element("id", "file").send_keys(str(tmp_path / "passages.txt"))
    until(lambda: "300 passages" in browser.find_element("id", "status").text)
    browser.find_element("id", "query").send_keys(passages[7])
    browser.find_element("css selector", "#search button").click()
    until(lambda: len(browser.find_elements("css selector", "#found ol")) == 3)
    firsts = browser.execute_script("return [...document.querySelectorAll('#found ol')].map(o => o.querySelector('li').textContent)")
    assert firsts == [f"1.000 {passages[7]}"] * 3
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert _serious(browser, axe) == []


@pytest.mark.slow
def test_a_key_is_asked_for(browser: Any, loaded: Callable[[], Encoder], serving: Any, until: Any) -> None:
    _sized(browser, 1200, "light")
    with serving(loaded(), guards=Guards(("abc",))) as served:
        browser.get(served.url)
        form = browser.find_element("id", "key-form")
        until(form.is_displayed)
        assert "key is missing" in browser.find_element("id", "status").text
        browser.find_element("id", "key").send_keys("abc")
        form.find_element("css selector", "button").click()
        until(lambda: browser.execute_script("return document.querySelectorAll('input[name=model]').length") == 3)
        assert not form.is_displayed()
