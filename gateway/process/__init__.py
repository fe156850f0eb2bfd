"""One worker's life: wiring, start, reload, drain, recovery.

Owns: putting parts together; no other floor does. Does not own: any rule, any protocol.
"""
