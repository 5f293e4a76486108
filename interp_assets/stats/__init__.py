"""Statistics of the battery: arrays in, numbers out. No dagster, no files, no global state."""
