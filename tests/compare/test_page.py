"""The page in a real browser: what a reader can do with it, and that it says nothing to anybody.

Screenshots are kept in the folder that BALANCE_SCREENSHOTS names, or in pytest's own.
"""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from balance_core.compare import loading, rows
from balance_core.compare.metrics import Price
from balance_core.compare.report import page as report
from tests.compare import specimens

pytestmark = [pytest.mark.plugin("browser"), pytest.mark.slow]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_VARIABLE = "BALANCE_BROWSER"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
WIDE, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    named = os.environ.get("BALANCE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get(BROWSER_VARIABLE) or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"there is no browser: install Chromium, or name one in {BROWSER_VARIABLE}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = specimens.store(tmp_path_factory.mktemp("results"), specimens.mnist())
    specimens.store(folder, [specimens.cell("mnist_mlp", "ezkl", on="eight-cores"),
                             specimens.cell("mnist_mlp", "zkml_halo2", on="eight-cores")])  # fmt: skip
    out = folder / "page.html"
    out.write_text(report.page(rows.table(loading.load(folder), price=Price(0.1))))
    return out.as_uri()


class Visit:
    """One visit of the page; everything that the browser complains about or asks for is kept."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**{"viewport": WIDE} | options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def column(self, label):
        """Return the texts of a column of the matrix, from the rows that are shown."""
        return self.page.evaluate(
            """label => {
              const table = document.getElementById("matrix");
              const place = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent.trim() === label);
              return [...table.tBodies[0].rows].filter(row => !row.hidden)
                .map(row => row.cells[place].dataset.v ?? row.cells[place].textContent.trim());
            }""",
            label,
        )

    def press(self, label):
        self.page.locator("#matrix thead").get_by_role("button", name=label, exact=True).click()

    def width(self):
        return self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")


def test_the_page_opens_from_disk_without_a_complaint_or_a_request(browser, address, screenshots):
    for scheme in ("light", "dark"):
        with Visit(browser, address, color_scheme=scheme) as visit:
            visit.page.screenshot(path=screenshots / f"page-{scheme}.png", full_page=True)
            assert visit.complaints == []
            assert visit.requests == [address]
            assert visit.page.locator("svg").count() > 20


def test_a_column_sorts_both_ways_with_what_is_missing_last(browser, address):
    with Visit(browser, address) as visit:
        for _ in range(2):
            visit.press("Prove")
            values = visit.column("Prove")
            known = [float(value) for value in values if value]
            down = visit.page.locator("#matrix th[aria-sort]").get_attribute("aria-sort") == "descending"
            assert known == sorted(known, reverse=down)
            assert values[: len(known)] == [value for value in values if value]
            assert "" in values
        assert visit.page.locator("#matrix th[aria-sort]").count() == 1
        visit.press("Backend")
        names = visit.column("Backend")
        assert names == sorted(names, key=str.lower)
        assert "sorted by Backend" in visit.page.locator("#count").text_content()
        assert visit.complaints == []


def test_filters_narrow_rows_and_pictures(browser, address, screenshots):
    with Visit(browser, address) as visit:
        everything = len(visit.column("Model"))
        visit.page.locator("select[data-key=backend]").select_option("zkml_halo2")
        assert set(visit.column("Backend")) == {"zkml_halo2"}
        visit.page.fill("#search", "LENET")
        assert visit.column("Model") == ["lenet5"]
        assert f"1 of {everything} rows" in visit.page.locator("#count").text_content()
        assert {
            figure.get_attribute("data-model") for figure in visit.page.locator("figure[data-model]:visible").all()
        } == {"lenet5"}
        visit.page.screenshot(path=screenshots / "page-filtered.png")
        visit.page.locator("#reset").click()
        assert len(visit.column("Model")) == everything
        visit.page.fill("#search", "no such thing")
        assert visit.column("Model") == []
        assert visit.complaints == []


def test_more_columns_appear_on_request(browser, address):
    with Visit(browser, address) as visit:
        hidden = visit.page.locator("#matrix thead th", has_text="Verifying key")
        assert not hidden.is_visible()
        visit.page.get_by_label("Sizes", exact=True).check()
        assert hidden.is_visible()
        visit.page.get_by_label("Sizes", exact=True).uncheck()
        assert not hidden.is_visible()


def test_everything_can_be_done_by_keyboard(browser, address):
    with Visit(browser, address) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.className") == "skip"
        visit.page.locator("#matrix thead").get_by_role("button", name="Memory", exact=True).focus()
        visit.page.keyboard.press("Enter")
        memory = [float(value) for value in visit.column("Memory") if value]
        assert memory == sorted(memory)
        visit.page.keyboard.press("Space")
        assert [float(value) for value in visit.column("Memory") if value] == sorted(memory, reverse=True)
        # What scrolls can be reached and scrolled without a mouse.
        assert visit.page.locator(".scroll:not([tabindex])").count() <= 1


def test_a_screen_reader_finds_names_for_everything(browser, address):
    with Visit(browser, address) as visit:
        assert visit.page.evaluate("document.documentElement.lang") == "en"
        nameless = visit.page.evaluate(
            """[...document.querySelectorAll("button, input, select, a, svg, table, [role=region]")].filter(e =>
              !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length ||
                e.textContent.trim() || e.getAttribute("title"))).map(e => e.outerHTML.slice(0, 80))"""
        )
        assert nameless == []
        levels = visit.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        scopes = visit.page.evaluate("[...document.querySelectorAll('th')].every(th => th.scope)")
        assert scopes


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(browser, address, scheme):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for texts; 1.4.11: 3 for the colours of backends."""
    with Visit(browser, address, color_scheme=scheme) as visit:
        ratios = visit.page.evaluate(
            """() => {
              const style = getComputedStyle(document.documentElement);
              const light = name => {
                const hex = style.getPropertyValue(name).trim().slice(1);
                const full = hex.length === 3 ? [...hex].map(c => c + c).join("") : hex;
                const [r, g, b] = [0, 2, 4].map(i => parseInt(full.slice(i, i + 2), 16) / 255)
                  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ratio = (a, b) => (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05);
              const found = {};
              const names = ["ink", "muted", "accent", "good", "warn", "bad",
                             "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]
              for (const ground of ["--bg", "--card"])
                for (const name of names) found["--" + name + ground] = ratio("--" + name, ground);
              return found;
            }"""
        )
        weak = {name: ratio for name, ratio in ratios.items() if ratio < (3 if name.startswith("--s") else 4.5)}
        assert weak == {}


