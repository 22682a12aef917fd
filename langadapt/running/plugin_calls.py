"""Hooks that plugins answer while a build runs: one may veto it, others watch."""

from __future__ import annotations

from typing import Any

from langadapt.contracts.component import Log
from langadapt.contracts.plan import Plan
from langadapt.errors import LangadaptError, RegistryError
from langadapt.registry.plugins import stdout_to_stderr


def ask(hooks: Any, plan: Plan) -> None:
    """Let every plugin look at the plan; any may veto, and its error is the user's.

    Raises:
        RegistryError: a plugin's check itself broke; the build does not go on unchecked.
    """
    for implementation in hooks.langadapt_plan_ready.get_hookimpls():
        try:
            with stdout_to_stderr():
                implementation.function(**dict.fromkeys(implementation.argnames, plan))
        except LangadaptError:
            raise
        except (Exception, SystemExit) as error:
            raise RegistryError(
                f"plugin '{implementation.plugin_name}' raised in langadapt_plan_ready: {type(error).__name__}: {error}",
                hint="Leave the plugin out with LANGADAPT_PLUGINS=…, or report it to its author.",
            ) from error


def observe(hooks: Any, log: Log, hook: str, **arguments: Any) -> None:
    """Call an observer hook plugin by plugin; one that raises becomes one warning and is not called again."""
    caller = getattr(hooks, hook)
    for implementation in list(caller.get_hookimpls()):
        try:
            with stdout_to_stderr():
                implementation.function(**{name: arguments[name] for name in implementation.argnames})
        except (Exception, SystemExit) as error:  # an observer watches: it cannot end a build
            log.warning(f"plugin '{implementation.plugin_name}' raised in {hook}: {type(error).__name__}: {error}")
            caller._remove_plugin(implementation.plugin)
