"""What happens to the model when parts of it are changed (29, 32, 34, 36)."""

from __future__ import annotations

from interp_assets.figures import ablation_figures, fidelity_figures
from interp_assets.figures.printed_marks import changed, printed
from interp_assets.figures.records import FigureSpec

_CLEAN = "SIG067"  # published AUROC of the unchanged model
_MASKED = ("top-5", "random-5/1", "random-5/2", "random-5/3", "entropy-matched-5", "top-10", "top-20", "top-50")
_MASKED += ("bottom-5", "bottom-10", "composite-5", "composite-10", "layer-14", "random-10/1", "random-20/1")
_MASKED += ("random-50/1",)
_OTHER_WAYS = ("uniform-top-5", "uniform-top-10", "uniform-random-10/1", "mlp-15", "mlp-13-15", "mlp-8")

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="causal_ablation",
        title="Heads masked",
        caption="Condition minus clean throughout. Names count heads of 324, as published; brackets count those masked "
        "here. Criterion d reads the heads before the read-out layer, the only ones that can act on it, against random "
        "sets of the same size. Composite ranks were made with the outcomes.",
        analyses=(29, 32),
        tables=("causal_ablation", "intervention_conditions"),
        draw=ablation_figures.causal_ablation,
        published=("Figure 4",),
        marks=tuple(changed(name, f"SIG{68 + place:03d}", _CLEAN) for place, name in enumerate(_MASKED)),
    ),
    FigureSpec(
        figure_id="six_conditions",
        title="Five heads masked",
        caption="AUROC of the published read-out by perturbation, and the paired change. Random sets and heads of like "
        "entropy show what masking as many other heads does.",
        analyses=(29,),
        tables=("intervention_auroc", "intervention_conditions"),
        extra_tables=("causal_ablation",),
        draw=ablation_figures.six_conditions,
        published=("Figure S33",),
        marks=tuple(
            printed(name, f"SIG{67 + place:03d}")
            for place, name in enumerate(
                ("clean", "top-5", "random-5/1", "random-5/2", "random-5/3", "entropy-matched-5")
            )
        ),
    ),
    FigureSpec(
        figure_id="orthogonal_interventions",
        title="Uniform attention and silent feed-forward layers",
        caption="A read-out cannot change under what lies at or after its layer: such a zero is structural and no sign "
        "of redundancy. The output logits come after every head and layer.",
        analyses=(34,),
        tables=("causal_ablation", "intervention_conditions"),
        draw=ablation_figures.orthogonal_interventions,
        published=("Figure S34",),
        marks=tuple(changed(name, f"SIG{84 + place:03d}", _CLEAN) for place, name in enumerate(_OTHER_WAYS)),
    ),
    FigureSpec(
        figure_id="intervention_fidelity",
        title="How far interventions move the model",
        caption="Left: hidden state after each layer, from the first changed one on; right: output logits. Below the "
        "dashed line an intervention is too weak to say anything; right of the dotted line it comes too late for the "
        "published read-out.",
        analyses=(36,),
        tables=("intervention_fidelity", "intervention_conditions"),
        draw=fidelity_figures.intervention_fidelity,
        published=("Figure S37",),
        marks=(
            printed("uniform-top-5", "SIG091"),
            printed("uniform-top-10", "SIG093"),
            printed("uniform-random-10/1", "SIG095"),
            printed("mlp-15", "SIG097"),
            printed("mlp-13-15", "SIG099"),
            printed("mlp-8", "SIG101"),
        ),
    ),
)
