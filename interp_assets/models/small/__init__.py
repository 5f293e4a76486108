"""Small releases trained here, so that a first run has a real transformer."""
