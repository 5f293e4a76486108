"""The self-contained HTML report of one release in one study, the index over releases, the terminal table."""
