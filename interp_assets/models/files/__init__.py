"""Files of a release: found, recognised, described, verified, and read by readers that run no code."""
