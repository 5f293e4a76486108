"""Finished edge scores of any method, read as a release."""
