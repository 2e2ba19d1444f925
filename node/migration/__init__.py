"""Atomic slot migration on a node: what `cluster/migration.py` decides, done to the data. `jobs.py` is where to begin."""
