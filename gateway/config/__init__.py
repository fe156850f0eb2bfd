"""Configuration: text to models to one immutable snapshot that requests read.

Owns: settings, the route file, the pricing file, every cross-check, error positions, JSON Schemas.
Does not own: what a request does with the snapshot. The data plane imports ``snapshot`` alone.
"""
