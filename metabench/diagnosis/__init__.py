"""A checkup: run every probe on one problem within a time budget, and rank their findings.

`metabench diagnose` runs it; `metabench.find` is unrelated: it reads one probe's table.
"""
