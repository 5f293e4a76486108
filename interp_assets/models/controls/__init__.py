"""Controls whose outcome is known: how each is made and what an honest assay says of it."""
