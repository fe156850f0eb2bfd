"""What the conformance suites are held to is whole, explained and told; they run elsewhere."""

from conformance.differential.corpus import CORPUS
from conformance.differential.observation import Observation
from conformance.differential.suite import ASPECTS, difference, explained
from conformance.report import PAGE, page
from conformance.varnish_suite import SCRIPTS, title_of


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CORPUS]

    assert len(names) >= 150
    assert len(set(names)) == len(names)


def test_every_difference_belongs_to_a_class_that_says_why() -> None:
    table = explained()

    assert {entry["class"] for entry in table.cases.values()} == set(table.classes)
    assert all(len(why) > 40 for why in table.classes.values())


def test_every_explained_case_is_in_the_corpus_and_differs() -> None:
    table = explained()

    assert set(table.cases) <= {case.name for case in CORPUS}
    for name, entry in table.cases.items():
        pairs = [entry[aspect] for aspect in ASPECTS if aspect in entry]
        assert pairs, name
        assert all(theirs != ours for theirs, ours in pairs), name


def test_only_what_differs_is_told_nginx_first() -> None:
    theirs = Observation("200", "kept", "GET / HTTP/1.1")
    ours = Observation("400", "kept", "nothing")

    found = difference(theirs, ours)

    assert found == {"answer": ["200", "400"], "upstream": ["GET / HTTP/1.1", "nothing"]}


def test_every_script_says_what_it_proves() -> None:
    titles = [title_of(script) for script in SCRIPTS.glob("*.vtc")]

    assert len(titles) >= 20
    assert len(set(titles)) == len(titles)


def test_the_page_tells_what_the_suites_are_held_to() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert page(text) == text, "python -m conformance.report"
