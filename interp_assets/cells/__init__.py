"""Cells and outcomes: where files come from, how they are prepared, how screens are planted."""
