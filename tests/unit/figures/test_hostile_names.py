"""Names that try to be markup, never end or hold several lines stay text in every picture that shows names."""

import pytest

from interp_assets.figures import catalogue_biology, catalogue_reliability
from interp_assets.figures.catalogue import figure

EVIL = '<script>alert("$x$")</script> & ' + "ß-катенин " * 40 + "\n\tend"
# Columns of names by group of pictures; of the last group only those that show names of data sets, networks or genes.
OF_BIOLOGY = {"dataset", "dataset_a", "dataset_b", "partner", "regulator", "target", "tf", "target_class", "reference"}
OF_RELIABILITY = {"tissue", "context", "fitted_on", "reason"}
OF_NETWORKS = {"dataset", "reference", "regulator", "target", "refused"}
NAMED = ("scaling_first_reference", "scaling_metrics", "controlled_composition", "non_additivity", "cssi_dilution")
SHOWN = (
    *((spec, OF_BIOLOGY) for spec in catalogue_biology.ROWS),
    *((spec, OF_RELIABILITY) for spec in catalogue_reliability.ROWS),
    *((figure(name), OF_NETWORKS) for name in NAMED),
)


def hostile(frame, names):
    """The frame with the first name of each column of names replaced; of reasons, every one that is stated."""
    frame = frame.copy()
    for column in names & set(frame):
        chosen = frame[column] != "" if column == "reason" else frame[column] == frame[column].iloc[0]
        frame[column] = frame[column].where(~chosen, EVIL)
    return frame


@pytest.mark.parametrize(("spec", "names"), SHOWN, ids=[spec.figure_id for spec, _ in SHOWN])
def test_hostile_names_stay_text(spec, names, vector, beyond_the_edge, tables, context):
    shown = vector(spec, {key: hostile(tables[key], names) for key in (*spec.tables, *spec.extra_tables)}, context)
    assert b"<script" not in shown.drawing.svg
    assert len(shown.drawing.alt) < 10_000
    assert beyond_the_edge(shown.picture) == []
    width = shown.picture.canvas.get_width_height()[0]
    assert all(axes.get_window_extent().width > 0.08 * width for axes in shown.picture.axes)
