"""Words and number formats shared by figures, report and terminal, so that one thing has one name."""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"

SCORE_LABELS = {
    "attention": "Attention",
    "correlation": "Correlation (|Spearman|)",
    "variance": "Target variance",
    "mean": "Target mean expression",
    "one_minus_dropout": "Target 1 - dropout",
    "tf_out_degree": "TF out-degree",
    "de_rate": "Target DE rate elsewhere",  # how often the gene answers to other perturbations
    "rank_distance": "Rank distance",
    "co_detection": "Co-detection",
}
SPLIT_LABELS = {
    "perturbation": "Held-out perturbations",
    "target_gene": "Held-out target genes",
    "joint": "Both held out (joint)",
}
LEARNER_LABELS = {"logistic": "logistic", "boosting": "boosting", "ols": "OLS"}
METRIC_LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "r_precision": "R-precision",
    "recall_10": "Recall at 10",
    "recall_50": "Recall at 50",
    "recall_100": "Recall at 100",
}
SUBSET_LABELS = {
    "all": "all candidate genes",
    "informative": "informative genes only",
    "expression_matched": "negatives of like mean expression only",
}
LEVEL_LABELS = {"gene_level": "gene-level", "pairwise": "pairwise", "attention": "attention"}
ENTRY_LABELS = {
    "all": "all entries",
    "direction_known": "direction known",
    "size_matched": "random, same size",
}
STRATUM_LABELS = {"tf": "TF", "non_tf": "other genes"}
COVARIATE_LABELS = {
    "mean": "Target mean expression",
    "variance": "Target variance",
    "dropout": "Target dropout",
    "tgt_n_affected": "Perturbations that change the target",
}
MODALITY_LABELS = {"crispri": "CRISPRi", "crispra": "CRISPRa", "crisprko": "CRISPR-KO"}
AGREES_LABELS = {"yes": "as expected", "no": "against expectation", "undecided": "no clear change"}
NULL_LABELS = {"label_shuffle": "Label shuffle", "curveball": "Degree-preserving (curveball)"}
STAGE_LABELS = {
    "listed": "Listed in the data set",
    "measured": "Measured in the cells",
    "in_vocabulary": "In the model's vocabulary",
    "scorable": "Scorable",
}
READ_OUT_LABELS = {
    "attention": "published read-out",  # attention of the layer that all analyses read
    "last_attention": "last-layer attention",
    "logits": "output logits",
}
ROLE_LABELS = {
    "primary_screen": "primary screen",
    "second_screen": "second screen",
    "other_line_screen": "other cell line",
    "small_screens[1]": "first small screen",
    "small_screens[2]": "second small screen",
    "layer_selection": "layer selection",
}
ORIGIN_LABELS = {
    "real": "real outcomes on real cells",
    "archived": "archived outcomes",
    "semi_synthetic": "semi-synthetic outcomes on real cells",
    "simulated": "simulated data",
}


def is_missing(value: Any) -> bool:
    """Whether a table cell holds nothing: None, NaN, NaT or the missing value of pandas."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return type(value).__name__ in {"NAType", "NaTType"}


def holds(value: Any) -> bool:
    """Whether a table cell states yes: a missing one does not.

    >>> holds(True), holds(float("nan")), holds("")
    (True, False, False)
    """
    return not is_missing(value) and bool(value)


def label(labels: dict[str, str], key: Any) -> str:
    """Display name of a table value; an unknown one reads as itself, never as nothing."""
    if is_missing(key) or str(key) == "":
        return MISSING
    return labels.get(str(key), str(key).replace("_", " "))


def edge_name(edge: Any) -> str:
    """Short name of an edge score, without the statistic behind it.

    >>> edge_name("correlation")
    'Correlation'
    """
    return label(SCORE_LABELS, edge).split(" (")[0]


def capital(text: str) -> str:
    """Text with a capital first letter and the rest as it is.

    >>> capital("genes without DE")
    'Genes without DE'
    """
    return text[:1].upper() + text[1:]


def short(text: Any, width: int) -> str:
    """Name on one line of at most ``width`` characters; a longer one is cut and says so.

    >>> short("a_very_long_screen_name", 10)
    'a_very_lo…'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def share(part: Any, digits: int = 0) -> str:
    """Share in percent; one that is not quite nothing or not quite all is never rounded to it.

    >>> share(0.9996), share(0.0001), share(0.5)
    ('>99%', '<1%', '50%')
    """
    if is_missing(part):
        return MISSING
    edge = 0.5 * 10.0 ** -(digits + 2)
    if 0 < part < edge:
        return f"<{10.0**-digits:.{digits}f}%"
    return f">{100 - 10.0**-digits:.{digits}f}%" if 1 - edge <= part < 1 else f"{part:.{digits}%}"


