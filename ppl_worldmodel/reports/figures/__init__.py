"""Figures: one a file, each drawn from a result's tree; `embedding` puts them into a page."""
