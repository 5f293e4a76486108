"""The report and the index in a real browser: quiet, offline, findable, readable everywhere, nothing active."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from interp_assets.report.index import leaderboard, leaderboard_row, render_index
from interp_assets.report.inline_svg import Letters, inline_svg
from interp_assets.report.page import render

A4_WIDTH = 718  # CSS pixels between the default margins
WIDE, PHONE, PAPER = {"width": 1280, "height": 900}, {"width": 360, "height": 740}, {"width": A4_WIDTH, "height": 1000}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
EVIL = "<img src=x onerror=\"document.title='taken'\">'\"</script><script>document.title='taken'</script>"
TURNED = "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd"
LONG = "a" * 400
THEME = (
    "<style>:root { --fig-ink: #000; --fig-muted: #555; --fig-grid: #ccc; --fig-paper: #fff; --fig-alarm: #a00 }"
    " .letters { position: absolute }</style>"
)
VISIBLE = "element => element.getBoundingClientRect().height > 0"


@pytest.fixture(scope="session")
def report(results, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(results), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="session")
def index(example, results, tmp_path_factory):
    control = example.joined_verdict(example.example_judgement("control-planted", "positive_control"))
    rows = [
        leaderboard_row("demo", "control-planted", control),
        leaderboard_row("demo", results.release, results.verdict, results.standards, results.tables),
        leaderboard_row("bench", f"{EVIL}{LONG}", {}),
        leaderboard_row("bench", TURNED, {}),
    ]
    file = tmp_path_factory.mktemp("index") / "index.html"
    file.write_text(render_index(leaderboard(rows)), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def wide(opened, report):
    return opened(report, viewport=WIDE, color_scheme="light")


def shown_rows(page):
    return page.locator("#registry-table tbody tr:not([hidden])").evaluate_all("rows => rows.map(row => row.id)")


def test_no_error_and_no_request(wide, report):
    assert wide.errors == []
    assert wide.requests == [report]


def test_verdict_reads_as_in_the_file(wide, results):
    assert wide.page.text_content("#verdict-text") == results.verdict["headline"]["label"]
    claims = wide.page.locator("#claims .claim .chip:not(.plain)").all_text_contents()
    assert sorted(claims) == sorted(entry["label"] for entry in results.claims)


def test_search_finds_a_row_and_says_how_many(wide, results):
    wide.page.fill("#search", "degree-preserving A16")
    hits = [spec.test_id for spec in results.registry if spec.analysis_no == 16]
    assert sorted(shown_rows(wide.page)) == sorted(hits)
    assert wide.page.text_content("#shown") == f"{len(hits)} of 153 tests shown"
    assert wide.page.get_attribute("#shown", "aria-live") == "polite"
    wide.page.fill("#search", "")
    wide.page.select_option("#status", "skipped")
    assert len(shown_rows(wide.page)) == (results.tests["status"] == "skipped").sum()
    wide.page.select_option("#status", "")
    assert len(shown_rows(wide.page)) == 153


def test_sort_by_keyboard_in_both_directions(wide, results):
    run = results.tests[results.tests["status"] == "run"].sort_values("effect")
    header = wide.page.locator("#registry-table th", has_text="effect").first
    header.get_by_role("button").focus()
    for ends, said in (((0, -1), "ascending"), ((-1, 0), "descending")):
        wide.page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == said
        rows = shown_rows(wide.page)
        assert (rows[0], rows[len(run) - 1]) == tuple(run["test_id"].iloc[end] for end in ends)
    assert wide.page.locator("#registry-table th[aria-sort]").count() == 1


def test_two_clicks_from_figure_to_row_and_back(wide):
    wide.page.fill("#search", "nothing like this")
    wide.page.evaluate("location.hash = 'figure-degree_null'")
    figure = wide.page.locator("#figure-degree_null")
    figure.wait_for(state="visible")
    link = figure.locator("a[href^='#A16']").first
    row = f"[id='{link.text_content()}']"
    link.click()
    opened = wide.page.locator(f"{row} details[open]")
    opened.wait_for(state="visible")
    for said in ("settings hash", "seed", "resamples done / requested", "Settings used", "Published"):
        assert said in opened.inner_text()
    assert wide.page.evaluate("document.activeElement.closest('tr').id") == link.text_content()
    assert wide.page.input_value("#search") == ""
    wide.page.locator(f"{row} a[href='#figure-degree_null']").click()
    assert wide.page.evaluate("location.hash") == "#figure-degree_null"


def test_a_link_from_outside_opens_its_row(opened, report):
    page = opened(f"{report}#A16.1").page
    assert page.locator("[id='A16.1'] details[open]").is_visible()


def test_skip_link_comes_first_and_leads_to_the_content(opened, report):
    page = opened(report).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["report", "index"])
def test_no_sideways_scroll(opened, request, name, window, scheme):
    found = opened(request.getfixturevalue(name), viewport=window, color_scheme=scheme)
    assert found.sideways == 0
    found.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert found.sideways == 0
    assert found.errors == []
    back = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in back.strip("rgb()").split(",")) > 3 * 128
    assert bright == (scheme == "light")


@pytest.mark.parametrize("name", ["report", "index"])
def test_paper_shows_all_of_it_and_cuts_nothing(opened, request, name):
    found = opened(request.getfixturevalue(name), viewport=PAPER)
    page = found.page
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert found.sideways == 0
    cut = "all => all.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.getAttribute('aria-label'))"
    assert page.locator(".scroll, .drawing").evaluate_all(cut) == []
    if name == "report":
        assert page.locator("figure").evaluate_all(f"all => all.every({VISIBLE})")
        assert not page.locator("nav.contents").is_visible()
        assert not page.locator("#search").is_visible()
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator("details.print-open:not([open])").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "index"])
def test_accessibility_rules_hold(opened, request, axe, name, scheme):
    page = opened(request.getfixturevalue(name), viewport=WIDE, color_scheme=scheme).page
    page.evaluate("document.querySelectorAll('details:not(.row)').forEach(details => { details.open = true; })")
    page.evaluate(axe)
    # Rows of a table are alike, and letters of a picture are outlines: the first rows stand for all.
    page.evaluate("document.querySelectorAll('tbody tr:nth-child(n+9), svg g').forEach(one => one.remove())")
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    wrong = [(rule["id"], [node["html"][:160] for node in rule["nodes"][:3]]) for rule in found["violations"]]
    assert wrong == []
    assert len(found["passes"]) > 20


@pytest.mark.parametrize("name", [EVIL, LONG, TURNED], ids=["markup", "long", "right-to-left"])
def test_hostile_names_stay_text(opened, example, tmp_path, name):
    made = example.example_results(f"small-{name}", figures=())
    claim = {**made.claims[0], "sentence": name, "id": name, "tests": [name]}
    inputs = replace(
        made,
        tests=made.tests.assign(dataset=name, reason=name, unit=name),
        extended=made.extended.assign(reason=name, dataset=name),
        claims=[claim],
        statement={**made.statement, "may_say": name},
        tables={key: frame.assign(dataset=name) if "dataset" in frame else frame for key, frame in made.tables.items()},
        provenance={name: name},
    )
    file = tmp_path / "report.html"
    file.write_text(render(inputs), encoding="utf-8")
    found = opened(file.as_uri(), viewport=PHONE)
    assert found.errors == []
    assert found.requests == [file.as_uri()]
    assert found.page.title() != "taken"
    assert name in found.page.text_content("h1")
    assert found.page.text_content("#provenance dd") == name
    assert found.page.locator("img").count() == 0
    assert found.sideways == 0


def test_hostile_names_stay_text_in_the_index(opened, index):
    found = opened(index, viewport=PHONE)
    assert found.errors == []
    assert found.page.title() != "taken"
    assert found.page.locator("img").count() == 0
    assert EVIL in found.page.text_content("main")


def pixels(page, selector):
    with Image.open(BytesIO(page.locator(selector).screenshot())) as picture:
        return np.asarray(picture.convert("L"), dtype=float)


def test_pictures_look_as_they_were_drawn(opened, results, tmp_path):
    """A picture is made smaller for the page; nobody may see it."""
    for item in (drawn for drawn in results.figures if drawn.figure_id in {"degree_null", "causal_ablation"}):
        letters = Letters()
        small, whole = inline_svg(item.svg, item.figure_id, letters), inline_svg(item.svg, f"{item.figure_id}-whole")
        assert len(small) < 0.6 * len(whole)
        seen = []
        for name, text in (("small", letters.sheet() + f"<main>{small}</main>"), ("whole", f"<main>{whole}</main>")):
            (tmp_path / f"{name}.html").write_text(f"<!doctype html>{THEME}{text}", encoding="utf-8")
            seen.append(pixels(opened((tmp_path / f"{name}.html").as_uri(), viewport=WIDE).page, "main svg"))
        assert seen[0].shape == seen[1].shape
        assert seen[1].std() > 10
        assert (np.abs(seen[0] - seen[1]) > 64).mean() < 0.0001, item.figure_id


def test_everything_can_be_read_without_a_script(opened, report):
    found = opened(report, java_script_enabled=False)
    page = found.page
    assert page.locator("#registry-table tbody tr:visible").count() == 153
    assert not page.locator("#search").is_visible()
    page.locator("#registry-table summary").first.click()
    assert page.locator("#registry-table details[open]").first.is_visible()
