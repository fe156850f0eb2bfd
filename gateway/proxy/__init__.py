"""The data plane: one coroutine per request, both sides of the wire, the upstream pool. Read request.py first."""
