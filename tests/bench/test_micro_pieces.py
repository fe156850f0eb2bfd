"""Each piece does what it is named after, so that what is timed is the work and not an error."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.micro import __main__ as command
from bench.micro.configuration import write_configuration
from bench.micro.pieces import PIECES, Piece
from bench.micro.stage import ANSWER, Stage, request
from gateway.errors import RefusalCode


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configuration(tmp_path_factory.mktemp("micro"))


@pytest.fixture
def stage(configuration: Path, tmp_path: Path) -> Iterator[Stage]:
    loop = asyncio.new_event_loop()

    async def build() -> Stage:
        made = Stage(configuration, tmp_path)
        await made.fill_key_cache()
        return made

    made = loop.run_until_complete(build())
    yield made
    loop.run_until_complete(made.ports.keys.close())
    loop.close()


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
def test_piece_can_be_called_again_and_again(piece: Piece, stage: Stage) -> None:
    call = piece.prepare(stage)

    for _ in range(3):
        call()


def test_whole_request_is_charged_and_billed(stage: Stage) -> None:
    client, upstream = stage.client(), stage.add_idle_upstream()

    for _ in range(2):
        client.data_received(request(stage.roomy.secret))
        upstream.data_received(ANSWER)

    record = stage.recorder.last
    assert record is not None
    assert (record.status, record.billable, record.charged_micro) == (200, True, {"dc": 1_000_000})
    assert stage.ports.stats.store.charges == 2


def test_refusals_are_those_that_they_say(stage: Stage) -> None:
    by_name = {piece.name: piece for piece in PIECES}
    by_name["request.refused by limit"].prepare(stage)()
    assert stage.recorder.last is not None
    assert stage.recorder.last.code == RefusalCode.QUOTA_EXCEEDED.value
    assert stage.ports.stats.store.refused_locally > 0

    by_name["request.refused by key"].prepare(stage)()
    assert stage.recorder.last.code == RefusalCode.KEY_INVALID.value


def written(folder: Path, **compiled: str) -> Path:
    """Return a file as pyperf writes it: one process of two values, and one that only warmed up."""
    path = folder / "values.json"
    benchmarks = [
        {
            "metadata": {"name": name, "gateway_compiled": compiled[name]},
            "runs": [{"values": [seconds, seconds]}, {"warmups": [[1, 9.0]]}],
        }
        for name, seconds in (("a", 50e-6), ("b", 100e-6))
    ]
    path.write_text(json.dumps({"metadata": {"cpu_model_name": "one"}, "benchmarks": benchmarks}))
    return path


@pytest.mark.parametrize(("told", "expected"), [("yes", "compiled"), ("no", "sources")])
def test_values_are_read_from_what_pyperf_writes(told: str, expected: str, tmp_path: Path) -> None:
    measured, mode = command.read_values(written(tmp_path, a=told, b=told))

    assert mode == expected
    assert measured.about["cpu"] == "one"
    assert {name: found.middle for name, found in measured.figures.items()} == {"a": 1.0, "b": 2.0}


def test_half_compiled_figures_are_none(tmp_path: Path) -> None:
    with pytest.raises(command.Changed):
        command.read_values(written(tmp_path, a="no", b="yes"))
