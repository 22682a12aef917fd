"""What is checked of ``do: export``: which exporters can write what is to be released, and stand beside one another."""

from __future__ import annotations

from langadapt.contracts.plan import PlannedStage
from langadapt.errors import PlanError
from langadapt.verbs.rules import Draft, Rules


class ExportRules(Rules):
    def check(self, draft: Draft) -> None:
        released = draft.read("encoder")[0]
        self._check_subject(draft, released)
        self._check_reads(draft)
        self._check_adapter(draft, released)

    def _check_subject(self, draft: Draft, released: PlannedStage) -> None:
        sort = released.output
        wrong = next((exporter for exporter in draft.listed("exporters") if exporter.subject != sort), None)
        if wrong is not None:
            raise PlanError(
                f"the exporter '{wrong.name}' writes {wrong.subject}s, "
                f"and '{released.name}' is {'an' if sort == 'Encoder' else 'a'} {sort}",
                where=draft.where("exporters"),
            )

    def _check_reads(self, draft: Draft) -> None:
        exporters = draft.listed("exporters")
        for exporter in exporters:
            if exporter.needs_texts and "data" not in draft.inputs:
                raise PlanError(
                    f"the exporter '{exporter.name}' reads texts, and stage '{draft.name}' names none",
                    where=draft.where("exporters"),
                    hint="Give the stage 'data': the corpus or pairs that the encoder was made for.",
                )
            if exporter.makes_another and len(exporters) > 1:
                raise PlanError(
                    f"the exporter '{exporter.name}' writes another encoder than the stage's, so it must be the only one",
                    where=draft.where("exporters"),
                    hint="Release the other form in an export stage of its own.",
                )

    def _check_adapter(self, draft: Draft, released: PlannedStage) -> None:
        exporters = draft.listed("exporters")
        alone = [exporter.name for exporter in exporters if exporter.adapter_only]
        others = [f"'{exporter.name}'" for exporter in exporters if not exporter.adapter_only]
        if alone and not released.light():
            raise PlanError(
                f"the exporter '{alone[0]}' writes an adapter alone, but '{released.name}' has trained none",
                where=draft.where("exporters"),
                hint="Train with a light adaptation (bottleneck, lora …), or export 'sentence-transformers'.",
            )
        if alone and others:
            raise PlanError(
                f"the exporter '{alone[0]}' writes an adapter alone, and {', '.join(others)} whole weights",
                where=draft.where("exporters"),
                hint="Release one of them, or each in an export stage of its own.",
            )
        if released.light() and others and not released.slots["adaptation"].mergeable:
            raise PlanError(
                f"stage '{draft.name}' needs the whole weights of '{released.name}', and '{released.slots['adaptation'].name}' "
                "cannot be merged into its base",
                where=draft.where("exporters"),
                hint="Release the adapter alone with exporters: [adapter], or train LoRA, which can be merged.",
            )
