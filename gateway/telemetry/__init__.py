"""Metrics and logs: every metric's name in one file; one canonical line per request."""
