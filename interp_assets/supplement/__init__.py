"""The supplementary tables of the paper, each from what an evaluation computed."""
