"""Fixtures: a small real encoder, real data, and the real command line."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from langadapt.contracts.component import Context
from langadapt.registry.catalog import Catalog
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers with a thread each: with two each they would wait for one another longer than they work.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = Path(os.environ.get("LANGADAPT_TEST_DATA", Path(__file__).resolve().parents[1] / "shared" / "data"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("adapters") and importlib.util.find_spec("langadapt_adapters") is None:
        pytest.skip("the plugin adapters is not installed: its library holds transformers at 4.57")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent, saying so."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA} (set LANGADAPT_TEST_DATA)")
    return DATA


@pytest.fixture(scope="session")
def registry() -> Registry:
    """All installed plugins."""
    return Registry(load_plugins())


@pytest.fixture(scope="session")
def catalog(registry: Registry) -> Catalog:
    """All shipped manifests."""
    return Catalog.of(registry.plugins.data_dirs)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A context with a scratch folder."""
    work = tmp_path / "work"
    work.mkdir()
    return Context(workdir=work)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small passes on a busy machine wait for their threads longer than they work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def code_digest() -> str:
    """Of all that can decide what a base becomes: the core, the plugins' sources, this file, and the libraries' versions."""
    import tokenizers
    import torch
    import transformers

    root = Path(__file__).parent
    files = [Path(__file__), *sorted(root.glob("langadapt/**/*.py")), *sorted(root.glob("plugins/*/src/**/*.py"))]
    versions = " ".join((torch.__version__, transformers.__version__, tokenizers.__version__))
    whole = hashlib.sha256(versions.encode())
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder that every process may read: `make` fills it when no folder of this name was made by the same code before."""
    from filelock import FileLock

    place = os.environ.get("LANGADAPT_TEST_CACHE") or Path(tempfile.gettempdir()) / f"langadapt-tests-{os.getuid()}"
    folder = Path(place) / f"{name}-{code_digest()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Half a gigabyte each, and every change of the code makes another: of the others, the two used last stay.
    with FileLock(f"{place}/.tidying"):
        others = [each for each in Path(place).glob(f"{name}-*") if each.is_dir() and each != folder]
        for older in sorted(others, key=lambda each: each.stat().st_mtime)[:-2]:
            shutil.rmtree(older, ignore_errors=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            aside = Path(tempfile.mkdtemp(dir=place))
            make(aside)
            aside.rename(folder)
    folder.touch()  # used last
    return folder


@pytest.fixture(scope="session")
def e5() -> Path:
    """The starter's multilingual-e5-small, whole (12 layers, 250k pieces)."""
    from langadapt_starter import e5 as converter

    package = converter.find_package_file()
    return made_once("e5", lambda folder: converter.convert(package, folder))


@pytest.fixture(scope="session")
def tiny(e5: Path, registry: Registry) -> Path:
    """The first two layers of e5 with the pieces of Devanagari and ASCII: real weights, 7 M of them."""

    from langadapt.artifacts import encoder as encoders
    from langadapt.modeling import surgery

    def make(folder: Path) -> None:
        loaded = encoders.load(e5)
        loaded.model.encoder.layer = loaded.model.encoder.layer[:2]
        loaded.model.config.num_hidden_layers = 2
        pruned = registry.build("tokenizer", {"use": "prune", "scripts": ["Deva"]}).train([ENGLISH], loaded.tokenizer, Context())  # type: ignore[attr-defined]
        old, new = surgery.vocab_of(loaded.tokenizer, loaded.model), surgery.vocab_of(pruned)
        mixture = registry.build("vocab-init", "overlap").mixture(old, new, None, Context())  # type: ignore[attr-defined]
        surgery.apply_mixture(loaded.model, mixture, loaded.tokenizer, pruned)
        loaded.tokenizer = pruned
        loaded.settings = loaded.settings.with_(max_length=64, normalize=False)
        encoders.save(loaded, folder)

    return made_once("tiny", make)


