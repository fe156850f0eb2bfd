"""X3: which route takes a request, against a plain linear reference; flat cost for 5,000 routes."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.matcher import RouteMatcher, without_port
from gateway.config.settings import load
from gateway.config.snapshot import Route, Segment

ROOT = Path(__file__).parents[2]
TEMPLATE = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={}).snapshot.routes[0]


def route(
    path: str, *, methods: tuple[bytes, ...] = (b"GET",), hosts: tuple[bytes, ...] = ()
) -> Route:
    segments = tuple(
        Segment(None, is_rest=True) if part == "**"
        else Segment(None) if part.startswith("{")
        else Segment(part.encode())
        for part in path[1:].split("/")
    )  # fmt: skip
    return replace(
        TEMPLATE, name=f"{path}{methods}{hosts}", path=segments, methods=frozenset(methods),
        hosts=frozenset(hosts),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v1/runs", "/v1/runs"),
        (b"/v1/runs/7", "/v1/runs/{id}"),
        (b"/v1/runs/latest", "/v1/runs/latest"),
        (b"/v1/runs/7/files/a/b", "/v1/runs/{id}/files/**"),
        (b"/v1/other", "/v1/**"),
        (b"/v1/runs/", "/v1/**"),
        (b"/v1", "/v1/**"),
        (b"/", None),
        (b"/v2", None),
    ],
)
def test_the_most_specific_route_takes_it(path: bytes, expected: str | None) -> None:
    matcher = RouteMatcher(
        [
            route(p)
            for p in ("/v1/**", "/v1/runs/{id}", "/v1/runs/latest", "/v1/runs",
                      "/v1/runs/{id}/files/**")
        ]
    )  # fmt: skip

    found = matcher.match(b"GET", b"h", path)

    assert (None if found is None else found.name.partition("(")[0]) == expected


def test_methods_hosts_and_head() -> None:
    matcher = RouteMatcher(
        [
            route("/a", methods=(b"GET",)),
            route("/a", methods=(b"POST",)),
            route("/a", hosts=(b"api.example",)),
            route("/{x}", methods=(b"DELETE",)),
        ]
    )

    assert matcher.match(b"HEAD", b"", b"/a") is matcher.match(b"GET", b"", b"/a")
    own = matcher.match(b"GET", b"API.example:8080", b"/a")
    assert own is not None
    assert own.hosts == {b"api.example"}
    assert matcher.match(b"DELETE", b"", b"/a") is not None
    assert matcher.match(b"PATCH", b"", b"/a") is None
    assert matcher.allowed_methods(b"", b"/a") == {b"GET", b"HEAD", b"POST", b"DELETE"}
    assert matcher.allowed_methods(b"", b"/a/b") == frozenset()
    assert without_port(b"[::1]:80") == b"[::1]"


@pytest.mark.parametrize("order", [("GET", "HEAD"), ("HEAD", "GET")])
def test_route_that_names_head_beats_one_that_implies_it(order: tuple[str, str]) -> None:
    matcher = RouteMatcher([route("/a", methods=(method.encode(),)) for method in order])

    for method in (b"GET", b"HEAD"):
        found = matcher.match(method, b"", b"/a")
        assert found is not None
        assert found.methods == {method}


def test_host_with_the_final_dot_is_the_same_host() -> None:
    """``api.example.`` is the full name of ``api.example``: no way around its routes."""
    matcher = RouteMatcher([route("/a", hosts=(b"api.example",)), route("/a")])

    for host in (b"api.example.", b"API.example.:80"):
        found = matcher.match(b"GET", host, b"/a")
        assert found is not None
        assert found.hosts == {b"api.example"}


def weight(template: Route) -> tuple[bool, tuple[int, ...]]:
    """Return how specific a template is: its host, then segment by segment."""
    return not template.hosts, tuple(
        2 if segment.is_rest else 1 if segment.literal is None else 0 for segment in template.path
    )


def takes(template: Route, path: bytes) -> bool:
    """Match by walking along: the reference."""
    parts = path[1:].split(b"/")
    for place, segment in enumerate(template.path):
        if segment.is_rest:
            return True
        if place >= len(parts) or (segment.literal is None and not parts[place]):
            return False
        if segment.literal is not None and segment.literal != parts[place]:
            return False
    return len(parts) == len(template.path)


segment = st.sampled_from(["a", "b", "{x}"])
templates = st.lists(
    st.tuples(
        st.lists(segment, min_size=1, max_size=3),
        st.booleans(),
        st.sampled_from([(), (b"h",), (b"h", b"i")]),
        st.sets(st.sampled_from([b"GET", b"HEAD", b"POST"]), min_size=1).map(tuple),
    ),
    min_size=1,
    max_size=8,
)
Template = tuple[list[str], bool, tuple[bytes, ...], tuple[bytes, ...]]


def linear_search(routes: list[Route], method: bytes, host: bytes, path: bytes) -> Route | None:
    """Return the first of the most specific routes: the reference."""
    fitting = [r for r in routes if takes(r, path) and (not r.hosts or host in r.hosts)]
    for candidate in sorted(fitting, key=weight):
        equals = [r for r in fitting if weight(r) == weight(candidate)]
        named = [r for r in equals if method in r.methods]
        implied = [r for r in equals if method == b"HEAD" and b"GET" in r.methods]
        if named or implied:
            return (named or implied)[0]
    return None


@given(
    templates,
    st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT"]),
    st.sampled_from([b"h", b"H:80", b"i", b"j"]),
    st.lists(st.sampled_from([b"a", b"b", b"c", b""]), min_size=1, max_size=4),
)
def test_tree_agrees_with_a_linear_search(
    chosen: list[Template], method: bytes, host: bytes, parts: list[bytes]
) -> None:
    routes = [
        route("/" + "/".join([*path, "**"] if rest else path), hosts=hosts, methods=methods)
        for path, rest, hosts, methods in chosen
    ]
    path = b"/" + b"/".join(parts)
    matcher = RouteMatcher(routes)

    expected = linear_search(routes, method, without_port(host), path)

    assert matcher.match(method, host, path) is expected
    assert (method in matcher.allowed_methods(host, path)) == (expected is not None)


def test_five_thousand_routes_are_found_in_one_step() -> None:
    routes = [route(f"/v1/things{n}") for n in range(5000)]
    matcher = RouteMatcher(routes)

    assert matcher.match(b"GET", b"", b"/v1/things4999") is routes[4999]
    assert len(list(matcher._any_host.places(b"/v1/things4999"))) == 1


def test_paths_with_parameters_are_found_along_one_branch() -> None:
    routes = [route(f"/v1/things{n}/{{id}}") for n in range(5000)]
    matcher = RouteMatcher(routes)

    assert matcher.match(b"GET", b"", b"/v1/things4999/7") is routes[4999]
    assert len(list(matcher._any_host.places(b"/v1/things4999/7"))) == 1
