"""Walk a plan: reuse what the store has, run what it lacks, leave a run folder with the release.

The runner is the only caller of observer hooks.  A stage runs under its key's lock, fills a staging folder, and
the store renames it into place; whatever kills the process, the next run of the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langadapt import publishing
from langadapt.artifacts.fetch import check_unchanged
from langadapt.artifacts.files import read_json, write_json
from langadapt.artifacts.page import PAGE
from langadapt.artifacts.picture import loss_curves
from langadapt.contracts.component import Component, Context
from langadapt.contracts.data import TranslatedPairReader
from langadapt.contracts.plan import Plan, PlannedStage, Request
from langadapt.data_check import check_data
from langadapt.errors import LangadaptError, PlanError, RegistryError, StageFailed, StoreError
from langadapt.plan import compile_plan, differences
from langadapt.registry.catalog import Catalog
from langadapt.registry.plugins import load_plugins, stdout_to_stderr
from langadapt.registry.registry import Registry
from langadapt.reporting import ConsoleLog
from langadapt.store import Store, default_root, disk_error
from langadapt.version import __version__


@dataclass
class Outcome:
    """What a build did."""

    plan: Plan
    run_dir: Path
    ran: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    release: Path | None = None
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    """What was noticed in the data before anything ran."""


@dataclass(frozen=True)
class StageState:
    """How a plan's stage stands to the store: present, or missing and why."""

    stage: PlannedStage
    present: bool
    reasons: tuple[str, ...]


def setup(plugins: Sequence[str] = ()) -> tuple[Registry, Catalog]:
    """Load plugins once and index their components and manifests."""
    loaded = load_plugins(plugins)
    return Registry(loaded), Catalog.of(loaded.data_dirs)


def plan(request: Request, plugins: Sequence[str] = ()) -> Plan:
    """Compile a request with the installed plugins (and the modules named)."""
    registry, catalog = setup(plugins)
    return compile_plan(request, registry, catalog)


def build(
    request: Request,
    *,
    plugins: Sequence[str] = (),
    store: Path | None = None,
    out: Path | None = None,
    quiet: bool = False,
    device: str = "auto",
) -> Outcome:
    """Compile and run; the release lies in the run folder afterwards.

    Raises:
        LangadaptError: see the subclasses; nothing is left half-written.
    """
    registry, catalog = setup(plugins)
    compiled = compile_plan(request, registry, catalog)
    runner = Runner(compiled, registry, Store(store or default_root()), out or Path("runs") / compiled.title, quiet, device)
    return runner.run()


def states(compiled: Plan, store: Store, run_dir: Path) -> list[StageState]:
    """For each stage: is its artifact in the store, and if not, what changed since this run folder's last build."""
    lock = run_dir / "lock.json"
    before = read_json(lock).get("stages", {}) if lock.is_file() else {}
    found = []
    for stage in compiled.stages:
        reasons: list[str] = []
        if not store.has(stage.key):
            earlier = before.get(stage.name)
            if earlier is None:
                reasons = ["never built here"]
            elif earlier["key"] == stage.key:
                reasons = ["not in the store"]
            else:
                reasons = _named(differences(earlier["identity"], stage.identity), stage, before)
        found.append(StageState(stage, store.has(stage.key), tuple(reasons)))
    return found


def _named(lines: list[str], stage: PlannedStage, before: dict[str, Any]) -> list[str]:
    """Facts of a release follow from its stages; say only what is left when an input explains the change."""
    inputs = [line for line in lines if line.startswith("input ")]
    own = [line for line in lines if not line.startswith(("input ", "facts."))]
    return own + inputs or lines[:3]


