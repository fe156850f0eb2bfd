"""T16: at most one write per key and hour, in bounded memory."""

from gateway.keys.last_used import HOUR_MICRO, LastUsed

NOON = 10 * HOUR_MICRO


def test_t16_use_is_due_once_an_hour() -> None:
    used = LastUsed()
    used.note("k", NOON)
    used.note("k", NOON + 5)

    assert used.due(NOON + 10) == {"k": NOON + 5}
    used.note("k", NOON + 20)
    assert used.due(NOON + 30) == {}
    used.note("k", NOON + 5 + HOUR_MICRO)
    assert used.due(NOON + HOUR_MICRO + 10) == {"k": NOON + 5 + HOUR_MICRO}


def test_what_could_not_be_written_is_due_again() -> None:
    used = LastUsed()
    used.note("k", NOON)
    written = used.due(NOON)

    used.failed(written)

    assert used.due(NOON + 1) == {"k": NOON}


def test_memory_is_bounded() -> None:
    used = LastUsed(keys_max=10)
    for number in range(1000):
        used.note(f"k{number}", NOON)

    assert len(used.due(NOON)) == 10
