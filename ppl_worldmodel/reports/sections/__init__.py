"""Sections of the report page, one a file: its template, and what fills it."""