ENGLISH = "The quick brown fox jumps over the lazy dog while two men are playing a guitar on the stage."

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Warm:
    """A process that has the heavy libraries loaded and forks one ``langadapt`` command a request (tests/warm_start.py)."""

    def __init__(self) -> None:
        self.process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        script = Path(__file__).parent / "tests" / "warm_start.py"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def run(
        self, command: list[str], folder: Path, environment: dict[str, str], stdin: str | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        if self.process.poll() is not None:
            self.process = self._started()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory() as scratch:
            streams = {name: Path(scratch) / name for name in ("stdin", "stdout", "stderr")}
            streams["stdin"].write_text(stdin or "", encoding="utf-8")
            request = {"arguments": command[3:], "folder": str(folder), "environment": environment, "timeout": timeout}
            self.process.stdin.write(json.dumps({**request, **{name: str(path) for name, path in streams.items()}}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the warm process died (code {self.process.wait()})")
            code = json.loads(line)
            output, errors = (streams[name].read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        if code == "timeout":
            raise subprocess.TimeoutExpired(command, timeout, output, errors)
        return subprocess.CompletedProcess(command, code, output, errors)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """One warm process for the session."""
    process = Warm()
    yield process
    assert process.process.stdin is not None
    process.process.stdin.close()
    process.process.wait(30)


@pytest.fixture
def run(tmp_path: Path, warm: Warm) -> Run:
    """Run the ``langadapt`` command in an empty folder with a store of its own.

    What libraries read as they are imported (PYTHONPATH, HF_…, OMP_…) needs a process started from nothing; all else is forked from a
    warm one.
    """

    def command(
        *arguments: str | Path, env: dict[str, str] | None = None, stdin: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LANGADAPT_STORE": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1", **(env or {})}
        line = [sys.executable, "-m", "langadapt", *map(str, arguments)]
        here = ("PYTHONPATH", str(tmp_path))  # a command finds what lies where it runs
        if all(name.startswith("LANGADAPT_") or (name, value) == here for name, value in (env or {}).items()):
            return warm.run(line, tmp_path, environment, stdin, timeout)
        return subprocess.run(line, capture_output=True, text=True, input=stdin, timeout=timeout, cwd=tmp_path, env=environment)

    return command


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, Path]:
    """Small hand-written Marathi NLI and STS files in the standard columns."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    nli, sts = folder / "nli.tsv", folder / "sts.tsv"
    nli.write_text("premise\thypothesis\tlabel\n" + "".join(f"{a}\t{b}\t{c}\n" for a, b, c in NLI), encoding="utf-8")
    sts.write_text("sentence1\tsentence2\tscore\n" + "".join(f"{a}\t{b}\t{c}\n" for a, b, c in STS), encoding="utf-8")
    return {"nli": nli, "sts": sts}


NLI = [
    ("एक माणूस गिटार वाजवत आहे.", "कोणीतरी वाद्य वाजवत आहे.", "entailment"),
    ("एक माणूस गिटार वाजवत आहे.", "कोणीही काहीही वाजवत नाही.", "contradiction"),
    ("एक माणूस गिटार वाजवत आहे.", "तो माणूस प्रसिद्ध आहे.", "neutral"),
    ("मुले मैदानात खेळत आहेत.", "मुले बाहेर आहेत.", "entailment"),
    ("मुले मैदानात खेळत आहेत.", "मुले घरात झोपली आहेत.", "contradiction"),
    ("ती बाजारात भाजी विकते.", "ती काहीतरी विकते.", "entailment"),
    ("ती बाजारात भाजी विकते.", "ती भाजी विकत नाही.", "contradiction"),
    ("आज पुण्यात खूप पाऊस पडला.", "पुण्यात पाऊस झाला.", "entailment"),
    ("आज पुण्यात खूप पाऊस पडला.", "पुण्यात आज ऊन होते.", "contradiction"),
    ("शिक्षक वर्गात शिकवत आहेत.", "कोणीतरी शिकवत आहे.", "entailment"),
]

STS = [
    ("एक माणूस गिटार वाजवत आहे.", "कोणीतरी गिटार वाजवत आहे.", 4.6),
    ("मुले मैदानात खेळत आहेत.", "मैदानावर मुले खेळतात.", 4.8),
    ("ती बाजारात भाजी विकते.", "ती बाजारात फळे विकते.", 3.0),
    ("आज पुण्यात खूप पाऊस पडला.", "काल मुंबईत ऊन होते.", 1.2),
    ("शिक्षक वर्गात शिकवत आहेत.", "एक माणूस गाडी चालवत आहे.", 0.2),
    ("गव्हाची किंमत वाढली.", "गहू महाग झाला.", 4.4),
    ("तो रोज सकाळी धावतो.", "ती संध्याकाळी पुस्तक वाचते.", 0.8),
    ("कुत्रा झाडाखाली झोपला आहे.", "झाडाखाली कुत्रा झोपलेला आहे.", 5.0),
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium from Debian."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver here (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()
