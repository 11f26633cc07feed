"""A run, shown: `html.write_report` writes the page and its charts, `terminal.show` the short form."""
