"""Files, the command line and progress: what only users touch. Nothing else imports them."""
