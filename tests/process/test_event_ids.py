"""X6: the identity of a record, which a ledger knows it by."""

from uuid import RFC_4122, UUID

from gateway.process.event_ids import new_event_id


def test_ids_are_uuids_of_version_7_that_sort_as_they_were_made() -> None:
    made = [new_event_id() for _ in range(1000)]

    assert {(UUID(one).version, UUID(one).variant) for one in made} == {(7, RFC_4122)}
    assert sorted(set(made)) == made
