"""A listener's files are used together or refused by the name of the one that is at fault."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.config.listener_tls import UnusableTlsFile, listener_context
from gateway.config.loaded import ListenerTls
from tests.support.redis_tls import make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture
def files(tmp_path: Path) -> ListenerTls:
    key, certificate = make_certificate(tmp_path)
    return ListenerTls(certificate, key, make_certificate(tmp_path, "ca-")[1])


def test_whole_files_make_a_context(files: ListenerTls) -> None:
    assert listener_context(files).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, "hello"])
def test_the_file_at_fault_is_named(files: ListenerTls, name: str, content: str | None) -> None:
    path: Path = getattr(files, name)
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(UnusableTlsFile, match=str(path)) as caught:
        listener_context(files)

    assert caught.value.option == f"tls_{name}"
    assert "_ssl.c" not in str(caught.value)


def test_keys_of_others_and_keys_with_passwords_are_refused(
    files: ListenerTls, tmp_path: Path
) -> None:
    other, _ = make_certificate(tmp_path, "other-")
    with pytest.raises(UnusableTlsFile, match="it is not the key of tls_certificate") as caught:
        listener_context(ListenerTls(files.certificate, other, None))
    assert caught.value.option == "tls_key"

    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", files.key, "-aes128", "-passout", "pass:x", "-out", locked],
        check=True,
        capture_output=True,
    )
    with pytest.raises(UnusableTlsFile) as caught:
        listener_context(ListenerTls(files.certificate, locked, None))
    assert caught.value.option == "tls_key"