def span(values: Any) -> str:
    """Smallest and largest whole number of a column as "3 to 9"; one number where they are equal."""
    whole = sorted(int(value) for value in values if not is_missing(value))
    if not whole:
        return MISSING
    return count(whole[0]) if whole[0] == whole[-1] else f"{count(whole[0])} to {count(whole[-1])}"


def origin_label(origin: Any) -> str:
    """Plain words for a data origin; an unstated origin is said to be unstated."""
    if is_missing(origin) or str(origin) == "":
        return "data origin not stated"
    return ORIGIN_LABELS.get(str(origin), str(origin))


def is_small(release: str) -> bool:
    """Whether a release is one of the shipped small models, read from its name."""
    return "-small-" in release


def release_label(release: str) -> str:
    """Release name, with "small model" behind it where it is one."""
    return f"{release} (small model)" if is_small(release) else release


def number(value: Any, digits: int = 3) -> str:
    """Number for reading: fixed decimals in the usual range, scientific outside, a dash when missing.

    >>> number(0.70412), number(None), number(1240), number(2e-9)
    ('0.704', '–', '1,240', '2.0e-09')
    """
    if is_missing(value):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    real = float(value)
    if math.isinf(real):
        return "∞" if real > 0 else "-∞"
    if real == int(real) and not isinstance(value, float):
        return f"{int(real):,}"
    if real != 0 and abs(real) < 10.0 ** (-digits) / 2:
        return f"{real:.1e}"
    if abs(real) >= 1e5:
        return f"{real:.2e}"
    return f"{real:,.{digits}f}"


def signed(value: Any, digits: int = 3) -> str:
    """Number with its sign, for differences."""
    text = number(value, digits)
    return text if text == MISSING or text.startswith("-") else f"+{text}"


def p_value(value: Any) -> str:
    """Probability for reading: three decimals, scientific below .001, a dash when missing."""
    if is_missing(value):
        return MISSING
    real = float(value)
    return f"{real:.3f}" if real >= 0.001 else ("0" if real == 0 else f"{real:.1e}")


def stars(p: Any) -> str:
    """Marks of a probability: one below .05, two below .01, three below .001; none when missing.

    >>> stars(0.2), stars(0.03), stars(0.0002), stars(None)
    ('', '*', '***', '')
    """
    return "" if is_missing(p) else "*" * sum(float(p) < level for level in (0.05, 0.01, 0.001))


def parts_changed(size: Any, family: Any) -> str:
    """How many heads, or feed-forward layers, an intervention changes.

    >>> parts_changed(1, "top"), parts_changed(3, "mlp")
    ('1 head', '3 layers')
    """
    part = "layer" if family == "mlp" else "head"
    return f"{count(size)} {part}{'' if size == 1 else 's'}"


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """Interval as "low to high"; a dash when either end is missing."""
    if is_missing(low) or is_missing(high):
        return MISSING
    return f"{number(low, digits)} to {number(high, digits)}"


def count(value: Any) -> str:
    """Whole number with thousands separators; a dash when missing."""
    return MISSING if is_missing(value) else f"{int(value):,}"


def listing(items: list[str]) -> str:
    """Items as prose: "a, b and c".

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def plain(words: str) -> str:
    r"""Words of a Markdown page on one line that cannot open a cell, a tag or a link.

    >>> print(plain("a\nb | [x](javascript:y)"))
    a b \| [x]\(javascript:y)
    """
    told = " ".join(words.split()).replace("\\", "\\\\").replace("|", "\\|")
    return told.replace("<", "&lt;").replace("](", "]\\(")
