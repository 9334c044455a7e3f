"""Files, streams, reports, the command line: what only users touch. No other layer imports them."""
