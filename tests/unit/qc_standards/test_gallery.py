"""The gallery is the page of the standards as they are, to the byte."""

import os
import re
import subprocess
import sys

import pytest

from qc_standards.gallery import GALLERY_COMMAND, failing_message, gallery, main
from qc_standards.standards import STANDARDS_FOLDER, shipped_standards

PAGE = STANDARDS_FOLDER.parents[1] / "docs" / "standards.md"
STANDARDS = shipped_standards()


@pytest.fixture(scope="module")
def page():
    return gallery()


def test_the_committed_page_is_the_one_of_these_standards(page):
    assert PAGE.read_text(encoding="utf-8") == page, f"standards have changed; run `{GALLERY_COMMAND}`"


def test_another_process_with_another_hash_seed_writes_the_same_bytes():
    command = [sys.executable, "-m", "qc_standards.gallery", str(PAGE), "--check"]
    surroundings = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings, cwd=PAGE.parents[1])
    assert done.returncode == 0, done.stderr


def test_every_standard_has_its_section_and_its_link(page):
    headings = re.findall(r"^## (.+)$", page, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert [heading.split()[0] for heading in headings] == list(STANDARDS)
    assert len(links) == len(STANDARDS)
    assert set(links) == slugs


@pytest.mark.parametrize("name", list(STANDARDS))
def test_a_section_shows_both_examples_and_what_the_failing_one_is_told(page, name):
    section = page.split(f"\n## {name} ")[1].split("\n## QCS-")[0]
    standard = STANDARDS[name]
    for part in ("**Passes.**", "**Fails**", "**Columns**", "**Evidence.**", "**Changelog.**", standard.how_to_fix):
        assert part in section
    message = failing_message(standard)
    assert standard.how_to_fix not in message
    for failed in standard.examples["failing"].fails:
        assert f"*{failed}*" in section
        assert f"{failed} (" in message
    assert f"> {message}".replace("|", "\\|") in section


def test_tables_are_whole(page):
    for block in re.findall(r"(?:^\|.*\|\n)+", page, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_the_command_writes_and_compares(tmp_path, page, capsys):
    target = tmp_path / "standards.md"
    assert main([str(target), "--check"]) == 1
    assert GALLERY_COMMAND in capsys.readouterr().err
    assert main([str(target)]) == 0
    assert target.read_text(encoding="utf-8") == page
    assert main([str(target), "--check"]) == 0
    target.write_text(page + "\n", encoding="utf-8")
    assert main([str(target), "--check"]) == 1
