"""Reports: figures, and self-contained HTML pages of runs and of comparisons."""
