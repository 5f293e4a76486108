"""What the columns of the platform's tables mean: one line each, once for every table that has them.

What belongs here: names, kinds and words of columns. What does not: values, and which columns a table must have (its
own room says that). A name means the same in every table; where it does not, the table's own words come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Column(NamedTuple):
    """Kind of a column's values (``text``, ``number``, ``integer``, ``truth``) and what they say, in one line."""

    kind: str
    words: str


def _columns(kind: str, /, **words: str) -> dict[str, Column]:
    return {name: Column(kind, told) for name, told in words.items()}


RESULT: Final[Mapping[str, Column]] = MappingProxyType(
    _columns(
        "text",
        test_id="Declared id of the test, such as A16.1 or E4.2",
        status="run, skipped or failed",
        reason="Why there is no number; empty where there is one",
        effect_kind="What the effect measures, such as auroc or paired_difference",
        unit="What is counted in n: perturbations, pairs, regulators, donors, cells",
        null_name="Null model that the p is taken from; empty where none is drawn",
        settings_used="Settings that the test read, as JSON",
        settings_hash="Hash of the settings that the test read",
        dataset="Dataset that the number comes from",
        data_origin="real, archived, semi_synthetic or simulated",
        role_fit="full, or partial where a stand-in fills the role",
        release="Model release, or the control that was evaluated in its place",
        cells_hash="Hash of the names of the cells behind the scores",
        direction="What the effect compares, or how its sign is read",
        row_hash="Hash of the row's content",
    )
    | _columns(
        "number",
        statistic="Test statistic",
        effect="Effect, as effect_kind names it; direction says what it is a difference of",
        ci_low="Lower end of the 95% interval of the effect",
        ci_high="Upper end of the 95% interval of the effect",
        p="p of the test; a permutation p is (k + 1) / (n + 1)",
        null_mean="Mean of the null draws",
        null_sd="Standard deviation of the null draws",
        q_a="Benjamini-Hochberg q in family A, over its declared size of 95",
        q_b="Benjamini-Hochberg q in family B, over its declared size of 153",
        q_c="Benjamini-Hochberg q in family C, over its declared size of 27",
        q_run_only="q over the rows that were run only; no gate reads it",
        q_local="Benjamini-Hochberg q in the local family, over its declared size",
    )
    | _columns(
        "integer",
        n="Number of units behind the number",
        resamples_requested="Resamples that the declaration asks for",
        resamples_done="Resamples that were drawn",
        seed="Seed of the random draws",
        layer="Layer that was read, counted from 0",
        family_size="Declared number of tests in the local family",
    )
    | _columns(
        "truth",
        significant_a="q_a below .05",
        significant_b="q_b below .05",
        significant_c="q_c below .05",
        significant_local="q_local below .05",
    )
    | _columns("text", local_family="Local family that an extended test is corrected in")
)

LEADERBOARD: Final[Mapping[str, Column]] = MappingProxyType(
    _columns(
        "text",
        study="Study: which datasets fill which roles",
        release_kind="release, positive_control or negative_control",
        context_mismatch="Why outcomes and attention come from different cells; empty where they do not",
        state="supported, refuted, inconclusive or not evaluable",
        verdict="State of the headline claim as it is shown, with its caveat",
        criterion_a="Attention beats gene-level baselines: pass, fail, undecided or not evaluable",
        criterion_b="Attention adds to gene-level features",
        criterion_c="Recovery of references survives confounds and degree",
        criterion_d="The model's read-out depends on the heads that carry it",
        in_short="What may be said of the model, in one sentence",
        next_step="The one next thing to do",
        report="Report, relative to the store",
    )
    | _columns("truth", small="Trained for demonstration", provisional="Fewer than three seeds behind a criterion")
    | _columns(
        "number",
        mean_auroc_attention="Mean AUROC of attention over perturbations",
        mean_auroc_correlation="Mean AUROC of same-cell correlation over perturbations",
        mean_auroc_variance="Mean AUROC of target variance over perturbations",
    )
    | _columns(
        "integer",
        controls_expected="Controls that the verdict needs",
        controls_behaving="Controls that did what they must",
        perturbations="Perturbations that could be scored",
    )
)

CLAIMS_BOARD: Final[Mapping[str, Column]] = MappingProxyType(
    _columns(
        "text",
        kind="release, control, noise ceiling or trivial baseline",
        claim="Id of the claim; empty for a reference line",
        label="State as it is shown, with its caveat",
        criterion="First criterion that decides the claim",
        outcome="Outcome of that criterion",
        effect="What the value measures",
        released="Release that the row was computed beside",
    )
    | _columns(
        "number",
        value="Deciding number",
        low="Lower end of its 95% interval",
        high="Upper end of its 95% interval",
        n="Units behind it",
    )
)

