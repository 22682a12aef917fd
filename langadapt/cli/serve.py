"""``langadapt serve``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from langadapt.cli.options import named_adapters

if TYPE_CHECKING:
    from langadapt.serving.guards import Guards

LOCAL = ("127.0.0.1", "::1", "localhost")


@click.command("serve")
@click.argument("release")
@click.option("--adapter", "adapters", multiple=True, metavar="NAME=PATH", help="Serve this trained adapter too (repeatable).")
@click.option("--scorer", metavar="FOLDER|HUB_ID", help="A cross-encoder that answers /rerank.")
@click.option("--name", help="What the encoder is called, beside 'base'. [default: the folder's name]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 is every one of this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--keys", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Keys that may call, one a line.")
@click.option("--admin-keys", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Keys that may change adapters.")
@click.option("--rate", metavar="N/PERIOD", help="Requests of one key or address, as 100/minute. [default: no limit]")
@click.option("--max-body", type=click.IntRange(1), default=8_000_000, show_default=True, help="Bytes of one request.")
@click.option("--max-waiting", type=click.IntRange(1), default=500_000, show_default=True, help="Tokens that may wait; beyond, 429.")
@click.option("--timeout", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds that a caller waits at most.")
@click.option("--batch-tokens", type=click.IntRange(16), default=4096, show_default=True, help="Padded tokens in one forward pass.")
@click.option("--max-adapters", type=click.IntRange(1), default=256, show_default=True, help="Adapters kept in memory.")
@click.option("--quantization", type=click.Choice(["8bit", "4bit"]), help="Load the base's linear layers in 8 or 4 bit.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="[default: the best there is]")
@click.option("--quiet", is_flag=True, help="No line a request.")
@click.pass_context
def command(ctx: click.Context, /, release: str, adapters: tuple[str, ...], host: str, port: int, quiet: bool, **given: Any) -> None:
    """Serve RELEASE (a folder or Hub id) and its adapters over HTTP, as OpenAI's clients ask for embeddings.

    POST /v1/embeddings takes an adapter as "model"; requests of all adapters share forward passes.  A page to try it stands at /.  One JSON
    line a request goes to standard error, without any text of it.

    \b
    langadapt serve runs/mr-sbert-nli-sts/release --adapter telecom=… --adapter clinical=…
    curl localhost:8000/v1/embeddings -d '{"model": "telecom", "input": "…"}'
    """
    from langadapt.errors import PlanError

    try:
        import limits  # noqa: F401
        import orjson  # noqa: F401
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise PlanError(f"the package '{error.name}' is not installed", hint="pip install 'langadapt[serve]'") from error
    from langadapt.inference.encoder import Encoder
    from langadapt.inference.scorer import Scorer
    from langadapt.registry.setup import setup
    from langadapt.serving.app import make_app
    from langadapt.serving.batcher import Batcher
    from langadapt.serving.counting import Counting
    from langadapt.serving.listening import bound, run
    from langadapt.serving.service import Service

    guards = _guards(given)
    added = named_adapters(adapters)
    name = given["name"] or _called(release)
    _check_names(name, added)
    listener = bound(host, port)  # before minutes of loading
    registry, _ = setup(ctx.obj["plugins"])
    load = {key: given[key] for key in ("device", "precision", "quantization", "max_adapters")}
    encoder = Encoder.load(release, registry=registry, **load)
    if encoder.gives != "dense":
        raise PlanError(f"'{encoder.settings.pooler['use']}' gives a vector a token, and one a text is served", where=release)
    encoder.own_weights()
    for adapter, path in added.items():
        encoder.add_adapter(adapter, path)
    scorer = Scorer.load(given["scorer"], device=given["device"]) if given["scorer"] else None
    if scorer is not None:
        scorer.own_weights()
    counting = Counting()
    batcher = Batcher(encoder, scorer, given["batch_tokens"], given["max_waiting"], counting.passed)
    counting.watch(batcher)
    service = Service(encoder, batcher, guards, counting, name, given["timeout"])
    app = make_app(service, (lambda _: None) if quiet else _log)
    address = f"http://{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"
    if host not in LOCAL and not guards.keys:
        click.echo("Anyone who reaches this address may call: --keys FILE asks for a key.", err=True)
    click.echo(f"{encoder!r}\n{address} answers; look at it in a browser, Ctrl-C stops it.", err=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_keep_alive=30))
    service.ready = lambda: not server.should_exit
    run(server, listener)
    click.echo("Stopped; what was taken is answered.", err=True)


def _called(release: str) -> str:
    """A Hub id as it is, a folder by its last name that says something."""
    from langadapt.release.adapters import known_name

    found = known_name(release)
    return found if found != "release" else Path(release).expanduser().resolve().parent.name or "base"


def _check_names(name: str, added: dict[str, str]) -> None:
    from langadapt.serving.service import RESERVED

    if name in ("auto", "scorer") or name in added:
        raise click.BadParameter(f"the encoder cannot be called {name} here", param_hint="--name")
    for one in added:
        if one in RESERVED:
            raise click.BadParameter(f"an adapter cannot be called {one}", param_hint="--adapter")


def _guards(given: dict[str, Any]) -> Guards:
    from langadapt.serving.guards import Guards, read_keys

    keys, admin = (read_keys(given[name]) if given[name] else () for name in ("keys", "admin_keys"))
    return Guards(keys, admin, given["rate"], given["max_body"])


def _log(record: dict[str, Any]) -> None:
    click.echo(json.dumps(record, ensure_ascii=False), err=True)
