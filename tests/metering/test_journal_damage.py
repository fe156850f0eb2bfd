"""What is wrong is told in the log, and counted."""

from structlog.testing import capture_logs

from gateway.metering.journal_damage import Damage, Damages, notices
from gateway.telemetry.metrics import Stats


def test_each_kind_has_an_event_and_says_what_to_do() -> None:
    damages = Damages("folder")
    with capture_logs() as lines:
        for kind in Damage:
            damages.tell(kind, again=False, segment=7)
            damages.tell(kind, again=False)
    assert damages.counts == {kind.value: 2 for kind in Damage}
    assert len({line["event"] for line in lines}) == len(Damage)
    assert all(line["log_level"] == "error" and line["hint"] for line in lines)
    assert not damages.needs_again
    damages.tell(Damage.CHECKPOINT)
    assert damages.needs_again


def test_it_counts_on() -> None:
    counts = {"line": 3}
    Damages("folder", counts).tell(Damage.LINE)
    assert counts == {"line": 4}


def test_what_an_operator_must_look_at_is_noticed() -> None:
    stats = Stats()
    assert notices(stats) == []
    stats.journal.damage["line"] = 2
    stats.shipper.ledger_went_back = stats.shipper.ledger_gaps = 1
    assert notices(stats) == [
        "journal damaged: line",
        "ledger went back",
        "ledger lost more than the journal keeps",
    ]
