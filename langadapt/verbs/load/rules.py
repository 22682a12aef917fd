"""What is checked of ``do: load``."""

from __future__ import annotations

from langadapt.errors import PlanError
from langadapt.manifests.stage import Stage
from langadapt.verbs.load.options import Load
from langadapt.verbs.rules import Draft, Rules


class LoadRules(Rules):
    def settle_options(self, draft: Draft) -> Stage:
        stage = draft.stage
        assert isinstance(stage, Load)
        if (stage.source is None) == (stage.encoder is None):
            raise PlanError(f"stage '{draft.name}' needs either 'source' or 'encoder'", where=draft.where())
        if stage.source is not None and stage.source.format != "encoder":
            raise PlanError(
                f"stage '{draft.name}' loads '{stage.source.name}', which is {stage.source.format} and no encoder",
                where=draft.where("source"),
            )
        return stage
