"""Standards in words: every expectation is a sentence with its threshold, and nothing heavy is imported for it."""

import subprocess
import sys

import pytest

from qc_standards.standards import Condition, ExpectationSpec, required_columns, shipped_standards
from qc_standards.wording import consequence, demands, expectation_words, reading, standard_text

STANDARDS = shipped_standards()
BETWEEN = "expect_column_values_to_be_between"


def spec(kind, where=(), **arguments):
    return ExpectationSpec(id="x", type=kind, arguments=arguments, where=where)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec("expect_rows_as_declared", min_value=6, max_value=6), "the table has exactly 6 rows"),
        (spec("expect_rows_as_declared", min_value=1, max_value=None), "the table has at least 1 row"),
        (spec(BETWEEN, column="n", min_value=0, max_value=0), "`n` is 0"),
        (spec(BETWEEN, column="n", min_value=0, max_value=1.0e-9), "`n` lies between 0 and 1e-09"),
        (spec(BETWEEN, column="n", min_value=20), "`n` is at least 20"),
        (spec(BETWEEN, column="n", max_value=0.05), "`n` is at most 0.05"),
        (spec(BETWEEN, column="n", min_value=0, strict_min=True), "`n` is above 0"),
        (
            spec(BETWEEN, column="n", min_value=0, max_value=0.1, strict_max=True),
            "`n` is at least 0 and below 0.1",
        ),
        (
            spec(BETWEEN, column="n", min_value=0, max_value=0, mostly=0.9),
            "`n` is 0 in at least 90% of the rows",
        ),
        (spec("expect_column_values_to_be_in_set", column="ok", value_set=[True]), "`ok` is true"),
        (spec("expect_column_values_to_be_in_set", column="k", value_set=["a", "b", "c"]), "`k` is a, b or c"),
        (spec("expect_column_values_to_match_regex", column="r", regex=r"\S"), "`r` is not blank"),
        (spec("expect_done_as_requested", column_A="a", column_B="b"), "`a` equals `b`"),
        (
            spec("expect_column_pair_values_a_to_be_greater_than_b", column_A="a", column_B="b", or_equal=True),
            "`a` is at least `b`",
        ),
        (
            spec("expect_estimate_inside_interval", low="l", high="h", estimate="e", slack=0.005, min_share=0.5),
            "`e` lies between `l` and `h`, give or take 0.005 in at least 50% of the rows",
        ),
        (
            spec("expect_share_in_every_group_at_most", groups=["g"], column="c", value=True, max_share=0.25),
            "in every group of `g` at most 25% of the rows have `c` true",
        ),
        (spec("expect_column_max_to_be_between", column="n"), "expect_column_max_to_be_between: column n"),
        (
            spec(BETWEEN, (Condition(column="p", operator="above", values=(0.05,)),), column="n", min_value=1),
            "where `p` is above 0.05: `n` is at least 1",
        ),
        (
            spec(BETWEEN, (Condition(column="s", operator="is", values=("a", "b")),), column="n", min_value=1),
            "where `s` is a or b: `n` is at least 1",
        ),
    ],
)
def test_an_expectation_is_a_sentence_with_its_threshold(given, words):
    assert expectation_words(given) == words


@pytest.mark.parametrize("name", list(STANDARDS))
def test_no_shipped_standard_is_told_in_names_of_classes(name):
    told = demands(STANDARDS[name])
    assert not [words for _, words in told if "expect_" in words]
    assert {item.id for item in STANDARDS[name].expectations} <= {item for item, _ in told}


@pytest.mark.parametrize("name", list(STANDARDS))
def test_a_standard_is_told_whole(name):
    standard = STANDARDS[name]
    text = standard_text(standard)
    parts = [standard.title, standard.version, standard.rationale, standard.how_to_fix, standard.kind]
    parts += [entry["finding"] for entry in standard.evidence] + [entry["change"] for entry in standard.changelog]
    parts += [*required_columns(standard), *standard.columns.values()]
    assert not [part for part in parts if part not in text]


def test_the_consequence_follows_kind_severity_and_the_claims():
    assert "no claim about the release is evaluable" in consequence(STANDARDS["QCS-01"])
    assert "closes attention_is_regulatory" in consequence(STANDARDS["QCS-05"])
    assert "closes no claim" in consequence(STANDARDS["QCS-16"])


def test_what_is_read_names_rows_conditions_and_the_tests_behind():
    assert "rows where `role` is primary_screen" in reading(STANDARDS["QCS-05"])
    assert "`layer_selected` is true" in reading(STANDARDS["QCS-17"])
    assert "test A23.1 says why" in reading(STANDARDS["QCS-17"])


def test_telling_a_standard_stays_light():
    code = (
        "import sys\nfrom qc_standards.standards import shipped_standards\n"
        "from qc_standards.wording import standard_text\n"
        "for item in shipped_standards().values():\n    standard_text(item)\n"
        "heavy = {'great_expectations', 'pandas', 'numpy', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
