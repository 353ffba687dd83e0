"""Columns and cells of the built-in kinds' tables, one file per kind worth one."""
