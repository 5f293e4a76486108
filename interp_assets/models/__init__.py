"""Model releases: formats, tokenisers, attention extraction and the controls built here."""
