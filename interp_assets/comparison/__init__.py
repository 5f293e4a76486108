"""What changed between two judgements of releases, and how far the change can be put down to one cause."""
