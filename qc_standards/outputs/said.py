"""A statement for people: what may be said, what must not and why, what to cite; on the terminal and in markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qc_standards.sentences import markdown_code, markdown_text, plain
from qc_standards.statement_data import cite_lines
from qc_standards.statement_refusals import Refusal
from qc_standards.statements import Statement

_BRIEF: Final = 1  # sentences that must not be said where a whole check is told beside them
_ALL_OF_IT: Final = "qc-gate say"


def _chosen(said: Statement, brief: bool) -> tuple[Sequence[Refusal], int]:
    """Refusals to show and the number left out."""
    shown = said.must_not_say[:_BRIEF] if brief else said.must_not_say
    return shown, len(said.must_not_say) - len(shown)


def terminal_lines(said: Statement, *, brief: bool = False) -> list[str]:
    """Lines of a terminal; ``brief`` shows the strongest sentence that must not be said and counts the others."""
    shown, more = _chosen(said, brief)
    lines = ["MAY BE SAID", f"  {said.text}", "", "MUST NOT BE SAID"]
    for item in shown:
        lines += [f'  "{item.sentence.text}"', f"    because {item.because.text}"]
    if more:
        lines.append(f"  and {more} more: {_ALL_OF_IT}")
    cited = "; ".join(f"{name} {plain(value)}" for name, value in cite_lines(said.cite))
    return [*lines, "", "CITE", f"  {cited}"]


def markdown_lines(said: Statement, *, brief: bool = False) -> list[str]:
    """Lines of markdown: names as code spans, quoted reasons escaped, so that neither is ever read as markup."""
    shown, more = _chosen(said, brief)
    lines = ["### What may be said", "", " ".join(sentence.markdown for sentence in said.may_say), ""]
    lines += ["### What must not be said", ""]
    lines += [f"- \u201c{item.sentence.markdown}\u201d, because {item.because.markdown}" for item in shown]
    lines += [f"- and {more} more: `{_ALL_OF_IT}`"] if more else []
    cited = "; ".join(f"{markdown_text(name)} {markdown_code(value)}" for name, value in cite_lines(said.cite))
    return [*lines, "", f"Cite: {cited}", ""]
