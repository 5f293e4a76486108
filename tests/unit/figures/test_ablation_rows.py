"""Which condition can act on which read-out, and the dose response, from tables alone."""

import numpy as np
import pandas as pd
import pytest

from interp_assets.figures import ablation_rows, wording
from interp_assets.interventions.conditions import HeadTable, plan_conditions
from qc_standards.claims import claims_registry


@pytest.fixture
def ablation(tables):
    """The tables of the interventions, copied, so that a test may change them."""
    return {name: tables[name].copy() for name in ("causal_ablation", "intervention_conditions")}


def test_doses_of_one_size_are_one_point(ablation):
    frame = ablation["causal_ablation"]
    frame.loc[(frame["pool"] == "upstream") & (frame["dose"] == 10), "size"] = 1
    found = ablation_rows.sweep(frame[frame["operation"] == "zero_heads"], "attention")
    assert found.sizes == [1, 4, 10]
    assert [len(values) for values in found.random] == [20, 20, 20]


def test_last_layer_is_read_from_what_lies_in_it(ablation):
    frame = ablation["causal_ablation"].query("condition == 'mlp-15'")
    conditions = ablation["intervention_conditions"]
    acts = ablation_rows.changes({"causal_ablation": frame, "intervention_conditions": conditions})
    assert acts.set_index("read_out")["acts"].to_dict() == {"attention": False, "last_attention": True, "logits": True}
    late = conditions["condition"] == "mlp-15"
    conditions.loc[late, ["parts", "first_layer", "upstream_of_last"]] = ["mlp.7", 7, False]
    acts = ablation_rows.changes({"causal_ablation": frame, "intervention_conditions": conditions})
    assert acts.set_index("read_out")["acts"].to_dict() == {"attention": False, "last_attention": False, "logits": True}


@pytest.mark.parametrize(("layers", "heads", "read_out"), [(18, 18, 13), (8, 8, 7), (4, 4, 1), (2, 2, 0)])
def test_acting_equals_the_layers_that_conditions_change(layers, heads, read_out, ablation):
    """Against the conditions as they are planned, with their parts as numbers and not as text."""
    values = np.random.default_rng(0).uniform(size=(3, layers, heads))
    planned = plan_conditions(HeadTable(reference=values[0], screen=values[1], entropy=values[2]), read_out, 2, 7)
    conditions = pd.DataFrame(
        {
            "condition": one.name,
            "parts": one.parts,
            "first_layer": one.first_layer,
            "read_out_layer": read_out,
            "upstream_parts": one.upstream_parts(read_out),
            "upstream_of_last": one.upstream_parts(layers - 1) == one.size,
        }
        for one in planned
    )
    rows = [{"condition": one.name, "read_out": name} for one in planned for name in ablation_rows.READ_OUTS]
    found = ablation_rows.changes({"causal_ablation": pd.DataFrame(rows), "intervention_conditions": conditions})
    for one in planned:
        acts = found[found["condition"] == one.name].set_index("read_out")["acts"]
        assert acts["attention"] == (one.upstream_parts(read_out) > 0)
        assert acts["last_attention"] == (one.upstream_parts(layers - 1) > 0)
        assert acts["logits"]


@pytest.mark.parametrize(
    ("size", "family", "text"), [(1, "top", "1 head"), (2, "mlp", "2 layers"), (8, "layer", "8 heads")]
)
def test_parts_read_as(size, family, text):
    assert wording.parts_changed(size, family) == text


def test_material_is_what_criterion_d_calls_material():
    assert claims_registry().criteria["d"].thresholds["material"] == ablation_rows.MATERIAL
