"""A sentence with its evidence level: words of our own, names of others, and the wording rule that holds for it.

What belongs here: the record, how it is written out, and the refusal of words above the level. What does not: what is
said about anything (`qc_standards.statements`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from qc_standards.claims import ClaimsError, EvidenceLevel, words_above

_FIELD: Final = re.compile(r"\{\w+\}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# What makes emphasis, code, links, HTML, entities, table cells or bare addresses; an underscore within a word does not.
_MARKDOWN: Final = re.compile(r"([\\`*\[<|~]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])|:(?=//)|(?<=www)\.)", re.IGNORECASE)


class WordingError(ClaimsError):
    """A sentence says more than its evidence level allows."""


def plain(text: str) -> str:
    r"""Text on one line: control characters, line breaks and marks that turn the writing direction become a space.

    Examples
    --------
    >>> plain("my\n\x1b[31mmodel")
    'my [31mmodel'
    """
    return " ".join(_CONTROL.sub(" ", text).split())


def markdown_text(text: str) -> str:
    r"""Text that reads as itself in markdown.

    Examples
    --------
    >>> markdown_text("a_b _c_ <i>")
    'a_b \\_c\\_ \\<i>'
    """
    return _MARKDOWN.sub(r"\\\1", plain(text))


def markdown_code(name: str) -> str:
    """Name as a code span, in which markdown, HTML, links and mentions are text.

    Examples
    --------
    >>> markdown_code("@team"), markdown_code("a`b")
    ('`@team`', '``a`b``')
    """
    text = plain(name) or "(no name)"
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Words with ``{fields}`` for names (of releases, data, controls) and quotes (reasons that the gate gave).

    Only the words are held to the level: a dataset may be called *perturbation screen* in a sentence on decoding.
    """

    template: str
    level: EvidenceLevel
    names: Mapping[str, str] = field(default_factory=dict)
    quotes: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The sentence without names and quotes."""
        return _FIELD.sub("X", self.template)

    @property
    def text(self) -> str:
        """The sentence on one line."""
        return self.written(plain, plain)

    @property
    def markdown(self) -> str:
        """The sentence as markdown, names as code spans."""
        return self.written(markdown_code, markdown_text)

    def written(self, name: Callable[[str], str], quote: Callable[[str], str]) -> str:
        """The sentence with its fields filled in; a value is never read as a template."""
        values = {key: name(value) for key, value in self.names.items()}
        values |= {key: quote(value) for key, value in self.quotes.items()}
        return _FIELD.sub(lambda found: values[found.group()[1:-1]], self.template)


def joined(parts: list[Sentence], between: str, level: EvidenceLevel) -> Sentence:
    """One sentence of several; equal fields must have equal values, which they have where one evaluation fills them."""
    names = {key: value for part in parts for key, value in part.names.items()}
    quotes = {key: value for part in parts for key, value in part.quotes.items()}
    return Sentence(template=between.join(part.template for part in parts), level=level, names=names, quotes=quotes)


def check_wording(sentence: Sentence) -> Sentence:
    """Return the sentence unchanged if its words stay within its level.

    Raises
    ------
    WordingError
        Naming the words above the level, by the rule that `qc-gate check --claims` holds ``wording`` to.
    """
    above = words_above(sentence.words, sentence.level)
    if above:
        said = ", ".join(f"{word} (needs {needed})" for word, needed in above)
        raise WordingError(f"{sentence.text!r} says more than level {sentence.level} allows: {said}")
    return sentence
