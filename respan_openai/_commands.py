"""``serve``, ``calls`` and ``check``, as typer reads them off functions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ._checkup import checkup
from ._listing import printed, where_from
from .exceptions import ConfigError
from .local.config import configured_gateway, open_store
from .local.serving import HOST, PORT, STOP_SECONDS, serve
from .testing.commands import PASSED_ON, main


__all__ = ["app"]


# Its own way to show an exception would show the locals of every frame, with keys among them.
app = typer.Typer(
    name="respan-openai",
    help="The Respan gateway on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Config = Annotated[
    Path | None, typer.Option("--config", help="A TOML file; see respan_openai/local/config.py.")
]


@app.command("serve")
def serve_command(
    config: Config = None,
    host: Annotated[str, typer.Option(help="To listen on; beyond loopback only with keys.")] = HOST,
    port: Annotated[int, typer.Option(help="0 is any that is free.", min=0, max=65535)] = PORT,
    echo: Annotated[bool, typer.Option("--echo", help="Answer offline; no provider is asked.")] = False,
    store: Annotated[str | None, typer.Option(help="A file, redis://..., memory, or env:NAME.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A folder of TOML and JSON files.")] = None,
    prices: Annotated[str | None, typer.Option(help="genai: the prices of genai-prices.")] = None,
    stop_seconds: Annotated[
        int, typer.Option(help="For calls under way when it is stopped.", min=0)
    ] = STOP_SECONDS,
) -> None:
    """Serve the gateway over HTTP, with its call log as a page.

    Keys of providers: OPENAI_API_KEY, AZURE_OPENAI_API_KEY, OPENROUTER_API_KEY, or as the file says. Keys
    that the gateway lets in: RESPAN_SERVE_API_KEYS, or as the file says.
    """
    gateway = configured_gateway(config, echo=echo, store=store, prompts=prompts, prices=prices)
    note = "Every answer is an echo of its prompt: no provider is asked.\n" if echo else ""
    serve(gateway, host, port, stop_seconds=stop_seconds, announce=lambda where: _say(note + where))


def _say(text: str) -> None:
    # At once: whoever started it may read a pipe.
    print(text, flush=True)  # noqa: T201 -- a command prints


@app.command("calls")
def calls_command(
    store: Annotated[str, typer.Option(help="What the gateway writes to: a file, redis://..., or env:NAME.")],
    limit: Annotated[int, typer.Option(help="Most calls to show.", min=1, max=10_000)] = 20,
    where: Annotated[list[str] | None, typer.Option(help="Only calls like that: status=429.")] = None,
) -> None:
    """Print the newest calls of a log."""
    if store == "memory":
        raise ConfigError(
            "A log in memory ends with its process. Name the file or the Redis that the gateway writes to."
        )
    kept = open_store(store, as_is=True)
    try:
        rows = kept.entries(limit=limit, where=where_from(where or []))
    finally:
        kept.close()
    printed(rows, sys.stdout)


@app.command("check")
def check_command(
    config: Config = None,
    reach: Annotated[
        bool, typer.Option("--reach", help="Ask the hosted gateway for a sign of life.")
    ] = False,
) -> None:
    """Tell what is installed and set, never a value; with --config, whether the file can be used."""
    for line in checkup(reach=reach):
        _say(line)
    if config is not None:
        configured_gateway(config).store.close()
        _say(f"{config}: can be used")


@app.command("cassettes", context_settings=PASSED_ON, add_help_option=False)
def cassettes_command(context: typer.Context) -> None:
    """Look after recorded calls: check, show, diff, ls, prune, mv, scrub, import."""
    raise typer.Exit(main(context.args))
