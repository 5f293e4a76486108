"""What is read from a running model beyond its mean attention: single cells, traced components, deleted genes."""
