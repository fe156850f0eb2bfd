"""Microbenchmarks of the pure pieces on a request's way, compared with a committed baseline."""