def test_a_phone_shows_it_without_scrolling_sideways(browser, address, screenshots):
    with Visit(browser, address, viewport=PHONE, is_mobile=True, device_scale_factor=2) as visit:
        content, window = visit.width()
        assert content <= window
        visit.page.screenshot(path=screenshots / "page-phone.png", full_page=True)


def test_the_theme_can_be_chosen(browser, address):
    with Visit(browser, address, color_scheme="light") as visit:
        ground = "getComputedStyle(document.body).backgroundColor"
        before = visit.page.evaluate(ground)
        visit.page.locator("#theme").click()
        assert visit.page.evaluate(ground) != before
        visit.page.locator("#theme").click()
        assert visit.page.evaluate(ground) == before


def test_it_prints_on_paper(browser, address, screenshots):
    with Visit(browser, address, color_scheme="dark") as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not visit.page.locator(".controls").is_visible()
        assert visit.page.locator("#matrix thead").get_by_text("Cost of 1,000 (USD)", exact=True).is_visible()
        visit.page.pdf(path=screenshots / "page.pdf", prefer_css_page_size=True)
        visit.page.screenshot(path=screenshots / "page-print.png", full_page=True)
        content, window = visit.width()
        assert content <= window * 1.02


def test_without_scripts_everything_is_still_there(browser, address):
    with Visit(browser, address, java_script_enabled=False) as visit:
        assert visit.page.locator("#matrix tbody tr").count() > 30
        assert not visit.page.locator(".controls").is_visible()


def test_a_hostile_result_runs_nothing(browser, tmp_path):
    evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    cells = [specimens.unfinished("lenet5", "ezkl", "failed", evil, "prove"),
             specimens.cell("mnist_mlp", "ezkl", settings={evil[:50]: evil}),
             specimens.cell("mnist_mlp", "zkml_halo2", settings={"a": "</svg><script>top.x=1</script>"})]  # fmt: skip
    out = tmp_path / "page.html"
    out.write_text(report.page(rows.table(loading.load(specimens.store(tmp_path / "results", cells))), title=evil))
    with Visit(browser, out.as_uri()) as visit:
        assert visit.page.title() != "owned"
        assert visit.page.locator("script").count() == 1
        assert visit.page.locator("img").count() == 0
        assert visit.requests == [out.as_uri()]
        assert visit.complaints == []
