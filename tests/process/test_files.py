"""What is refused on disk is named; all files are read again when an operator asks."""

import shutil
from pathlib import Path

import pytest

from gateway.config.loaded import ListenerTls
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.process.files import FilesOnDisk
from gateway.process.reload import Reloader
from gateway.process.tls import ListenerCertificate
from gateway.telemetry.metrics import DirectoryStats, WorkerStats
from tests.process.configurations import loaded_in
from tests.support.redis_tls import make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
KEYS = "version: 1\nworkspaces: [{id: acme, plan: STARTER}]\n"


async def test_all_that_is_refused_is_named_until_it_is_restored(tmp_path: Path) -> None:
    stats = WorkerStats()
    keys, config = tmp_path / "keys.yaml", tmp_path / "gateway.yaml"
    keys.write_text(KEYS)
    key, certificate = make_certificate(tmp_path)
    directory = YamlKeyDirectory(keys, stats=DirectoryStats())
    await directory.start()
    files = FilesOnDisk(
        Reloader(loaded_in(tmp_path), {}, lambda _: None, stats),
        directory,
        ListenerCertificate(ListenerTls(certificate, key, None), stats),
    )
    assert files.notices() == []
    good = {path: path.read_bytes() for path in (keys, config, key)}

    for path in good:
        path.write_text("version: [")
    await files.read_again()
    await files.read_again()  # what is written is taken by the second look that finds it
    assert files.notices() == [
        "configuration on disk refused",
        "keys on disk refused",
        "certificate on disk refused",
    ]
    assert (stats.reload_refused, stats.certificate_refused) == (1, 1)

    for path, content in good.items():
        path.write_bytes(content)
    await files.read_again()
    assert files.notices() == []
    assert (stats.reload_refused, stats.certificate_refused) == (0, 0)
    await directory.close()
