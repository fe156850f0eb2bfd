"""Metrics and logs: every metric's name, unit and label in one file; one canonical line per request."""
