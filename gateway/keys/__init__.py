"""API keys: their format, and the directories that know them.

Owns: format, hashing, look-up, caching, invalidation. Does not own: what a
key may do (rules.access).
Invariants: a secret exists only in the moment of its creation; directories hold SHA-256 only.
"""
