"""Suites that others wrote, run against a real gateway process, and a comparison with nginx."""
