"""The report page: one verdict, every declared test, nothing active, nothing from outside."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest

from interp_assets.figures.records import Drawing
from interp_assets.report import page
from interp_assets.report.inline_svg import Letters, inline_svg
from interp_assets.report.page import TEMPLATES, render
from interp_assets.report.provenance_lines import provenance_lines
from qc_standards.published import compared
from qc_standards.registry import declared_tests

EVIL = "<script>alert(1)</script>"
CITE = {
    **dict.fromkeys(("study", "release_id", "claims_version", "claims_hash", "standards_hash"), "x"),
    **dict.fromkeys(("registry_hash", "results_hash", "data_origin"), "x"),
    "datasets": [EVIL],
    "seeds": 1,
}


INLINE = frozenset({"a", "code", "data", "em", "span", "strong"})


class Outline(HTMLParser):
    """Tags, attributes and texts of a page, in order; void elements aside, nesting must match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[tuple[str, str]] = []
        self.stack: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in INLINE:
            self.text.append(("", " "))
        if tag not in {"meta", "input", "br"}:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append((self.stack[-1] if self.stack else "", data))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def readable(self):
        return " ".join("".join(text for tag, text in self.text if tag not in {"script", "style"}).split())


@pytest.fixture(scope="module")
def html(results):
    return render(results)


@pytest.fixture(scope="module")
def outline(html):
    return Outline(html)


def test_same_inputs_same_bytes(results, html):
    assert render(results) == html
    assert len(html.encode()) < page.SIZE_LIMIT


def test_well_nested_with_unique_ids_and_working_anchors(outline):
    assert outline.stack == []
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"] for attrs in outline.all("a")}
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(ids)
    parts = {attrs.get("href") or attrs.get("xlink:href") for attrs in outline.all("use")}
    clips = {attrs["clip-path"][4:-1] for _, attrs in outline.tags if "clip-path" in attrs}
    assert len(parts) > 50
    assert {name.removeprefix("#") for name in parts | clips} <= set(ids)


