"""`balance audit`: the accuracy that a provider proves on one's own test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from balance_core.cli import ask as asking
from balance_core.cli import options as given

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.service.audit.file import AuditFile
    from balance_core.service.audit.records import AuditReport


class AuditGroup(typer.core.TyperGroup):
    """`balance audit URL ...` is short for `balance audit run URL ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command that is meant before an address."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; an address means `run`."""
        return super().get_command(ctx, "run" if "://" in cmd_name else cmd_name)


app = typer.Typer(
    cls=AuditGroup,
    help="Audits: a test set, answered under receipts, and the accuracy that proofs show.",
    no_args_is_help=True,
    epilog="Example: balance audit http://127.0.0.1:8080 --input test.npz --sample 60 -o report",
)


@app.command(epilog="Example: balance audit http://127.0.0.1:8080 --input test.npz --sample 60 -o report")
def run(
    url: asking.UrlArgument,
    *,
    inputs: given.InputOption = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="The labels, unless they are `y` in the .npz.", show_default=False)
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="How many answers must be proven, drawn at random.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Have all answers proven (the default).")] = False,
    metric: Annotated[
        str, typer.Option("--metric", help="When an answer is right: top1, equal, tolerance, or an installed one.")
    ] = "top1",
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, help="For the metric `tolerance`.", show_default=False)
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="Which of the model's outputs is meant.", show_default=False)
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="Of all bounds.")] = 0.95,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write NAME.audit (the evidence), NAME.md and NAME.svg.", show_default=False
        ),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Put the evidence into the storage, for everybody to verify.")
    ] = False,
    registration: asking.RegistrationOption = None,
    model: asking.ModelOption = None,
    chain: asking.ChainOption = "ledger",
    ledger: asking.LedgerOption = None,
    storage: asking.StorageOption = "none",
    api_key: asking.ApiKeyOption = None,
    key: asking.KeyOption = "default",
    setting: asking.SettingOption = None,
    wait: asking.PatienceOption = 60.0,
    json: given.JsonOption = False,
) -> None:
    """Send a test set, and have the answers proven: all, or a sample that neither side chose; exit code 1 if caught.

    Registration and test set are fixed under the chain's head, which you countersign, before the provider sees any of
    it. A provider that does not prove what is drawn counts as caught.
    """
    from balance_core.errors import ConfigError
    from balance_core.service.audit.conduct import AuditTerms
    from balance_core.service.audit.metrics import Metric
    from balance_core.service.audit.samples import read_test_set

    if inputs is None:
        raise ConfigError("there is nothing to ask about", hint="give a test set: --input test.npz")
    if sample is not None and everything:
        raise ConfigError("--sample and --all contradict each other")
    if publish and storage == "none":
        raise ConfigError("there is no storage to publish to", hint="for example --storage local, or --storage ipfs")
    terms = AuditTerms(
        drawn=sample,
        metric=Metric(name=metric, tolerance=tolerance, output=output),
        confidence=confidence,
        watch=None if json else _watch(),
    )
    with asking.client(
        url,
        registration=registration,
        model=model,
        chain=chain,
        ledger=ledger,
        storage=storage,
        api_key=api_key,
        key=key,
        setting=setting,
        wait=wait,
    ) as client:
        client.pin()
        batch, right = read_test_set(inputs, client.consumer.inputs, labels)
        file = client.audit(batch, right, terms)
        address = _published(file, client.consumer.storage) if publish else None
    if out is not None:
        _write(file, out)
    _tell(file.report, json=json)
    if address is not None and not json:
        typer.echo(f"published    ipfs://{address}")
    if file.report.caught:
        raise typer.Exit(1)


@app.command(epilog="Example: balance audit verify report.audit --ledger ledger.db")
def verify(
    source: Annotated[Path, typer.Argument(help="The file that an audit wrote.", show_default=False, metavar="FILE")],
    *,
    registration: Annotated[
        str | None,
        typer.Option("--registration", "-r", help="The registration it should be of: its id.", show_default=False),
    ] = None,
    ledger: asking.LedgerOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write NAME.md and NAME.svg.", show_default=False)
    ] = None,
    timeout: given.TimeoutOption = None,
    memory: given.MemoryOption = None,
    json: given.JsonOption = False,
) -> None:
    """Check an audit offline, from its file alone, and show what it proves; exit code 1 if it shows a cheater."""
    from balance_core.errors import InvalidProof
    from balance_core.service.audit.check import check_file
    from balance_core.service.audit.file import AuditFile
    from balance_core.service.client.checking import Checker

    file = AuditFile.read(source)
    limited = timeout is not None or memory is not None
    checker = Checker(given.limits(timeout, memory, None) if limited else None)
    try:
        report = check_file(file, checker.by_sample)
    finally:
        checker.close()
    if registration is not None and registration != report.registration_id:
        raise InvalidProof(f"the audit is of the registration {report.registration_id}, and not of {registration}")
    vouched = None if ledger is None else _vouched(file, ledger)
    if out is not None:
        _write_report(report, out)
    _tell(report, json=json)
    if not json:
        typer.echo(f"vouched for  {vouched or 'by nobody: give --ledger, or the registration that you rely on'}")
    if report.caught:
        raise typer.Exit(1)


def _vouched(file: AuditFile, path: Path) -> str:
    """Say what the ledger has of the registration, and that the head which the audit was begun under still stands."""
    from balance_core.builtin.ledger import Ledger, LedgerSettings
    from balance_core.errors import ConfigError
    from balance_core.verification import check_standing

    if not path.is_file():
        raise ConfigError(f"there is no ledger at {str(path)!r}", hint="check the path")
    ledger = Ledger(LedgerSettings(path=path, read_only=True))
    plan = file.evidence.plan.plan
    voucher = ledger.voucher(plan.registration_id)
    check_standing(voucher)
    if plan.head is None:
        return f"{voucher}; the audit names no head"
    ledger.verify(plan.head)
    return f"{voucher}, under the head of entry {plan.head.head.length} that the consumer countersigned"


def _published(file: AuditFile, storage: Any) -> str:
    import io

    from balance_core.errors import ToolFailed

    address: str = storage.put(io.BytesIO(file.to_bytes()))
    if address != file.cid:
        raise ToolFailed(f"the storage keeps the audit as {address}, its address is {file.cid}")
    return address


def _write(file: AuditFile, out: Path) -> None:
    file.write(out.with_name(out.name + ".audit"))
    _write_report(file.report, out)


def _write_report(report: AuditReport, out: Path) -> None:
    """Write the report, and the plot where matplotlib is there."""
    from balance_core.errors import ToolNotFound
    from balance_core.files import write_output
    from balance_core.service.audit.plot import as_svg
    from balance_core.service.audit.report import as_text

    write_output(out.with_name(out.name + ".md"), as_text(report).encode())
    try:
        write_output(out.with_name(out.name + ".svg"), as_svg(report))
    except ToolNotFound as error:
        typer.echo(f"no plot: {error.message}", err=True)


def _tell(report: AuditReport, *, json: bool) -> None:
    from balance_core.cli.display import field
    from balance_core.service.audit.report import lines, notes

    if json:
        typer.echo(report.to_json().decode())
        return
    for name, value in lines(report):
        field(name, value)
    for odds in report.odds:
        if odds.fraction in {0.01, 0.05, 0.2}:
            field("cheating", f"{odds.fraction:.0%} of answers false: caught with probability {odds.caught:.4f}")
    for note in notes(report):
        field("note", note)


def _watch() -> Callable[[str, int, int], None]:
    import sys
    import time

    live = sys.stderr.isatty()
    told = [0.0]

    def watch(doing: str, done: int, of: int) -> None:
        if live or done == of or time.monotonic() - told[0] > 10:
            told[0] = time.monotonic()
            end = "\n" if not live or done == of else ""
            sys.stderr.write(f"{chr(13) if live else ''}  {doing:<9} {done} of {of}{end}")
            sys.stderr.flush()

    return watch
