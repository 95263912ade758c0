# ruff: noqa: INP001, T201 - a script of the repository, which says what it does
"""Writes the README's tables of a comparison from stored results, between their markers.

    python tools/readme_tables.py [RESULTS] [--check]

Markers stand alone on a line: `<!-- balance report: support -->`, and `security` or `figures`; a table ends at the
next `<!-- balance report: end -->`. With --check nothing is written, and what is out of step is named (exit code 1).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from balance_core.compare import loading, rows
from balance_core.compare.report import text
from balance_core.errors import BalanceError

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
"""The stored run that the README shows."""
PARTS = {"support": text.support, "security": text.security, "figures": text.figures}
_END = "<!-- balance report: end -->"
_BLOCK = re.compile(r"^<!-- balance report: (?P<part>[a-z]+) -->\n(?P<body>.*?)^" + _END, re.DOTALL | re.MULTILINE)


def rewritten(page: str, results: Path) -> str:
    """Return a page with all its tables made anew; raises ValueError for a marker of no known table."""
    if not _BLOCK.search(page):
        return page
    table = rows.table(loading.load(results))

    def made(found: re.Match[str]) -> str:
        part = found["part"]
        if part not in PARTS:
            raise ValueError(f"no table is called {part!r}: there are {', '.join(PARTS)}")
        return f"<!-- balance report: {part} -->\n\n{PARTS[part](table)}\n{_END}"

    return _BLOCK.sub(made, page)


def main(arguments: list[str]) -> int:
    """Rewrite the README, or say whether it is in step."""
    check = "--check" in arguments
    named = [Path(argument) for argument in arguments if not argument.startswith("-")]
    page = README.read_text(encoding="utf-8")
    try:
        after = rewritten(page, named[0] if named else RESULTS)
    except (BalanceError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if after == page:
        print("the README's tables are in step with the results")
        return 0
    if check:
        print("the README's tables are out of step: python tools/readme_tables.py", file=sys.stderr)
        return 1
    README.write_text(after, encoding="utf-8")
    print("written: README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
