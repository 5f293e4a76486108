"""Asset graph that evaluates single-cell foundation models as gene regulatory networks."""
