"""Calibration of the assay: how often the criteria and tests call noise, and how often they see what is planted.

What belongs here: worlds whose truth is known, and rates over many seeds of them, judged by the analyses and criteria
of every evaluation. What does not: any statistic of the battery or any definition of a criterion; Dagster; the
calibration of tests on real non-targeting guides (`analyses.null_calibration`).
"""