class Runner:
    """Runs one plan into one run folder."""

    def __init__(self, compiled: Plan, registry: Registry, store: Store, run_dir: Path, quiet: bool, device: str = "auto") -> None:
        self.plan, self.registry, self.store, self.run_dir = compiled, registry, store, run_dir
        self.rank = int(os.environ.get("RANK", "0"))
        self.log = ConsoleLog(quiet or self.rank > 0, self._metrics)
        self.device = device
        self.outcome = Outcome(compiled, run_dir)
        self.read_only = False
        """Whether the store has everything and cannot be written: nothing is noted in it then."""
        self._current: PlannedStage | None = None

    @property
    def hooks(self) -> Any:
        return self.registry.plugins.manager.hook

    def run(self) -> Outcome:
        """Run what the store lacks."""
        start = time.monotonic()
        self._open_run_dir()
        self._ask_plugins()
        try:
            self._prepare_store()
            with contextlib.nullcontext() if self.read_only else self.store.building(self.run_dir):
                self._run()
        except FileNotFoundError as error:
            if self.store.root.is_dir():
                raise
            raise StoreError(
                "the store was removed while the build ran", where=str(self.store.root), hint="Run the same command again."
            ) from error
        self.outcome.seconds = time.monotonic() - start
        return self.outcome

    def _prepare_store(self) -> None:
        """Make the store ready to write; one that cannot be written will do where it has everything."""
        try:
            self.store.prepare()
        except StoreError:
            if self._needed() or not all((self.store.root / name).is_dir() for name in ("objects", "roots", "locks")):
                raise
            self.read_only = True
            self.log.warning(f"the store {self.store.root} cannot be written; it has all that this build needs")

    @property
    def together(self) -> bool:
        """Whether a launcher started several processes for this build."""
        return int(os.environ.get("WORLD_SIZE", "1")) > 1

    def _meet(self) -> None:
        from langadapt.training.distributed import meet

        processes, backend = meet(self._device())
        self.log.info(f"{len(processes)} processes over {backend}")
        self._event("processes", count=len(processes), backend=backend, pids=processes)

    def _run(self) -> None:
        self._event("build_start", pid=os.getpid())
        self._write_lock()
        if self.together:
            self._meet()
        needed = self._sound_needed()
        if self.rank == 0 and needed:
            self.outcome.warnings = check_data(self.plan, needed)
            for warning in self.outcome.warnings:
                self.log.warning(warning)
        for stage in self.plan.stages:
            if stage.name in needed:
                self._stage(stage)
            elif self.store.has(stage.key):
                self.outcome.reused.append(stage.name)
                if needed and not self.log.quiet:
                    self.log.console.print(f"[bold]{stage.name}[/bold] ({stage.stage.do}): in the store")
                self._observe("langadapt_stage_end", stage=stage, outcome="reused", artifact=self.store.path(stage.key), seconds=0.0)
        if self.rank == 0:
            self._draw_losses()
            self._show_data()
            self._publish()

    def _sound_needed(self) -> set[str]:
        """Stages to run, once every artifact that they or the release will read is what was written.

        A damaged one is set aside with all that was made from it; what of these is needed is made again.
        """
        if self.rank == 0:
            while damaged := self._first_damaged():
                self._mend(damaged)
        if self.together:
            from langadapt.training.distributed import wait_for_everyone

            wait_for_everyone()
        return self._needed()

    def _first_damaged(self) -> PlannedStage | None:
        needed = self._needed()
        read = {name for stage in self.plan.stages if stage.name in needed for name in stage.input_names()}
        read |= {stage.name for stage in self.plan.sinks()}
        present = [stage for stage in self.plan.stages if stage.name in read - needed and self.store.has(stage.key)]
        return next((stage for stage in present if self.store.damage(stage.key)), None)

    def _mend(self, stage: PlannedStage) -> None:
        first = self.store.damage(stage.key)[0]
        gone = self.store.set_aside(stage.key)
        names = [one.name for one in self.plan.stages if one.key in gone[1:]]
        also = f", and what was made from it ({', '.join(names)})" if names else ""
        self.log.warning(
            f"the stored '{stage.name}' is damaged: {first.file} {first.what}. It is set aside in {self.store.root / 'damaged'}{also}, "
            "and made again where it is needed"
        )
        self._event("set_aside", stage=stage.name, key=stage.key, file=first.file, what=first.what, with_it=names)

    def _needed(self) -> set[str]:
        """Stages to run: what a result needs and the store lacks, upstream only as far as it is missing."""
        needed: set[str] = set()
        todo = list(self.plan.sinks())
        while todo:
            stage = todo.pop()
            if stage.name in needed or self.store.has(stage.key):
                continue
            needed.add(stage.name)
            todo += [self.plan.stage(name) for name in stage.input_names()]
        return needed

    def _stage(self, stage: PlannedStage) -> None:
        start = time.monotonic()
        self._current = stage
        for name in stage.input_names():  # a long build's inputs may have been damaged since it began
            if self.store.damage(self.plan.stage(name).key):
                raise StoreError(
                    f"stage '{stage.name}' would read '{name}', which was damaged while the build ran",
                    where=str(self.store.path(self.plan.stage(name).key)),
                    hint="Run the same command again: it is set aside and made again.",
                )
        if not self.log.quiet:
            self.log.console.print(f"[bold]{stage.name}[/bold] ({stage.stage.do})")
        if stage.stage.do == "train" and self.together:
            self._train_together(stage)
        else:
            self._share(stage)
            if self.rank > 0:  # the first process makes it: transformers 5 writes no checkpoint on any other
                while not self.store.has(stage.key):
                    time.sleep(0.1)
                return
            waiting = lambda: self.log.info("another build is making this; waiting for it")  # noqa: E731
            with self.store.lock(stage.key, waiting):
                if self.store.has(stage.key):
                    self.outcome.reused.append(stage.name)
                    self._event("stage_end", stage=stage.name, key=stage.key, outcome="reused")
                    return
                self._produce(stage)
        seconds = time.monotonic() - start
        self.outcome.ran.append(stage.name)
        self.log.info(f"done in {seconds:.1f} s")
        self._event("stage_end", stage=stage.name, key=stage.key, outcome="done", seconds=round(seconds, 3))
        self._observe("langadapt_stage_end", stage=stage, outcome="done", artifact=self.store.path(stage.key), seconds=seconds)

    def _share(self, stage: PlannedStage) -> None:
        """On many processes each translates a part into the common memory; one of them then makes the artifact from it."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        source = stage.slots.get("source")
        if world > 1 and isinstance(source, TranslatedPairReader) and not self.store.has(stage.key):
            try:
                source.share(stage.slots["translator"], self._context(stage), self.rank, world)
            except Exception as error:
                raise self._told(error, stage) from error

    def _train_together(self, stage: PlannedStage) -> None:
        """All processes train; the first one holds the lock and commits, the others wait for the artifact."""
        if self.rank == 0:
            with self.store.lock(stage.key):
                self._produce(stage)
            return
        with tempfile.TemporaryDirectory() as spare:  # the first process's weights are the ones that are kept
            self._fill(stage, Path(spare))
        while not self.store.has(stage.key):
            time.sleep(0.2)

    def _produce(self, stage: PlannedStage) -> None:
        self._event("stage_start", stage=stage.name, key=stage.key)
        self._observe("langadapt_stage_start", stage=stage)
        staging = self.store.partial(stage.key) / "staging"
        shutil.rmtree(staging, ignore_errors=True)
        start = time.monotonic()
        try:
            staging.mkdir(parents=True)
            record = self._fill(stage, staging)
            self.store.commit(
                stage.key,
                staging,
                {
                    **record,
                    "do": stage.stage.do,
                    "identity": stage.identity,
                    "versions": versions(),
                    "seconds": round(time.monotonic() - start, 3),
                },
            )
        except BaseException as error:
            shutil.rmtree(staging, ignore_errors=True)
            outcome = "failed" if isinstance(error, Exception) else "stopped"
            self._event("stage_end", stage=stage.name, key=stage.key, outcome=outcome, error=str(error)[:500])
            seconds = time.monotonic() - start
            self._observe("langadapt_stage_end", stage=stage, outcome=outcome, artifact=None, seconds=seconds)
            raise self._told(error, stage) from error

    def _fill(self, stage: PlannedStage, folder: Path) -> dict[str, Any]:
        import importlib

        from langadapt.stages.job import Job

        folder.mkdir(parents=True, exist_ok=True)
        context = self._context(stage)
        inputs = {role: [self.store.path(self.plan.stage(name).key) for name in names] for role, names in stage.inputs.items()}
        module = importlib.import_module(f"langadapt.stages.{stage.stage.do.replace('-', '_')}")
        record: dict[str, Any] = module.run(Job(stage, inputs, folder, context, self.registry))
        for resource in stage.resources():  # what the key states is what was read, to the end
            check_unchanged(resource)
        return record

    def _context(self, stage: PlannedStage) -> Context:
        return Context(self.plan.seed, self._device(), self.store.partial(stage.key), self.store.cache, self.log)

    def _device(self) -> str:
        if self.device != "auto":
            return self.device
        from langadapt.inference.encoder import best_device

        return best_device()

    def _told(self, error: BaseException, stage: PlannedStage) -> BaseException:
        """The error as a person should read it, naming the stage, and the plugin if one of its components raised."""
        if isinstance(error, LangadaptError):
            error.what = f"stage '{stage.name}': {error.what}"
            return error
        if isinstance(error, OSError) and error.errno in DISK:
            return disk_error(error, f"stage '{stage.name}' cannot write {error.filename or 'its files'}")
        if "No space left on device" in str(error):  # safetensors and Arrow wrap the OS's error in their own
            return disk_error(OSError(errno.ENOSPC, "No space left on device"), f"stage '{stage.name}' cannot write its files")
        if not isinstance(error, Exception):
            return error  # Ctrl-C and friends pass through
        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1]
        culprit = _component_in(stage, frames)
        if culprit is not None:
            told: LangadaptError = PlanError(
                f"stage '{stage.name}': the {culprit.kind} '{culprit.name}' raised {type(error).__name__}: {error}",
                where=f"{last.filename}:{last.lineno}",
                hint="Check the input it was given, or report it to the plugin's author (--debug shows the traceback).",
            )
            return told
        return StageFailed(
            f"stage '{stage.name}' failed: {type(error).__name__}: {error}",
            where=f"{last.filename}:{last.lineno}",
            hint="Run 'langadapt --debug build …' for the traceback; finished stages and checkpoints are kept.",
        )

    def _open_run_dir(self) -> None:
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            (self.run_dir / "events.jsonl").touch()
        except OSError as error:
            raise disk_error(error, f"the run folder {self.run_dir} cannot be written", "--out") from error
        if self.rank == 0:
            publishing.tidy(self.run_dir)
        release = self.run_dir / publishing.RELEASE
        if release.exists() and not publishing.is_ours(self.run_dir):
            raise StoreError(
                "there is something that no build made, and a build would replace it",
                where=str(release),
                hint="Move it away, or choose another run folder with --out.",
            )

    def _ask_plugins(self) -> None:
        """Any plugin may veto; its error is the user's.

        Raises:
            RegistryError: a plugin's check itself broke; the build does not go on unchecked.
        """
        for implementation in self.hooks.langadapt_plan_ready.get_hookimpls():
            try:
                with stdout_to_stderr():
                    implementation.function(**dict.fromkeys(implementation.argnames, self.plan))
            except LangadaptError:
                raise
            except (Exception, SystemExit) as error:
                raise RegistryError(
                    f"plugin '{implementation.plugin_name}' raised in langadapt_plan_ready: {type(error).__name__}: {error}",
                    hint="Leave the plugin out with LANGADAPT_PLUGINS=…, or report it to its author.",
                ) from error

    def _write_lock(self) -> None:
        if self.rank > 0:
            return
        stages = {stage.name: {"key": stage.key, "identity": stage.identity} for stage in self.plan.stages}
        sources = {
            resource.name: {"place": resource.pinned.place, "from": resource.pinned.label, **resource.pinned.identity}
            for stage in self.plan.stages
            for resource in stage.resources()
        }
        write_json(
            self.run_dir / "lock.json",
            {"title": self.plan.title, "seed": self.plan.seed, "versions": versions(), "sources": sources, "stages": stages},
        )
        if not self.read_only:
            self.store.add_root(self.run_dir, [stage.key for stage in self.plan.stages])

    def _draw_losses(self) -> None:
        """``losses.svg`` of the training stages, for a look before anything is read."""
        curves = {}
        for stage in self.plan.stages:
            history = self.store.path(stage.key) / "training.json"
            if stage.stage.do == "train" and history.is_file():
                curves[stage.name] = [(float(step), float(loss)) for step, loss in read_json(history)["losses"]]
        if curves:
            (self.run_dir / "losses.svg").write_text(loss_curves(curves), encoding="utf-8")

    def _show_data(self) -> None:
        """``data-STAGE.html`` of the translated data sets."""
        for stage in self.plan.stages:
            page = self.store.path(stage.key) / PAGE
            if page.is_file():
                shutil.copyfile(page, self.run_dir / f"data-{stage.name}.html")

    def _publish(self) -> None:
        """Copy the release out of the store, whole or not at all; a release that is there already stays."""
        exports = [stage for stage in self.plan.stages if stage.stage.output == "Release"]
        if exports:
            key = exports[-1].key
            self.outcome.release = publishing.publish(self.store.path(key), key, self.run_dir)

    def _event(self, event: str, **values: Any) -> None:
        if self.rank > 0:
            return
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, ensure_ascii=False)
        try:
            with (self.run_dir / "events.jsonl").open("a", encoding="utf-8", errors="backslashreplace") as handle:
                handle.write(line + "\n")
        except OSError as error:
            self.log.warning(f"events.jsonl: {error.strerror}")

    def _metrics(self, step: int, values: dict[str, float]) -> None:
        if self._current is None:
            return
        self._event("metrics", stage=self._current.name, step=step, **{k: round(v, 6) for k, v in values.items()})
        self._observe("langadapt_log", stage=self._current, step=step, metrics=values)

    def _observe(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook plugin by plugin; one that raises becomes one warning and is not called again."""
        caller = getattr(self.hooks, hook)
        for implementation in list(caller.get_hookimpls()):
            try:
                with stdout_to_stderr():
                    implementation.function(**{name: arguments[name] for name in implementation.argnames})
            except (Exception, SystemExit) as error:  # an observer watches: it cannot end a build
                self.log.warning(f"plugin '{implementation.plugin_name}' raised in {hook}: {type(error).__name__}: {error}")
                caller._remove_plugin(implementation.plugin)


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG, errno.EPERM)


