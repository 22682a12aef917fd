"""Walk a plan: reuse what the store has, run what it lacks, leave a run folder with the release.

The runner is the only caller of observer hooks.  A stage runs under its key's lock, fills a staging folder, and
the store renames it into place; whatever kills the process, the next run of the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Context
from langadapt.contracts.data import TranslatedPairReader
from langadapt.contracts.plan import Plan, PlannedStage
from langadapt.data.check import check_data
from langadapt.data.fetch import check_unchanged
from langadapt.errors import LangadaptError, StoreError
from langadapt.metering import Meter
from langadapt.progress import ConsoleLog
from langadapt.registry.registry import Registry
from langadapt.running.failures import told
from langadapt.running.needed import first_damaged, needed
from langadapt.running.past import PastRun
from langadapt.running.plugin_calls import ask, observe
from langadapt.running.reporting import write_report
from langadapt.running.run_folder import RunFolder, versions
from langadapt.store import Store
from langadapt.verbs import VERBS


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
    unscored: list[str] = field(default_factory=list)
    """A sentence for each test that an encoder has no score on."""


class Runner:
    """Runs one plan into one run folder."""

    def __init__(self, compiled: Plan, registry: Registry, store: Store, run_dir: Path, quiet: bool, device: str = "auto") -> None:
        self.plan, self.registry, self.store = compiled, registry, store
        self.rank = int(os.environ.get("RANK", "0"))
        self.folder = RunFolder(run_dir, writes=self.rank == 0)
        self.hooks: Any = registry.plugins.manager.hook
        self.log = ConsoleLog(quiet or self.rank > 0, self._metrics)
        self.device = device
        self.outcome = Outcome(compiled, run_dir)
        self.read_only = False
        """Whether the store has everything and cannot be written: nothing is noted in it then."""
        self._current: PlannedStage | None = None

    def run(self) -> Outcome:
        """Run what the store lacks."""
        start = time.monotonic()
        self.folder.open()
        ask(self.hooks, self.plan)
        try:
            self._prepare_store()
            with contextlib.nullcontext() if self.read_only else self.store.building(self.folder.path):
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
            if needed(self.plan, self.store) or not all((self.store.root / name).is_dir() for name in ("objects", "roots", "locks")):
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
        missing = self._sound_needed()
        if self.rank == 0 and missing:
            self.outcome.warnings = check_data(self.plan, missing)
            for warning in self.outcome.warnings:
                self.log.warning(warning)
        for stage in self.plan.stages:
            if stage.name in missing:
                self._stage(stage)
            elif self.store.has(stage.key):
                self.outcome.reused.append(stage.name)
                if missing and not self.log.quiet:
                    self.log.console.print(f"[bold]{stage.name}[/bold] ({stage.stage.do}): in the store")
                self._observe("langadapt_stage_end", stage=stage, outcome="reused", artifact=self.store.path(stage.key), seconds=0.0)
        if self.rank == 0:
            self.folder.show(self.plan, self.store)
            self.folder.keep_scores(self.plan, self.store)
            self.outcome.unscored = self.folder.unscored()
            self.outcome.release = self.folder.publish(self.plan, self.store)
            self._event("build_end", ran=self.outcome.ran, reused=self.outcome.reused)
            try:
                write_report(self.plan, self.store, PastRun.read(self.folder.path), self.outcome.reused)
            except (OSError, ValueError, LangadaptError) as error:  # the release is there: a page to look at ends nothing
                self.log.warning(f"no report was written: {error}")

    def _sound_needed(self) -> set[str]:
        """Stages to run, once every artifact that they or the release will read is what was written.

        A damaged one is set aside with all that was made from it; what of these is needed is made again.
        """
        if self.rank == 0:
            while damaged := first_damaged(self.plan, self.store):
                self._mend(damaged)
        if self.together:
            from langadapt.training.distributed import wait_for_everyone

            wait_for_everyone()
        return needed(self.plan, self.store)

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

    def _stage(self, stage: PlannedStage) -> None:
        meter = Meter()
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
        if stage.stage.together and self.together:
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
        spent = meter.read()
        seconds = spent["seconds"]
        self.outcome.ran.append(stage.name)
        self.log.info(f"done in {seconds:.1f} s")
        self._event("stage_end", stage=stage.name, key=stage.key, outcome="done", **spent)
        self._observe("langadapt_stage_end", stage=stage, outcome="done", artifact=self.store.path(stage.key), seconds=seconds)

    def _share(self, stage: PlannedStage) -> None:
        """On many processes each translates a part into the common memory; one of them then makes the artifact from it."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        source = stage.slots.get("source")
        if world > 1 and isinstance(source, TranslatedPairReader) and not self.store.has(stage.key):
            try:
                source.share(stage.slots["translator"], self._context(stage), self.rank, world)
            except Exception as error:
                raise told(error, stage) from error

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
            raise told(error, stage) from error

    def _fill(self, stage: PlannedStage, folder: Path) -> dict[str, Any]:
        from langadapt.verbs.job import Job

        folder.mkdir(parents=True, exist_ok=True)
        context = self._context(stage)
        inputs = {role: [self.store.path(self.plan.stage(name).key) for name in names] for role, names in stage.inputs.items()}
        record = VERBS[stage.stage.do].run(Job(stage, inputs, folder, context, self.registry))
        for resource in stage.resources():  # what the key states is what was read, to the end
            check_unchanged(resource)
        return record

    def _context(self, stage: PlannedStage) -> Context:
        return Context(self.plan.seed, self._device(), self.store.partial(stage.key), self.store.cache, self.log)

    def _device(self) -> str:
        if self.device != "auto":
            return self.device
        from langadapt.inference.opening import best_device

        return best_device()

    def _metrics(self, step: int, values: dict[str, float]) -> None:
        if self._current is None:
            return
        self._event("metrics", stage=self._current.name, step=step, **{k: round(v, 6) for k, v in values.items()})
        self._observe("langadapt_log", stage=self._current, step=step, metrics=values)

    def _write_lock(self) -> None:
        if self.rank > 0:
            return
        self.folder.write_lock(self.plan)
        if not self.read_only:
            self.store.add_root(self.folder.path, [stage.key for stage in self.plan.stages])

    def _event(self, event: str, **values: Any) -> None:
        self.folder.event(self.log, event, **values)

    def _observe(self, hook: str, **arguments: Any) -> None:
        observe(self.hooks, self.log, hook, **arguments)
