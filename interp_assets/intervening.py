"""Interventions on one release in one study: the model behind a name, held against the study's screen.

What belongs here: gathering. What does not: running conditions (`interp_assets.interventions`), testing them
(`interp_assets.analyses.ablation`), or anything that knows Dagster.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.analyses.scores import candidate_labels, pairs_or_reason
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.layers import LayerChoice, resolve_layer
from interp_assets.interventions.measure import Plan, Screen, measure_interventions
from interp_assets.interventions.records import Interventions
from interp_assets.models.files.releases import Release, read_release
from interp_assets.models.records import NothingToReadError, ReleaseCard
from interp_assets.settings import Study

NO_HEADS = "an edge table has no heads and no layers to intervene on"
NO_MODEL_CHANGE = "this family cannot be intervened on: its adapter runs no blocks"


def release_behind(card: ReleaseCard, attention: Path, release_id: str) -> Release:
    """Files of the model whose attention lies in ``attention``: built there for controls and twins, else its own.

    Raises
    ------
    ValueError
        If the attention was not read from these files (``release_id``), but from a twin's that are gone, say.
    """
    built = attention / "release"
    release = read_release(built if (built / "release.json").is_file() else Path(card.folder))
    if release.release_id != release_id:
        raise ValueError(
            f"{release.folder} holds release {release.release_id[:12]}, but the attention in {attention} was read from "
            f"{release_id[:12]}; materialise the attention again"
        )
    return release


def study_interventions(
    study: Study, release: Release, role: RoleInputs, cells: PreparedCells, choice: LayerChoice
) -> Interventions | str:
    """Interventions on ``release``, read on the screen of ``role``; or the reason why there are none.

    Heads are ranked by the study's primary reference; perturbations with too few candidates are left out, as in
    analysis 19. The read-out layer is the one every analysis reads.
    """
    from interp_assets.models.adapter import SCORE_FAMILIES, load_model
    from interp_assets.models.attention.settings import resolve_device
    from interp_assets.models.interventions import InterventionModel

    if release.family in SCORE_FAMILIES:
        return NO_HEADS
    screen = screen_of(study, role)
    if isinstance(screen, str):
        return screen
    device = resolve_device(study.attention.device)
    model = load_model(release, device=device, dtype=study.attention.dtype, encoding=study.attention.encoding)
    if not isinstance(model, InterventionModel):
        return NO_MODEL_CHANGE
    plan = Plan(
        read_out=resolve_layer(choice.depth, model.describe().layers),
        tokens=study.battery.intervention_tokens,
        random_sets=study.battery.random_head_sets,
        seed=study.seed,
        memory_gib=study.attention.memory_gib,
    )
    try:
        return measure_interventions(model, cells, screen, plan)
    except NothingToReadError as error:
        return f"{error.dataset}: {error.reason}"


def screen_of(study: Study, role: RoleInputs) -> Screen | str:
    """What read-outs are held against; or why nothing can be."""
    pairs = pairs_or_reason(role)
    if isinstance(pairs, str):
        return f"heads cannot be ranked: {pairs}"
    label = candidate_labels(role)
    least = (max(1, study.battery.min_positives), max(1, study.battery.min_negatives))
    kept = ((label == 1).sum(axis=1) >= least[0]) & ((label == 0).sum(axis=1) >= least[1])
    if not kept.any():
        return "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
    return Screen(
        genes=role.genes,
        perturbations=role.perturbations[kept],
        source=role.source[kept].astype(np.int64),
        label=label[kept],
        regulators=pairs.regulators,
        member=pairs.member,
    )
