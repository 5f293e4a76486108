"""Attention of a running model: from encoded cells to stored gene x gene sums."""