CHANGES: Final[Mapping[str, Column]] = MappingProxyType(
    _columns(
        "text",
        change_id="Hash that names the change",
        compared_with="Release whose judgement it is held against",
        level="verdict, claim, criterion or standard",
        item="Which claim, criterion or standard changed",
        old="State before",
        new="State now",
        direction="gained, lost or other",
        causes="What differed between the two judgements",
        reading="Cause that the change is put down to, as far as it can be told apart",
        effect="What the two effects measure",
        interval="Where the interval of the difference comes from",
        sentence="The change in one sentence",
        old_snapshot="Hash of the judgement before",
        new_snapshot="Hash of the judgement now",
    )
    | _columns(
        "number",
        old_effect="Deciding number before",
        new_effect="Deciding number now",
        difference="New minus old",
        difference_low="Lower end of the 95% interval of the difference",
        difference_high="Upper end of the 95% interval of the difference",
    )
)

LABELS: Final[Mapping[str, Column]] = MappingProxyType(
    _columns("text", perturbation="Perturbed gene, or genes", gene="Gene whose response was tested")
    | _columns(
        "number",
        lfc="Difference of mean log1p counts (natural log), perturbed minus control cells; else as published",
        p="p of the differential expression test",
        q="q within the perturbation",
    )
    | _columns("integer", label="1 differentially expressed, 0 tested and not, -1 no candidate")
)

EDGES: Final[Mapping[str, Column]] = MappingProxyType(
    _columns("text", source="Regulator: rows of the score matrix", target="Target: columns of the score matrix")
    | _columns("number", score="Score of the ordered pair; not a number where no cell held both genes")
    | _columns("integer", cells_behind="Cells that held both genes")
)
ATTENTION: Final[Mapping[str, Column]] = MappingProxyType(
    dict(EDGES)
    | _columns("integer", layer="Layer, counted from 0", head="Head, counted from 0, where heads are kept apart")
)

SHARED: Final[Mapping[str, Column]] = MappingProxyType(
    _columns(
        "text",
        role="What the study uses the dataset for",
        score="Score that is evaluated: attention, correlation or a gene-level feature",
        edge="Pairwise score that is evaluated",
        reference="Reference network that pairs are held against",
        subset="Which perturbations or genes are looked at",
        condition="Intervention, or what the model was compared in",
        metric="Metric that is compared",
        learner="Learner behind the predictions",
        split="How rows were split for cross-fitting",
        regulator="Regulator, a transcription factor",
        stratum="Group of cells",
        context="Cell type or tissue",
        estimator="How the number was estimated",
        aggregator="How heads or layers were put together",
    )
    | _columns(
        "number",
        auroc="Area under the ROC curve; .5 is chance",
        mean_auroc="Mean AUROC over units",
        sd_auroc="Standard deviation of the AUROC over units",
        auprc="Average precision",
        depth="Relative depth of the layer: 0 first, 1 last",
        margin="Declared margin of the equivalence test",
        p_equivalent="p of the equivalence test (two one-sided tests)",
        delta="Difference of two scores",
        difference="Difference of two scores",
        rho="Spearman correlation",
        f1="F1 at the stated number of edges",
        power="Power at the declared effect",
        observed="Observed value, beside its null",
        missing_share="Share of pairs without a score",
        mean_edge="Mean of the pairwise score over units",
        mean_baseline="Mean of the baseline over units",
        mean_difference="Mean difference over units",
        p_two_sided="Two-sided p",
        expected="Value expected from theory or by chance",
        ceiling="Most that the screen allows: one half of its cells against the other",
    )
    | _columns(
        "integer",
        cells="Number of cells",
        n_pairs="Number of gene pairs",
        n_positive="Number of positive pairs",
        n_negative="Number of negative pairs",
        n_perturbations="Number of perturbations",
        pairs="Number of gene pairs",
        k="Number of edges or heads taken",
        draws_requested="Null draws that the declaration asks for",
        draws_done="Null draws that were made",
    )
    | _columns("truth", equivalent="Within the declared margin", balanced="Covariates are balanced after matching")
)


def described(name: str, *tables: Mapping[str, Column]) -> str:
    """What a column says: the words of the first table that has it, then those shared by all; empty if none has."""
    return next((table[name].words for table in (*tables, SHARED, RESULT) if name in table), "")
