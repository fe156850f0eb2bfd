"""Certificates for TLS, made by the openssl program."""

import subprocess
from pathlib import Path


def make_certificate(
    folder: Path,
    prefix: str = "",
    names: str = "DNS:localhost,IP:127.0.0.1",
    kind: str = "ec",
) -> tuple[Path, Path]:
    """Write a key and a certificate of its own authority, for ``localhost``; return both paths."""
    option = "rsa_keygen_bits:2048" if kind == "rsa" else "ec_paramgen_curve:prime256v1"
    key, certificate = folder / f"{prefix}key.pem", folder / f"{prefix}certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", kind, "-pkeyopt", option,
            "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", f"subjectAltName={names}",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return key, certificate