def test_nothing_comes_from_outside(html, outline):
    names = {tag for tag, _ in outline.tags}
    assert not names & {"link", "img", "iframe", "object", "form"}
    for tag, attrs in outline.tags:
        for key in ("src", "href", "xlink:href"):
            # Links to the files beside the page open them; nothing of them is loaded into it.
            beside = (
                key == "href" and tag == "a" and attrs.get(key, "").startswith(("tables/", "figures/", "supplement/"))
            )
            assert beside or attrs.get(key, "#").startswith("#"), (tag, attrs)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_policy_allows_exactly_the_shipped_script(html, outline):
    (policy,) = [a["content"] for a in outline.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not [attrs for _, attrs in outline.tags if any(key.startswith("on") for key in attrs)]


def test_policy_allows_both_scripts_where_there_is_an_explorer(results, example_explorer):
    html = render(replace(results, tables={**results.tables, **example_explorer.example_explorer()}))
    run = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert len(run) == 2
    assert "script-src '{}' '{}';".format(*(f"sha256-{digest}" for digest in digests)) in html
    assert html.count("<script") == 3  # the data of the explorer is no script
    assert '<a href="#explorer">' in html


def test_verdict_origin_and_smallness_are_said(outline, results):
    text = outline.readable()
    assert results.verdict["headline"]["label"] in text
    assert "Data origin: semi-synthetic outcomes on real cells." in text
    assert "cannot clear a real model" in text
    assert "Small model" in text
    assert "Provisional: too few seeds" in text
    assert "trained on cells that it is evaluated on" in text
    for name in "abcd":
        assert results.verdict["criteria"][name]["title"] in text
        assert results.verdict["criteria"][name]["reason"] in text
    for control in results.tables["control_outcomes"]["control"]:
        assert control in text
    ids = {attrs.get("id") for attrs in outline.all("article")}
    assert {name for name in ids if name.startswith("criterion-")} == {f"criterion-{name}" for name in "abcd"}


def test_every_declared_test_has_a_row_with_its_reason(outline, results):
    rows = {attrs["id"]: attrs for attrs in outline.all("tr") if "data-status" in attrs}
    assert set(rows) == {spec.test_id for spec in results.registry}
    assert sum(row["data-status"] == "run" for row in rows.values()) == (results.tests["status"] == "run").sum()
    assert outline.readable().count("analysis not built") >= (results.tests["status"] == "skipped").sum()


def test_published_values_stand_apart(html):
    blocks = re.findall(r'<div class="published">.*?</div>', html, flags=re.DOTALL)
    assert len(blocks) == 153
    assert "+.186" in "".join(blocks)
    outside = html
    for block in blocks:
        outside = outside.replace(block, "")
    assert "+.186" not in outside
    assert "&lt;1e-24" not in outside


def test_what_may_be_said_stands_beside_the_verdict(html, results):
    card = re.search(r'<div class="card said" id="statement">.*?\n</div>', html, flags=re.DOTALL).group()
    text = Outline(card).readable()
    said = results.statement
    assert said["may_say"] in text
    assert "a run of the assay, which says nothing about biology" in text
    assert text.index("What may be said") < text.index("What must not be said, and why")
    for item in said["must_not_say"]:
        assert f"\u201c{item['sentence']}\u201d" in text
        assert f"because {item['because']}" in text
    assert f"{len(said['must_not_say']) - 2} more that must not be said" in text
    assert said["cite"]["claims_hash"][:12] in text
    assert html.index('id="statement"') < html.index("Four criteria, all required")
    assert 'id="statement"' not in render(replace(results, statement={}))


DATA = "example-screen: semi-synthetic outcomes on real cells"


def test_extended_rows_stand_apart_from_the_declared_tests(html, results):
    section = re.search(r'<section id="extended".*?</section>', html, flags=re.DOTALL).group()
    outline = Outline(section)
    text = outline.readable()
    assert "outside the 153 declared tests" in text
    assert [attrs["id"] for attrs in outline.all("tr") if "id" in attrs] == ["E1.1", "E1.2", "E1.3", "E7.1", "E7.2"]
    for caption in (
        "Local family: depth correlations; 2 of 2 declared rows were run",
        "Local family: partial correlations; 0 of 1 declared rows were run",
        "Local family: noise ceiling; 0 of 2 declared rows were run",
    ):
        assert caption in text
    rows = {m[0]: m[1] for m in re.findall(r'<tr id="(E\d\.\d)"[^>]*>(.*?)</tr>', section, flags=re.DOTALL)}
    run = Outline(rows["E1.1"]).readable()
    for shown in ("-0.547", "-0.800 to -0.200", "18", "0.004", "0.008", "yes", "effect rho = -0.608; q 0.011", DATA):
        assert shown in run.replace("\u2212", "-"), shown
    assert "no reference set" in rows["E1.3"]
    assert "no result was emitted for this declared test" in rows["E7.2"]
    assert "none: a row of this platform" in rows["E7.1"]
    for name in ("E1.2", "E1.3"):  # no p, so what the family makes of it is no result of the row
        assert "1.00" not in rows[name]
        assert "<td>no</td>" not in rows[name]
    assert "E1.1" not in html.replace(section, "")


def test_no_extended_file_no_section(results):
    html = render(replace(results, extended=None))
    assert 'id="extended"' not in html
    assert 'href="#extended"' not in html


def test_a_stray_extended_row_is_refused(results):
    stray = results.extended.assign(test_id=["E1.1", "E1.2", "E1.3", "E8.1"])
    with pytest.raises(ValueError, match=r"extended tests: .* not declared \['E8.1'\]"):
        render(replace(results, extended=stray))
    twice = results.extended.assign(test_id=["E1.1", "E1.1", "E1.3", "E7.1"])
    with pytest.raises(ValueError, match=r"emitted twice \['E1.1'\]"):
        render(replace(results, extended=twice))


def test_tables_and_headings_serve_screen_readers(outline):
    assert all("scope" in attrs for attrs in outline.all("th"))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-4]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    labels = {attrs["for"] for attrs in outline.all("label")}
    controls = [a for tag, a in outline.tags if tag in {"input", "select"}]
    assert {attrs["id"] for attrs in controls} == labels
    assert outline.all("output")[0]["aria-live"] == "polite"
    assert outline.all("a")[0]["href"] == "#main"
    assert all(attrs.get("tabindex") == "0" for _, attrs in outline.tags if attrs.get("role") == "region")
    assert outline.all("html")[0]["lang"] == "en"


