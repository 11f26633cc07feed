"""A run, shown: `html.write_report` writes the page and its charts, `terminal.show` prints the short form.

Import the module you need: only the page needs the `report` extra (altair and vl-convert).
"""
