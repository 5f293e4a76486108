"""The 37 analyses: one pure function and one catalogue row each."""
