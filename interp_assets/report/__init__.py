"""The self-contained HTML report of one release in one study."""
