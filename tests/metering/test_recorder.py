"""Who waits for a record is told, whichever way it waits."""

import pytest

from gateway.metering.recorder import Callback, Recorder, Waiter
from tests.metering.journals import record


def test_a_function_may_wait() -> None:
    told: list[bool] = []
    waiter: Waiter = Callback(told.append)
    waiter.release(written=True)
    waiter.release(written=False)

    assert told == [True, False]


def test_a_recorder_has_to_say_what_it_does() -> None:
    with pytest.raises(NotImplementedError):
        Recorder().append(record(1), Callback(lambda _written: None))
    with pytest.raises(NotImplementedError):
        assert Recorder().is_available
