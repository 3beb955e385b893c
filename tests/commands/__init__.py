"""Every command of README and docs, run as written: `python -m tests.commands`."""
