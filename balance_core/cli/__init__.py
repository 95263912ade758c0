"""The command line: a thin layer over `balance_core`, with one module for each group of commands.

Only typer is imported here. What a command needs is imported when it runs, so that `balance --help` stays light.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
import typer.exceptions

from balance_core.cli import (
    advise,
    ask,
    audit,
    compare,
    consumer,
    doctor,
    execute,
    interrupts,
    keys,
    ledger,
    plugins,
    provider,
    receipt,
    report,
    serve,
    srs,
    storage,
    validator,
)
from balance_core.cli.groups import GroupWithPlugins
from balance_core.errors import EXIT_CRASH, EXIT_INTERRUPTED, BalanceError

DEBUG_VARIABLE = "BALANCE_DEBUG"
"""Set by `--debug`: errors then show their traceback."""

app = typer.Typer(
    name="balance",
    help="Prove that a machine-learning answer came from the registered model, and let anyone verify it.",
    no_args_is_help=True,
    cls=GroupWithPlugins,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: balance run model.onnx --input x.npy --backend ezkl",
)
provider.add_commands(app)
execute.add_commands(app)
consumer.add_commands(app)
serve.add_commands(app)
ask.add_commands(app)
compare.add_commands(app)
report.add_commands(app)
advise.add_commands(app)
doctor.add_commands(app)
GroupWithPlugins.groups |= {
    "api-keys": serve.keys_app,
    "audit": audit.app,
    "receipt": receipt.app,
    "srs": srs.app,
    "keys": keys.app,
    "ledger": ledger.app,
    "storage": storage.app,
    "plugins": plugins.app,
    "validator": validator.app,
}


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"balance {metadata.version('balance-core')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    interrupts.install()
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are shown as `error:` and `hint:` lines."""
    try:
        result = typer.main.get_command(app).main(arguments, prog_name="balance", standalone_mode=False)
    except typer.exceptions.TyperException as error:
        return _show_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BalanceError as error:
        return _show(error, str(error), error.hint, error.exit_code)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - nobody reads on; the interpreter would complain at its end
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort: an error of our own
        hint = "this is a fault of Balance itself: run it again with --debug and report what it shows"
        return _show(error, f"{type(error).__name__}: {error}", hint, EXIT_CRASH)
    return result if isinstance(result, int) else 0


def _show(error: Exception, message: str, hint: str | None, code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    if hint:
        typer.echo(f"hint: {hint}", err=True)
    return code


def _show_usage(error: typer.exceptions.TyperException) -> int:
    """Show what is wrong with the command line itself."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        return 2
    typer.echo(f"error: {error.format_message().strip()}", err=True)
    if context is not None:
        typer.echo(f"hint: {context.command_path} --help", err=True)
    return error.exit_code
