"""Finite states: their tables, transition probabilities, and supports."""
