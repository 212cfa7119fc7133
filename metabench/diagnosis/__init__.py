"""A checkup: every probe on one problem within a time budget, one order of findings, one page.

`metabench diagnose` runs it; `metabench.find` reads one probe's table and knows nothing of it.
"""
