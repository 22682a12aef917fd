"""What ``do: annotate`` reads and adds."""

from __future__ import annotations

from langadapt.contracts.annotation import Annotator
from langadapt.contracts.data import Role
from langadapt.errors import PlanError
from langadapt.verbs.rules import Draft, Rules


class AnnotateRules(Rules):
    def columns(self, draft: Draft) -> dict[str, Role]:
        found = dict(draft.read("data")[0].columns)
        for annotator in draft.listed("annotators"):
            self._check_reads(draft, annotator, found)
            taken = next((name for name in annotator.adds() if name in found), None)
            if taken is not None:
                raise PlanError(f"'{annotator.name}' would add '{taken}', which the data already have", where=draft.where("annotators"))
            found |= annotator.adds()
        return found

    def _check_reads(self, draft: Draft, annotator: Annotator, found: dict[str, Role]) -> None:
        for name, role in annotator.reads().items():
            if found.get(name) is role:
                continue
            has = f"holds {found[name].value} there" if name in found else f"has ({', '.join(found)})"
            raise PlanError(
                f"'{annotator.name}' reads '{name}' as {role.value}, but '{draft.inputs['data'][0]}' {has}",
                where=draft.where("annotators"),
                hint=f"Name another column: {{use: {annotator.name}, of: COLUMN}}." if "of" in type(annotator).model_fields else None,
            )
