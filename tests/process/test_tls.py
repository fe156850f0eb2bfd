"""Certificates of the listener: whole pairs only, renewed without a restart."""

import asyncio
import os
import shutil
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.loaded import ListenerTls
from gateway.errors import GatewayError
from gateway.process.tls import LOOK_SECONDS, ListenerCertificate
from gateway.telemetry.metrics import WorkerStats
from tests.support.redis_tls import make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def files_in(
    folder: Path, prefix: str = "", *, client_ca: Path | None = None, kind: str = "ec"
) -> ListenerTls:
    key, certificate = make_certificate(folder, prefix, kind=kind)
    return ListenerTls(certificate, key, client_ca)


def shown_by(
    context: ssl.SSLContext, ciphers: str = "", client: tuple[Path, Path] | None = None
) -> str:
    """Return the certificate that a handshake gets, PEM.

    Args:
        context: The listener's.
        ciphers: What the client takes, with TLS 1.2; empty for anything.
        client: Certificate and key that it shows.
    """
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    if ciphers:
        asking.maximum_version = ssl.TLSVersion.TLSv1_2
        asking.set_ciphers(ciphers)
    if client is not None:
        asking.load_cert_chain(*client)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(outgoing, incoming, server_side=True)
    caller = asking.wrap_bio(incoming, outgoing)
    for _ in range(10):
        for side in (caller, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    der = caller.getpeercert(binary_form=True)
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


@pytest.mark.parametrize("kinds", [("ec", "rsa"), ("rsa", "ec")])
def test_a_renewed_pair_of_another_kind_takes_the_place_of_the_old(
    tmp_path: Path, kinds: tuple[str, str]
) -> None:
    """Certbot changed from RSA to ECDSA: nobody must get the old certificate any more."""
    files = files_in(tmp_path, kind=kinds[0])
    served = ListenerCertificate(files)
    make_certificate(tmp_path, kind=kinds[1])

    assert served.renew()

    for ciphers in ("ECDHE+AESGCM", f"ECDHE+a{'RSA' if kinds[1] == 'rsa' else 'ECDSA'}+AESGCM"):
        assert shown_by(served.context, ciphers) == files.certificate.read_text()
    old = f"ECDHE+a{'RSA' if kinds[0] == 'rsa' else 'ECDSA'}+AESGCM"
    with pytest.raises(ssl.SSLError):
        shown_by(served.context, old)


def test_files_that_change_while_they_are_read_leave_no_half_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_in(tmp_path)
    served = ListenerCertificate(files)
    make_certificate(tmp_path)
    made = served._made

    def changed_behind() -> ssl.SSLContext:
        context = made()
        files.key.write_text(make_certificate(tmp_path, "late-")[0].read_text())
        return context

    monkeypatch.setattr(served, "_made", changed_behind)
    assert served.renew()
    assert shown_by(served.context) == files.certificate.read_text()


def test_renewed_authorities_of_clients_are_in_force(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    key, old = make_certificate(tmp_path, "old-")
    new_key, new = make_certificate(tmp_path, "new-")
    shutil.copy(old, authorities)
    served = ListenerCertificate(files_in(tmp_path, client_ca=authorities))
    shown_by(served.context, client=(old, key))
    with pytest.raises(ssl.SSLError):
        shown_by(served.context, client=(new, new_key))

    shutil.copy(new, authorities)
    assert served.renew()

    shown_by(served.context, client=(new, new_key))
    with pytest.raises(ssl.SSLError):
        shown_by(served.context, client=(old, key))


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


def test_files_go_by_content_and_not_by_their_times(tmp_path: Path) -> None:
    """Written in place, time put back: a renewal tool on a coarse clock, or `cp -p`."""
    files = files_in(tmp_path)
    served = ListenerCertificate(files)
    newer = files_in(tmp_path, "new-")
    for old, new in ((files.certificate, newer.certificate), (files.key, newer.key)):
        before = old.stat()
        with old.open("r+b") as file:
            file.write(new.read_bytes())
            file.truncate()
        os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert old.stat().st_ino == before.st_ino

    assert served.renew()
    assert shown_by(served.context) == newer.certificate.read_text()


def test_half_a_pair_is_told_once_and_its_return_as_well(tmp_path: Path) -> None:
    files, stats = files_in(tmp_path), WorkerStats()
    served = ListenerCertificate(files, stats)
    old = files.certificate.read_bytes()
    newer = files_in(tmp_path, "new-")
    with capture_logs() as lines:
        shutil.copy(newer.certificate, files.certificate)
        for _ in range(3):
            assert not served.renew()
        assert served.is_refused
        assert stats.certificate_refused == 1
        files.certificate.write_bytes(old)
        assert not served.renew()
    assert (served.is_refused, stats.certificate_refused) == (False, 0)
    assert [line["event"] for line in lines] == [
        "tls.certificate_refused", "tls.certificate_restored",
    ]  # fmt: skip


def test_a_swapped_link_is_another_pair(tmp_path: Path) -> None:
    """A secret of Kubernetes: the files themselves are never written."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files_in(tmp_path / name)
    names = [path.name for path in sorted((tmp_path / "one").glob("*.pem"))]
    (tmp_path / "..data").symlink_to("one")
    certificate = next(name for name in names if "cert" in name)
    key = next(name for name in names if "key" in name)
    served = ListenerCertificate(
        ListenerTls(tmp_path / "..data" / certificate, tmp_path / "..data" / key, None)
    )
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")

    assert served.renew()
    assert shown_by(served.context) == (tmp_path / "two" / certificate).read_text()
