"""An audit's report for people: what was proven, how sure that is, and what nobody can tell from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.service.audit.records import AuditReport, Interval


def headline(report: AuditReport) -> str:
    """Return the result in one sentence."""
    if report.refused:
        return "CAUGHT: the provider did not reveal its share of the seed, so that nothing could be proven"
    if report.contradicted:
        return (
            f"CAUGHT: proofs show {_count(len(report.contradicted), 'answer')} to be others than the provider signed"
        )
    if report.unproven:
        return (
            f"CAUGHT: the provider did not prove {len(report.unproven)} of the {report.drawn} answers that were drawn"
        )
    if not report.sound:
        return (
            f"{report.proven_right} of {report.proven} answers are right, by a backend that proves nothing to others"
        )
    if report.drawn == report.samples:
        return f"proven: {report.proven_right} of {report.samples} answers are right ({_percent(_share(report))})"
    return (
        f"proven: {report.proven_right} of the {report.drawn} answers drawn are right ({_percent(_share(report))}); "
        f"on all {report.samples}: {_between(report.of_set)}"
    )


def lines(report: AuditReport) -> Iterator[tuple[str, str]]:
    """Yield what the report says, as names and values."""
    level = f"at {report.confidence:.4g}"
    yield "result", headline(report)
    yield "registration", report.registration_id
    yield "model", f"{report.registration.name} version {report.registration.version}"
    yield "backend", f"{report.registration.backend} {report.registration.backend_version}"
    yield "setup trust", str(report.setup_trust.trust)
    yield "audit", report.audit_id
    yield "test set", report.test_set
    yield "measure", report.metric.name + (f" {report.metric.tolerance:g}" if report.metric.tolerance else "")
    yield "answered", f"{report.right} of {report.samples} right, as the provider signed them"
    yield "proven", f"{report.proven_right} of {report.proven} right, of {report.drawn} drawn"
    if report.of_set is not None and report.drawn < report.samples:
        yield "on this set", f"{_between(report.of_set)} {level} (hypergeometric, exact)"
    if report.of_population is not None:
        yield (
            "beyond it",
            f"{_between(report.of_population)} {level} (Clopper-Pearson), if the set was drawn at random",
        )
    if report.false_at_most is not None and report.drawn < report.samples:
        yield "false answers", f"at most {report.false_at_most} of {report.samples} {level}, none of which was drawn"
    if report.unproven:
        yield "not proven", _numbers(report.unproven)
    if report.contradicted:
        yield "refuted", _numbers(report.contradicted)


def notes(report: AuditReport) -> Iterator[str]:
    """Yield what a reader must know."""
    if report.proven and not report.sound:
        yield f"{report.registration.backend} is not sound: whoever wants to can make such proofs of anything"
    if report.setup_trust.is_test_only:
        yield "the setup is insecure-test: whoever made it could forge proofs"
    if report.hidden:
        yield "proofs hide their inputs: that they are the test set's is the provider's word"
    if report.refused or report.unproven:
        yield "that the provider was asked and did not prove is the consumer's word; a false answer's proof is not"
    yield "the provider knew that this was an audit: other answers are bound by receipts and proofs of their own"


def as_text(report: AuditReport) -> str:
    """Return the report as Markdown."""
    parts = ["# Audit", "", headline(report) + ".", "", "| | |", "|---|---|"]
    parts += [f"| {name} | {value} |" for name, value in lines(report)]
    parts += [
        "",
        "## Who cheats",
        "",
        "| share of false answers | answers | probability of being caught |",
        "|--:|--:|--:|",
    ]
    parts += [f"| {_percent(one.fraction)} | {one.false} | {one.caught:.4f} |" for one in report.odds]
    if report.classes:
        parts += [
            "",
            "## Classes",
            "",
            "| label | samples | right | proven | proven right |",
            "|---|--:|--:|--:|--:|",
        ]
        parts += [
            f"| {row.label} | {row.samples} | {row.right} | {row.proven} | {row.proven_right} |"
            for row in report.classes
        ]
    parts += ["", "## Notes", "", *(f"- {note}" for note in notes(report)), ""]
    return "\n".join(parts)


def _share(report: AuditReport) -> float:
    return report.proven_right / report.drawn


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _between(interval: Interval | None) -> str:
    return "unknown" if interval is None else f"{_percent(interval.low)} to {_percent(interval.high)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _numbers(samples: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, samples[:20]))
    return f"samples {shown}" + (f" and {len(samples) - 20} more" if len(samples) > 20 else "")
