"""What is shown: tables in the terminal, figures, and one self-contained HTML page."""