def test_table_is_there_without_script(html, outline):
    assert not [attrs for attrs in outline.all("tr") if "hidden" in attrs]
    assert 'class="tools needs-script"' in html


def test_figures_are_inline_with_theme_colours(html, results):
    drawn = [item for item in results.figures if isinstance(item, Drawing)]
    pictures = re.findall(r'<svg[^>]* role="img"', html)
    assert len(pictures) == len(drawn) - 1  # the criteria stand on the page as cards
    assert "var(--fig-ink)" in html
    assert "CLAIM CLOSED" not in html  # on the face as paths
    assert html.count("The claim is closed (refuted (semi-synthetic)).") >= len(drawn) - 1


def test_letters_are_kept_once_and_looks_said_once():
    letter = '<path id="f1-a" d="M 1.234567 2 \nL 3 4 \nz" transform="scale(0.015625)"/>'
    use = '<use xlink:href="#f1-a"'
    text = f'{use}/>{use} x="61.28"/>{use} transform="translate(9.6 0)"/>'
    marks = "".join(f'<use xlink:href="#f1-m" x="{x}.125" y="2" style="fill: #123; stroke: #456"/>' for x in (1, 2))
    svg = f'<svg><defs>{letter}</defs><g id="no">{text}</g><path id="f1-m" d="M 0 0"/><g>{marks}</g></svg>'
    letters = Letters()
    small = inline_svg(svg.encode(), "odd", letters)
    assert small == (
        '<svg><g><use href="#t0"/></g><path id="f1-m" d="M0 0"/>'
        '<g class="k0"><use href="#f1-m" x="1.12" y="2"/><use href="#f1-m" x="2.12" y="2"/></g></svg>'
    )
    for part in (
        '<path id="l0" d="M1.23 2L3 4z" transform="scale(0.015625)"/>',
        '<g id="t0"><use href="#l0"/><use href="#l0" x="61"/><use href="#l0" x="10"/></g>',
        "<style>.k0{fill:#123;stroke:#456}</style>",
    ):
        assert part in letters.sheet()
    assert inline_svg(svg.encode(), "other", letters) == small
    assert letters.sheet().count("<path") == 1


def test_hostile_names_stay_text(example):
    hostile = example.example_results(f"small-{EVIL}", figures=("layer_profile",))
    tests = hostile.tests.assign(dataset=EVIL, reason=EVIL)
    claims = [{**hostile.claims[0], "sentence": EVIL, "id": EVIL, "tests": [EVIL]}]
    refused = [{"claim": EVIL, "sentence": EVIL, "because": EVIL}] * 4
    said = {**hostile.statement, "may_say": EVIL, "must_not_say": refused, "cite": {**CITE, "release": EVIL}}
    standards = [{**hostile.standards[0], "reason": EVIL, "id": EVIL}]
    inputs = replace(hostile, tests=tests, claims=claims, standards=standards, provenance={EVIL: EVIL})
    inputs = replace(inputs, statement=said, extended=hostile.extended.assign(reason=EVIL, unit=EVIL))
    html = render(inputs)
    assert html.count("<script") == 1
    assert Outline(html).stack == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize(
    "svg",
    [
        b"<svg><script>alert(1)</script></svg>",
        b'<svg onload="x()"><g/></svg>',
        b'<svg><image href="https://example.org/a.png"/></svg>',
        b"<svg><foreignObject/></svg>",
        b'<svg><a href="javascript:x()"/></svg>',
    ],
)
def test_active_pictures_are_refused(svg):
    with pytest.raises(ValueError, match="not a plain picture"):
        inline_svg(svg, "odd")


def test_nothing_judged_is_said_not_hidden(results):
    bare = replace(results, verdict={}, claims=[], standards=[], tables={}, figures=[], provenance={})
    text = Outline(render(bare)).readable()
    for words in (
        "not evaluable",
        "No criterion was judged; the claim stays closed.",
        "No control outcome is recorded",
        "No standard was evaluated",
        "Data origin: data origin not stated.",
        "No provenance was recorded.",
    ):
        assert words in text


