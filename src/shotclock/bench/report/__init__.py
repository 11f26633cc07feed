"""A run, shown: `html.write_report` writes the page and its charts, `terminal.show` the short form."""

from shotclock.bench.report.kit.keep_docstrings import keep_docstrings_of_altair

keep_docstrings_of_altair()
