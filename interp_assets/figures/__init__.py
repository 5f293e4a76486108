"""Figures drawn from computed tables."""
