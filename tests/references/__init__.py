"""Slow oracles: exact answers straight from a definition, sharing no code with the package they referee."""
