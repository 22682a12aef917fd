"""``langadapt completion``."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the shell completion script.

    \b
    bash:  eval "$(langadapt completion bash)"     in ~/.bashrc
    zsh:   eval "$(langadapt completion zsh)"      in ~/.zshrc
    fish:  langadapt completion fish > ~/.config/fish/completions/langadapt.fish
    """
    from click.shell_completion import get_completion_class

    from langadapt.cli.app import app

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(app, {}, "langadapt", "_LANGADAPT_COMPLETE").source())
