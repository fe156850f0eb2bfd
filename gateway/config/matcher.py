"""Which route takes a request: by host, path and method, at the same cost for 5 routes and 5,000.

A literal segment beats a parameter, a parameter beats ``**``; a route for the request's host beats
one for any host. Literal paths are found in one dictionary, the others in a tree of segments.
Source: design sections 3 (step 2) and 11; requirement X3.
"""

from collections.abc import Iterator, Sequence

from gateway.config.snapshot import Matcher, Route, Segment


class _Node:
    """One segment's place in the tree."""

    __slots__ = ("here", "literals", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.parameter: _Node | None = None
        self.here: dict[bytes, Route] = {}
        self.rest: dict[bytes, Route] = {}


class _HostRoutes:
    """The routes of one host."""

    __slots__ = ("literal", "root")

    def __init__(self) -> None:
        self.literal: dict[bytes, dict[bytes, Route]] = {}
        self.root = _Node()

    def add(self, route: Route) -> None:
        """Enter a route; the first of two equal ones stays."""
        by_method = self._place(route.path)
        for method in route.methods:
            by_method.setdefault(method, route)

    def add_implied(self, route: Route) -> None:
        """Let a route for GET take HEAD too, where no route names HEAD itself."""
        if b"GET" in route.methods:
            self._place(route.path).setdefault(b"HEAD", route)

    def _place(self, path: Sequence[Segment]) -> dict[bytes, Route]:
        if all(segment.literal is not None for segment in path):
            return self.literal.setdefault(literal_path(path), {})
        node = self.root
        for segment in path:
            if segment.is_rest:
                return node.rest
            if segment.literal is None:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment.literal, _Node())
        return node.here

    def find(self, method: bytes, path: bytes) -> Route | None:
        """Return the most specific route for a method and a path."""
        here = self.literal.get(path)
        route = None if here is None else here.get(method)
        # The first segment is what stands before the first slash: nothing.
        return _find(self.root, path.split(b"/"), 1, method) if route is None else route

    def places(self, path: bytes) -> Iterator[dict[bytes, Route]]:
        """Yield what is entered for a path, the most specific first."""
        found = self.literal.get(path)
        if found is not None:
            yield found
        yield from _walk(self.root, path.split(b"/"), 1)


def _walk(node: _Node, segments: list[bytes], at: int) -> Iterator[dict[bytes, Route]]:
    """Yield the entries below a node that match the segments from ``at`` on."""
    if at == len(segments):
        if node.here:
            yield node.here
    else:
        literal = node.literals.get(segments[at])
        if literal is not None:
            yield from _walk(literal, segments, at + 1)
        if node.parameter is not None and segments[at]:
            yield from _walk(node.parameter, segments, at + 1)
    if node.rest:
        yield node.rest


def _find(node: _Node, segments: list[bytes], at: int, method: bytes) -> Route | None:
    """Return the first route for a method that ``_walk`` would come to, without its generators."""
    found: Route | None = None
    if at == len(segments):
        found = node.here.get(method)
    else:
        literal = node.literals.get(segments[at])
        if literal is not None:
            found = _find(literal, segments, at + 1, method)
        if found is None and node.parameter is not None and segments[at]:
            found = _find(node.parameter, segments, at + 1, method)
    return node.rest.get(method) if found is None else found


def literal_path(path: Sequence[Segment]) -> bytes:
    """Return the path that a template without parameters stands for."""
    return b"/" + b"/".join(segment.literal or b"" for segment in path)


class RouteMatcher(Matcher):
    """All routes of a snapshot."""

    __slots__ = ("_any_host", "_by_host")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._by_host: dict[bytes, _HostRoutes] = {}
        self._any_host = _HostRoutes()
        places = [(route, place) for route in routes for place in self._hosts_of(route)]
        for route, place in places:
            place.add(route)
        for route, place in places:
            place.add_implied(route)

    def _hosts_of(self, route: Route) -> list[_HostRoutes]:
        if not route.hosts:
            return [self._any_host]
        return [self._by_host.setdefault(host, _HostRoutes()) for host in route.hosts]

    def match(self, method: bytes, host: bytes, path: bytes) -> Route | None:
        """Return the route of a request, None if there is none.

        Args:
            method: As sent, upper case.
            host: The ``Host`` field's value; the port and the case don't matter.
            path: The canonical path.
        """
        if self._by_host:
            own = self._by_host.get(without_port(host))
            if own is not None:
                route = own.find(method, path)
                if route is not None:
                    return route
        return self._any_host.find(method, path)

    def allowed_methods(self, host: bytes, path: bytes) -> frozenset[bytes]:
        """Return the methods that routes take at this path; empty if there is no such path."""
        return frozenset().union(*self._places(host, path))

    def _places(self, host: bytes, path: bytes) -> Iterator[dict[bytes, Route]]:
        if self._by_host:
            own = self._by_host.get(without_port(host))
            if own is not None:
                yield from own.places(path)
        yield from self._any_host.places(path)


def without_port(host: bytes) -> bytes:
    """Return a host in lower case, without its port and the dot that ends a full name."""
    host = host.lower()
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0].removesuffix(b".")