def test_missing_row_and_undeclared_row(results):
    gone = replace(results, tests=results.tests.iloc[1:])
    assert "no result was emitted for this declared test" in render(gone)
    stray = pd.DataFrame([{"test_id": "A99.9", "status": "run"}])
    with pytest.raises(ValueError, match=r"not declared \['A99.9'\]"):
        render(replace(results, tests=pd.concat([results.tests, stray])))
    with pytest.raises(ValueError, match="emitted twice"):
        render(replace(results, tests=pd.concat([results.tests, results.tests.iloc[:1]])))


def test_a_page_that_grows_too_large_names_its_largest_pictures(results, monkeypatch):
    whole = len(render(results).encode())
    drawn = sorted((item for item in results.figures if isinstance(item, Drawing)), key=lambda item: len(item.svg))
    monkeypatch.setattr(page, "SIZE_LIMIT", whole)
    lighter = render(results)
    assert len(lighter.encode()) < whole
    assert f"it lies in figures/{drawn[-1].figure_id}.svg" in lighter
    assert page.LEFT_OUT not in lighter.replace(f"{page.LEFT_OUT}; it lies in figures/", "")


def test_the_explorer_is_left_out_before_a_release_goes_without_a_page(results):
    extra = {name: pd.DataFrame([{"reason": "no model"}]) for name in ("explorer_facts", "explorer_targets")}
    *_, last = page._lighter(replace(results, tables={**results.tables, **extra}))
    assert set(last.tables) == {*results.tables, "explorer_facts"}
    assert not any(isinstance(item, Drawing) for item in last.figures)
    assert "they lie in results/explorer" in render(last)


def test_page_above_the_limit_is_refused(results, monkeypatch):
    monkeypatch.setattr(page, "SIZE_LIMIT", 1000)
    with pytest.raises(ValueError, match="above 1000"):
        render(results)


def test_ro_crate_is_read_as_lines():
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "run",
        "hasPart": [{"@id": "tests.parquet"}],
        "about": {"@id": "x"},
    }
    file = {"@id": "tests.parquet", "@type": "File", "contentSize": 12, "sha256": "ab"}
    crate = {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [root, file]}
    assert provenance_lines(crate) == [("run · about", "x"), ("tests.parquet", "sha256 ab")]


def test_declared_battery_fits_the_page(results):
    declared = declared_tests()
    rows = [{"test_id": spec.test_id, "status": "skipped", "reason": "analysis not built"} for spec in declared]
    html = render(replace(results, registry=declared, tests=pd.DataFrame(rows)))
    ids = [attrs["id"] for attrs in Outline(html).all("tr") if "data-status" in attrs]
    assert ids == [spec.test_id for spec in declared]
    assert "Published (printed in the paper)" in html


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_meets_aa_in_both_themes(theme):
    css = (TEMPLATES / "page.css").read_text()
    start = css.index(":root", css.index("prefers-color-scheme: dark")) if theme == "dark" else css.index(":root")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", css[start : css.index("}", start)]))
    pairs = [(front, back) for front in ("ink", "muted", "accent") for back in ("paper", "card")]
    pairs += [("ink", "none-bg"), ("muted", "none-bg"), ("ink", "wait-bg"), ("muted", "wait-bg")]
    pairs += [(tone, f"{tone}-bg") for tone in ("good", "bad", "wait", "none")]
    pairs += [(tone, "card") for tone in ("good", "bad", "wait", "none")]
    pairs += [(front, "fig-paper") for front in ("fig-ink", "fig-muted", "fig-alarm")]
    weak = {pair: round(_contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


def test_verdict_card_says_small_semi_synthetic_and_why(html):
    card = html[html.index('<div class="card verdict') : html.index('<div class="card said"')]
    for words in (
        "refuted (semi-synthetic)",
        "small model",
        "semi-synthetic outcomes on real cells",
        "Criteria a, b and c fail; criterion d is not evaluable.",
    ):
        assert words in card
    assert "criterion a fail" not in card  # its numbers stand on the criterion's own card


def test_a_published_context_shows_bounds_beside_the_computed_effect(results):
    row = results.tests[(results.tests["status"] == "run") & (results.tests["test_id"] == "A21.1")]
    assert len(row) == 1
    held = compared(results.tests)
    shown = render(replace(results, tables={**results.tables, "published_comparison": held}))
    assert "computed effect within the bounds" in shown
    bounds = held.set_index("test_id").loc["A21.1"]
    assert f"{bounds['low']:.3f}" in shown
    assert "computed effect within the bounds" not in render(results)
