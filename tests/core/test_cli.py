"""The command line: light to start, with an example in every help, and one line for every error."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer.main

from balance_core.cli import app, invoke

HEAVY = {
    "cryptography",
    "ezkl",
    "importlib.metadata",
    "numpy",
    "onnx",
    "onnxruntime",
    "pluggy",
    "psutil",
    "pydantic",
    "rfc8785",
    "sqlite3",
    "stevedore",
}


def commands():
    def walk(command, path):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, [*path, name])
        yield path

    return list(walk(typer.main.get_command(app), []))


def test_help_imports_typer_and_nothing_heavier():
    script = f"""
import sys
sys.argv = ["balance", "--help"]
from balance_core.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() in ("[]", "['importlib.metadata']")
    assert "Prove one answer" in done.stdout


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_the_help_of_every_command_has_an_example(path, capsys):
    assert invoke([*path, "--help"]) == 0
    assert re.search(r"Example: balance \w+", capsys.readouterr().out)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (["run", "no-such.onnx", "-i", "x.npy"], 2, "no-such.onnx", "path"),
        (["run", "x.onnx"], 2, "nothing to prove", "--input"),
        (["run", "--backend", "no-such"], 3, "'no-such'", ""),
        (["run", "--chain", "no-such"], 3, "'no-such'", ""),
        (["run", "-o", "nonsense"], 2, "key=value", "input_scale=8"),
        (["run", "-o", "nobody.k=1"], 2, "'nobody'", "prefixes"),
        (["run", "--memory", "lots"], 2, "'lots'", "4G"),
        (["run", "--dim", "batch"], 2, "NAME=N", "batch=1"),
        (["run", "--context", "12"], 2, "64 hex digits", "random"),
        (["run", "--index", "-1"], 2, "--index", "--help"),
        (["prove", "nobody", "-i", "x.npy"], 2, "no registration 'nobody'", "balance setup"),
        (["verify", "no-such.balance"], 2, "no-such.balance", ""),
        (["verify", "no-such.balance", "--ledger", "none.db"], 2, "none.db", "path"),
        (["bundle", "no-such-run", "-o", "x.balance"], 2, "no-such-run", ""),
        (["inspect", "no-such-run"], 2, "no-such-run", ""),
        (["reproduce", "m.onnx", "nobody"], 2, "nobody", ""),
        (["convert", "no-such.onnx", "-o", "x.onnx"], 2, "no-such.onnx", ""),
        (["srs", "import", "no-such.srs"], 2, "no-such.srs", ""),
        (["ledger", "head"], 2, "no ledger", "balance run"),
        (["keys", "new", "../x"], 2, "../x", ""),
        (["plugins", "show", "no-such"], 3, "'no-such'", ""),
        (["plugins", "show", "ledger", "--kind", "x"], 2, "'x'", "kinds are"),
        (["nonsense"], 2, "nonsense", "--help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_with_a_hint_and_the_code_of_its_kind(arguments, code, error, hint, capsys):
    assert invoke(arguments) == code
    shown = capsys.readouterr().err.splitlines()
    errors = [line for line in shown if line.startswith("error: ")]
    assert len(errors) == 1
    assert error in errors[0]
    assert hint in "\n".join(line for line in shown if line.startswith("hint: "))
    assert "Traceback" not in "\n".join(shown)


def test_a_fault_of_our_own_exits_with_70_and_shows_its_traceback_only_on_request(monkeypatch, capsys):
    def fail():
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("balance_core.workspace.Workspace.default", fail)
    assert invoke(["srs", "list"]) == 70
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("BALANCE_DEBUG", "")
    assert invoke(["--debug", "srs", "list"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("balance_core.workspace.Workspace.default", interrupt)
    assert invoke(["srs", "list"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupt_while_a_class_is_made_exits_with_130_too(number):
    script = f"""
import signal, sys
from balance_core.cli import main
from balance_core.workspace import Workspace
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
Workspace.default = lambda: exec("import os, signal; os.kill(os.getpid(), signal.{number})")
sys.argv = ["balance", "srs", "list"]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_an_interrupt_that_a_callback_lost_ends_the_command_at_its_next_stage(monkeypatch):
    from balance_core.cli import interrupts
    from balance_core.cli.display import Display
    from balance_core.runs import StageStart

    Display(quiet=True).stage_started(StageStart(run_id="r", stage="convert"))
    monkeypatch.setattr(interrupts, "_seen", True)
    with pytest.raises(KeyboardInterrupt):
        Display(quiet=True).stage_started(StageStart(run_id="r", stage="convert"))


def test_a_misspelt_group_is_suggested(capsys):
    assert invoke(["audi"]) == 2
    assert "Did you mean 'audit'" in capsys.readouterr().err


def test_a_plugin_brings_a_command_group_that_is_imported_when_named(install, capsys):
    install(
        "extra",
        """
        import typer
        app = typer.Typer(help="An extra group.")
        @app.command()
        def hello(): typer.echo("hello from a plugin")
        @app.command()
        def bye(): pass
        """,
        {"balance.commands": ["extra = extra:app", "broken = no_such_module:app"]},
    )
    assert invoke(["extra", "hello"]) == 0
    assert "hello from a plugin" in capsys.readouterr().out
    assert invoke(["broken"]) == 3
    assert "no_such_module" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_keys_are_made_listed_and_never_shown(capsys, home):
    assert invoke(["keys", "new", "work"]) == 0
    made = capsys.readouterr().out
    assert invoke(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    public = made.split()[-1]
    assert public in listed
    secret = (home / "keys" / "work.key").read_text()
    assert secret.splitlines()[1] not in made + listed
    assert (home / "keys" / "work.key").stat().st_mode & 0o777 == 0o600
