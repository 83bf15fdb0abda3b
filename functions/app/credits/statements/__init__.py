"""Signed statements of an account: made in `audit.py` and `table.py`, verified offline in `export.py`."""
