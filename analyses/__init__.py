"""Analyses: scripts that each answer one question, one a file.

Each file is a script, `python analyses/NAME.py` or `python -m ppl_worldmodel.analyses.NAME`. Its docstring has
the question and the finding to expect; `main(out=...)` asserts the finding, prints a table, writes its figure
into the folder `out` and returns the figure's path.
"""
