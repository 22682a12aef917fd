"""``langadapt``: a click group that imports a command's module only when that command is asked for.

``langadapt --help`` must answer at once, so this file imports click and nothing else.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

import click

COMMANDS = {
    "build": "Run recipes for a language and leave a release.",
    "plan": "Show what a build would do, and why.",
    "list": "List languages, domains, recipes and components.",
    "show": "Show one of them whole: facts, stages, options.",
    "plugins": "List plugins, what they bring, and which are broken.",
    "new": "Begin a plugin or a recipe of your own.",
    "check": "Check manifests and plugins without building.",
    "translators": "Say what can translate between two languages here.",
    "translate": "Translate columns of a table, to look at or to score on.",
    "tokens": "Measure a vocabulary on a language's text, and advise.",
    "show-token": "Say where the row of a token came from.",
    "embed": "Turn texts into vectors.",
    "serve": "Answer for vectors over HTTP, as OpenAI's clients ask.",
    "release": "Release a trained adapter alone, or merged into its base.",
    "evaluate": "Score encoders on a task.",
    "runs": "List builds of the past with their main score.",
    "report": "Write the report of a run: one page to look at.",
    "compare": "Compare runs: scores, plans, time and size.",
    "verify": "Check a release, or the store, against its digests.",
    "gc": "Remove artifacts that no run folder needs.",
    "doctor": "Say what is installed and what a build would need.",
    "completion": "Print the shell completion script.",
}


class LazyGroup(click.Group):
    """Knows the names and summaries of its commands; imports one on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"langadapt.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            import difflib

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"There is no command '{name}'.{hint}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from langadapt import __version__

        click.echo(f"langadapt {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Load this module as a plugin too (repeatable).")
@click.pass_context
def app(ctx: click.Context, debug: bool, plugins: tuple[str, ...]) -> None:
    """Adapt text encoders to low-resource languages and domains."""
    if plugins:  # a module that lies in the current folder, as with python -m
        sys.path.append(os.getcwd())
    ctx.obj = {"debug": debug, "plugins": plugins}


class Terminated(KeyboardInterrupt):
    """SIGTERM: stop as for Ctrl-C, so that scratch is put away and a word is said."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def main() -> None:
    """Entry point: errors meant for people become one paragraph and their exit code."""
    arguments = sys.argv[1:]
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, prog_name="langadapt", standalone_mode=False)
        if isinstance(code, int) and code:  # what a command exits with beside its output
            sys.exit(code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        click.echo(f"error: {error.format_message()}", err=True)
        if context is not None:
            click.echo(f"  '{context.command_path} --help' lists its arguments and options.", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo("Stopped. Run the same command again to go on.", err=True)
        # click makes an Abort of any interrupt, and keeps it as the cause.
        sys.exit(143 if Terminated in (type(stop), type(stop.__cause__), type(stop.__context__)) else 130)
    except BrokenPipeError:
        # The reader (head, less) has gone: point stdout elsewhere so that the interpreter's flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        sys.exit(_report(error, "--debug" in arguments))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # while libraries put themselves away, an exception would be printed


def _report(error: Exception, debug: bool) -> int:
    from langadapt.errors import LangadaptError, Problems, shortened

    if debug:
        import traceback

        traceback.print_exc()
    if isinstance(error, OSError) and not isinstance(error, LangadaptError) and error.errno is not None:
        click.echo(_printable(f"error: {error.filename or ''}: {error.strerror}".replace(": :", ":")), err=True)
        return 2
    if not isinstance(error, LangadaptError):
        if not debug:
            click.echo(_printable(shortened(f"error: this should not happen: {type(error).__name__}: {error}")), err=True)
            click.echo("  Run again with --debug (before the command's name) and report the traceback.", err=True)
        return 3
    for one in error.errors if isinstance(error, Problems) else [error]:
        place = f"{one.where}: " if one.where else ""
        click.echo(_printable(f"error: {place}{one.what}"), err=True)
        if one.hint:
            click.echo(_printable(f"  {one.hint}"), err=True)
    return error.exit_code


def _printable(text: str) -> str:
    """A text that can be written: a file name that is no UTF-8 holds half surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
