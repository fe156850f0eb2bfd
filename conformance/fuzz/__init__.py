"""Inputs that coverage leads to: for heads, paths, chunks and whole exchanges."""
