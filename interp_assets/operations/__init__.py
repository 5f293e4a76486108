"""Running the platform: what a machine lacks, what a store may drop, and one release as one file."""
