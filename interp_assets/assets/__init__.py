"""Thin Dagster assets made by factories over the catalogues."""
