"""Certificates of the listener: whole pairs only, renewed without a restart."""

import asyncio
import shutil
import socket
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.loaded import ListenerTls
from gateway.errors import GatewayError
from gateway.process.tls import LOOK_SECONDS, ListenerCertificate
from tests.support.redis_tls import make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def files_in(folder: Path, prefix: str = "", *, client_ca: Path | None = None) -> ListenerTls:
    key, certificate = make_certificate(folder, prefix)
    return ListenerTls(certificate, key, client_ca)


def shown_by(context: ssl.SSLContext) -> str:
    """Return the certificate that a handshake gets, PEM."""
    ours, theirs = socket.socketpair()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(outgoing, incoming, server_side=True)
    client = asking.wrap_bio(incoming, outgoing)
    ours.close()
    theirs.close()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der)


def test_a_renewed_pair_is_in_force_for_new_handshakes(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    served = ListenerCertificate(files)
    old = files.certificate.read_text()
    assert shown_by(served.context) == old
    assert not served.renew()
    newer = files_in(tmp_path, "new-")
    newer.key.replace(files.key)
    newer.certificate.replace(files.certificate)
    with capture_logs() as lines:
        assert served.renew()
    assert shown_by(served.context) == files.certificate.read_text() != old
    assert [line["event"] for line in lines] == ["tls.certificate_renewed"]


def test_half_a_renewal_is_refused_and_the_old_pair_stays(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    served = ListenerCertificate(files)
    old = files.certificate.read_text()
    newer = files_in(tmp_path, "new-")
    shutil.copy(newer.certificate, files.certificate)  # its key has not been written yet
    with capture_logs() as lines:
        assert not served.renew()
    assert shown_by(served.context) == old
    assert [line["event"] for line in lines] == ["tls.certificate_refused"]
    files.key.unlink()
    assert not served.renew()
    assert shown_by(served.context) == old
    shutil.copy(newer.key, files.key)
    assert served.renew()
    assert shown_by(served.context) == newer.certificate.read_text()


async def test_files_are_looked_at_now_and_then(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    served = ListenerCertificate(files)
    newer = files_in(tmp_path, "new-")
    shutil.copy(newer.key, files.key)
    shutil.copy(newer.certificate, files.certificate)
    looks: list[float] = []

    async def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await served.watch(wait)
    assert looks == [LOOK_SECONDS] * 2
    assert shown_by(served.context) == newer.certificate.read_text()


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("how", ["missing", "no PEM"])
def test_files_that_can_not_be_used_are_told_by_name(tmp_path: Path, broken: str, how: str) -> None:
    authorities = tmp_path / "ca.pem"
    shutil.copy(make_certificate(tmp_path, "ca-")[1], authorities)
    files = files_in(tmp_path, client_ca=authorities)
    path: Path = getattr(files, broken)
    path.unlink()
    if how == "no PEM":
        path.write_text("hello")
    with pytest.raises(GatewayError) as caught:
        ListenerCertificate(files)
    assert caught.value.code == "tls.unusable"
    assert str(tmp_path) in caught.value.message


def test_a_key_that_others_can_read_is_told(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    for mode, events in ((0o600, []), (0o644, ["tls.key_readable"])):
        files.key.chmod(mode)
        with capture_logs() as lines:
            ListenerCertificate(files)
        assert [line["event"] for line in lines] == events


def test_only_what_is_safe_is_spoken(tmp_path: Path) -> None:
    """RFC 8996: nothing older than TLS 1.2."""
    context = ListenerCertificate(files_in(tmp_path)).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    files = files_in(tmp_path, "b-", client_ca=make_certificate(tmp_path, "ca-")[1])
    assert ListenerCertificate(files).context.verify_mode is ssl.CERT_REQUIRED
