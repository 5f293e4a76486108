"""The page in a real browser: the script runs under the page's policy, filter and sort do what they say."""

import re
import subprocess

from interp_assets.report import page

DRIVER = """
(function () {
  const seen = [];
  const search = document.getElementById("search");
  const status = document.getElementById("status");
  const count = () => document.getElementById("shown").textContent;
  const type = (text) => { search.value = text; search.dispatchEvent(new Event("input")); };
  const pick = (text) => { status.value = text; status.dispatchEvent(new Event("change")); };
  const first = () => document.querySelector("#registry-table tbody tr:not([hidden])").id;
  type("degree-preserving"); seen.push(count());
  type(""); pick("skipped"); seen.push(count());
  pick(""); seen.push(count());
  const header = Array.from(document.querySelectorAll("#registry-table th")).find((th) => th.textContent === "effect");
  header.querySelector("button").click(); seen.push(header.getAttribute("aria-sort"), first());
  header.querySelector("button").click(); seen.push(header.getAttribute("aria-sort"), first());
  document.body.dataset.seen = seen.join("|");
})();
"""


def test_filter_and_sort_in_the_browser(chromium, results, monkeypatch, tmp_path):
    original = page.script

    def driven(name):
        text, _ = original(name)
        (tmp_path / "driven.js").write_text(text + DRIVER, encoding="utf-8")
        monkeypatch.setattr(page, "TEMPLATES", tmp_path)
        try:
            return original("driven.js")
        finally:
            monkeypatch.undo()

    monkeypatch.setattr(page, "script", driven)
    file = tmp_path / "report.html"
    file.write_text(page.render(results), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([chromium, *flags, file.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    (seen,) = re.findall(r'data-seen="([^"]*)"', done.stdout)
    tests = results.tests
    run = tests[tests["status"] == "run"].sort_values("effect")
    hits = sum("degree-preserving" in f"{spec.analysis} {spec.hypothesis}".lower() for spec in results.registry)
    skipped = int((tests["status"] == "skipped").sum())
    assert seen.split("|") == [
        f"{hits} of 153 tests shown",
        f"{skipped} of 153 tests shown",
        "153 of 153 tests shown",
        "ascending",
        run["test_id"].iloc[0],
        "descending",
        run["test_id"].iloc[-1],
    ]
