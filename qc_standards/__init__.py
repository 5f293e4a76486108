"""QC standards for reading model attention as a gene regulatory network.

The bottom floor of the project: declared tests, claims and standards, multiplicity correction and the
gate. Installs and works without the evaluation platform; imports neither dagster nor torch nor
``interp_assets``.
"""