def _component_in(stage: PlannedStage, frames: traceback.StackSummary) -> Component | None:
    """The component of a stage whose own class, or else module, a traceback passes through, unless it is the core's."""
    components = [item for slot in stage.slots.values() for item in (slot if isinstance(slot, list) else [slot]) if item is not None]
    foreign = [item for item in components if not type(item).__module__.startswith("langadapt.")]
    for place in (_class_place, _module_place):
        for component in foreign:
            file, lines = place(type(component))
            if any(frame.filename == file and (frame.lineno or 0) in lines for frame in frames):
                return component  # type: ignore[no-any-return]
    return None


def _class_place(found: type) -> tuple[str, range]:
    """File and lines of a class; nothing where its source cannot be read."""
    try:
        lines, start = inspect.getsourcelines(found)
    except (OSError, TypeError):
        return "", range(0)
    return str(inspect.getsourcefile(found)), range(start, start + len(lines))


def _module_place(found: type) -> tuple[str, range]:
    return str(getattr(sys.modules.get(found.__module__), "__file__", "")), range(sys.maxsize)


def versions() -> dict[str, str]:
    """Versions worth recording with an artifact; only of what is loaded already."""
    names = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")
    loaded = {name: str(sys.modules[name].__version__) for name in names if name in sys.modules}
    return {"langadapt": __version__, **loaded}
