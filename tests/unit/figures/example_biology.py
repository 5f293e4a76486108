"""Test-only tables of analyses 4 to 7, 12 and 14. No number here is a result."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pandas as pd

TISSUES = {"tissues[1]": "example-immune", "tissues[2]": "example-kidney", "tissues[3]": "example-lung"}
COMPONENTS = {"mlp": 12, "heads": 24}
LINEAGES = {"trajectory[1]": "example-t-cells", "trajectory[2]": "example-b-cells", "trajectory[3]": "example-myeloid"}
SPECIES = {"role": "species_pair", "dataset": "example-human", "partner": "example-mouse", "reference": "curated"}
CELLS = ("all", "within_cell_type")
CATEGORIES = ("conserved", "fragile", "anti_conserved", "opposite_weak")
BINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 1.0)
OUTCOMES = {"consistent": 12, "simultaneous": 24, "target_leads": 15, "weak": 3, "wrong_sign": 2}


def biology_tables(seed: int = 4) -> dict[str, pd.DataFrame]:
    """Tables of effects across tissues and screens, edges across species, lags, and what attention follows."""
    rng = np.random.default_rng(seed)
    components = _components(rng)
    return {
        "mediation_components": components,
        "cross_tissue_effects": _cross_tissue(components),
        "cross_tissue_summary": _tissue_summary(),
        **_agreement(rng),
        **_orthologs(rng),
        **_pseudotime(rng),
        **_mapping(),
    }


def _components(rng) -> pd.DataFrame:
    lines = [
        {
            "role": role,
            "dataset": dataset,
            "regulator": regulator,
            "target": target,
            "granularity": kind,
            "component": number,
            "name": f"{kind}.{number}",
            "mean": rng.normal(),
        }
        for role, dataset in TISSUES.items()
        for regulator, target in (("TFA", "T1"), ("TFB", "T2"))
        for kind, parts in COMPONENTS.items()
        for number in range(parts)
    ]
    return pd.DataFrame(lines)


def _cross_tissue(components) -> pd.DataFrame:
    wide = components.pivot(index=["regulator", "target", "granularity", "component"], columns="role", values="mean")
    lines = []
    for (regulator, target, kind), found in wide.groupby(level=[0, 1, 2], sort=False):
        for one, other in combinations(TISSUES, 2):
            lines.append(
                {
                    "tissue_a": one,
                    "tissue_b": other,
                    "dataset_a": TISSUES[one],
                    "dataset_b": TISSUES[other],
                    "regulator": regulator,
                    "target": target,
                    "granularity": kind,
                    "components": COMPONENTS[kind],
                    "rho": found[one].corr(found[other], method="spearman"),
                    "ci_low": -0.5,
                    "ci_high": 0.6,
                    "p": 0.3,
                    "q": 0.03 if (regulator, one, kind) == ("TFA", "tissues[1]", "mlp") else 0.6,
                }
            )
    return pd.DataFrame(lines)


def _tissue_summary() -> pd.DataFrame:
    return pd.DataFrame(
        {"tissue_a": one, "tissue_b": other, "comparisons": 4, "mean_rho": 0.1, "ci_low": -0.2, "ci_high": 0.4}
        | {"p": 0.4, "mismatched_comparisons": 4, "mismatched_mean_rho": 0.08}
        for one, other in combinations(TISSUES, 2)
    )


def _agreement(rng) -> dict[str, pd.DataFrame]:
    pairs, summary = [], []
    for number in range(1, 5):
        where = {"role": f"agreement_screens[{number}]", "dataset": f"example-screen-{number}"}
        effect = rng.normal(size=36)
        pairs += [
            {**where, "source": f"S{at % 12}", "target": f"T{at}", "logit_change": x, "measured_effect": x / 3 + noise}
            for at, (x, noise) in enumerate(zip(effect, rng.normal(size=36), strict=True))
        ]
        for read_out in ("logit_change", "cosine_distance"):
            for adjusted in (False, True):
                rho = 0.1 * number + 0.02 * adjusted + 0.3 * (read_out != "logit_change")
                numbers = {"pairs": 36.0, "sources": 12.0, "rho": rho, "ci_low": rho - 0.3, "ci_high": rho + 0.3}
                summary.append({**where, "read_out": read_out, "adjusted": adjusted, **numbers, "reason": ""})
    return {"agreement_pairs": pd.DataFrame(pairs), "agreement_summary": pd.DataFrame(summary)}


def _orthologs(rng) -> dict[str, pd.DataFrame]:
    edges, per_tf = [], []
    for at in range(40):
        size = 12 + at
        human = rng.uniform(0.05, 0.6, size) * rng.choice([-1, 1], size)
        mouse = human * (0.4 + at / 80) + rng.normal(0, 0.15, size)
        edges.append(pd.DataFrame({"tf": f"REG{at}", "target": [f"G{k}" for k in range(size)], "rho": human}))
        edges[-1]["rho_partner"] = mouse
        edges[-1]["category"] = np.where(np.sign(human) == np.sign(mouse), "conserved", "anti_conserved")
        per_tf.append(
            {
                "tf": "XBP1" if at == 39 else f"REG{at}",
                "n_pairs": size,
                "spearman": np.nan if at == 20 else -0.2 + at / 40,
                "null_mean": 0.01,
                "null_sd": 0.4 / np.sqrt(size),
                "p": 0.9 if at < 10 else 0.01,
                "targets_in_reference": 2 + at // 4,
                "target_class": ("2-4 targets", "5-8 targets", "9-12 targets")[at // 14],
            }
        )
    pairs = sum(len(one) for one in edges)
    both = pd.concat(edges, ignore_index=True)
    named = {**SPECIES, "floor": 0.05}
    return {
        "ortholog_edges": _per_cells(both).assign(**named),
        "ortholog_per_tf": _per_cells(pd.DataFrame(per_tf)).assign(**named),
        "ortholog_summary": _per_cells(_ortholog_summary(pairs)).assign(**named),
        "ortholog_categories": _per_cells(_categories(pairs)).assign(**named),
        "ortholog_sign_bins": _per_cells(_sign_bins()).assign(**named),
    }


def _per_cells(frame) -> pd.DataFrame:
    return pd.concat([frame.assign(cells=cells) for cells in CELLS], ignore_index=True)


def _ortholog_summary(pairs) -> pd.DataFrame:
    rows = {"filtered": (pairs, 0.743), "all": (5 * pairs, 0.412)}
    return pd.DataFrame(
        {"class_by": "none", "tf_class": "all", "pairs": name, "n_pairs": size, "spearman": rho}
        for name, (size, rho) in rows.items()
    )


def _categories(pairs) -> pd.DataFrame:
    shares = (0.8, 0.02, 0.1, 0.08)
    return pd.DataFrame(
        {"class_by": "none", "pairs": which, "category": name, "n_pairs": int(part * pairs), "share": part}
        for which in ("filtered", "all")
        for name, part in zip(CATEGORIES, shares, strict=True)
    )


def _sign_bins() -> pd.DataFrame:
    return pd.DataFrame(
        {"rho_low": low, "rho_high": high, "n_pairs": 40_000 // (at + 1), "sign_agreement": 0.5 + 0.09 * at}
        for at, (low, high) in enumerate(pairwise(BINS))
    )


def _pseudotime(rng) -> dict[str, pd.DataFrame]:
    lags, pairs, rates, draws, outcomes = [], [], [], [], []
    for at, (role, dataset) in enumerate(LINEAGES.items()):
        where = {"role": role, "dataset": dataset, "data_origin": "simulated"}
        for number in range(8):
            sign = 1 if number % 3 else -1
            peak = 2 if number == 3 and at < 2 else 0
            curve = sign * (0.9 - 0.02 * number) * np.exp(-((np.arange(-10, 11) - peak) ** 2) / 20)
            who = {**where, "tf": f"TF{number}", "target": f"Y{number}", "expected_sign": sign}
            lags += [
                {**who, "lag": lag, "correlation": value} for lag, value in zip(range(-10, 11), curve, strict=True)
            ]
            outcome = "consistent" if peak else "simultaneous"
            pairs.append(
                {**who, "pseudotime": "computed", "peak_lag": peak, "peak": curve[10 + peak], "outcome": outcome}
            )
    scopes = {
        "all": ("example lineages", 56, 0.21),
        **{r: (n, 18, 0.15 + 0.05 * k) for k, (r, n) in enumerate(LINEAGES.items())},
    }
    for scope, (dataset, size, rate) in scopes.items():
        for null, chance in (("shuffled", 0.06), ("random_pairs", 0.16)):
            told = {"scope": scope, "null": null, "dataset": dataset, "data_origin": "simulated"}
            for statistic, observed, mean in (("consistency_rate", rate, chance), ("mean_score", 0.11, chance - 0.06)):
                numbers = {"n_pairs": size, "observed": observed, "null_mean": mean, "null_sd": 0.04, "p": 0.02}
                rates.append({**told, "statistic": statistic, **numbers, "draws": 60})
                values = rng.normal(mean, 0.04, 60)
                draws += [{**told, "statistic": statistic, "draw": k, "value": v} for k, v in enumerate(values)]
        outcomes += [
            {
                "scope": scope,
                "outcome": name,
                "n_pairs": n,
                "share": n / 56,
                "share_shuffled": 0.2,
                "share_random_pairs": 0.2,
            }
            for name, n in OUTCOMES.items()
        ]
    return {
        "pseudotime_lags": pd.DataFrame(lags),
        "pseudotime_pairs": pd.DataFrame(pairs),
        "pseudotime_null": pd.DataFrame(rates),
        "pseudotime_draws": pd.DataFrame(draws),
        "pseudotime_outcomes": pd.DataFrame(outcomes),
    }


def _mapping() -> dict[str, pd.DataFrame]:
    mapped, across = [], []
    for at, (role, dataset) in enumerate(TISSUES.items()):
        where = {"role": role, "dataset": dataset}
        for place, quantity in enumerate(("product_of_means", "minimum_of_means", "co_expression", "all_three")):
            for edge in ("attention", "attention_layer_mean"):
                one = edge == "attention" and quantity != "all_three"
                rho = np.nan if quantity == "all_three" else 0.5 - 0.1 * place + 0.02 * at
                mapped.append(
                    {**where, "edge": edge, "quantity": quantity, "spearman": rho, "n_pairs": 90_000}
                    | {"ci_low": rho - 0.05 if one else np.nan, "ci_high": rho + 0.05 if one else np.nan}
                    | {
                        "r2_cross_fitted": 0.1 + 0.02 * place,
                        "r2_ci_low": 0.08,
                        "r2_ci_high": 0.2,
                        "missing_share": 0.01,
                    }
                )
        across += [
            {**where, "other_role": other, "other_dataset": TISSUES[other], "predictor": predictor}
            | {"r2_cross_fitted": 0.015, "r2_ci_low": 0.005, "r2_ci_high": 0.03}
            for other in TISSUES
            if other != role
            for predictor in ("attention", "co_expression")
        ]
    models = [
        {"role": role, "dataset": dataset, "edge": "attention_layer_mean", "quantity": quantity, "reference": reference}
        | {"spearman": rho, "ci_low": rho - 0.04, "ci_high": rho + 0.04}
        for role, dataset in (("layer_selection", "example-cortex"), ("tissues[1]", "example-immune"))
        for quantity, reference, rho in (("co_expression", "", 0.36), ("membership", "curated", 0.004))
    ]
    return {
        "attention_mapping": pd.DataFrame(mapped),
        "attention_across_tissues": pd.DataFrame(across),
        "model_mapping": pd.DataFrame(models),
    }
