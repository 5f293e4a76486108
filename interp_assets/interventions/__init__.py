"""Causal interventions on a loaded model: which, how they are run, and what is read."""
