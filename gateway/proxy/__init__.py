"""The data plane: one coroutine per request, both sides of the wire, the upstream pool.

Read ``request.py`` first. Owns: the way of a request. Does not own: rules, stores, configuration.
Invariants: an answered request is recorded; a refused one has changed no counter.
"""
