"""Encryption to the mail server: its certificate is checked before anything is said."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.unit.services.notification.notifier import running
from tests.unit.services.notification.smtp_server import SmtpServer


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for this machine with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


def server(certificate: Path) -> SmtpServer:
    """A mail server that speaks TLS from the first byte, with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return SmtpServer(tls=context)


async def test_a_trusted_server_gets_log_in_and_mail(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate is checked against the machine's authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with running(server(certificate), tls="tls", username="todo", password="a password") as notifier:
        assert await notifier.deliver() == "SUCCESS"
        assert len(notifier.mails) == 1
        assert notifier.smtp.seen["AUTH"] == 1


async def test_a_server_that_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    """Neither log-in nor mail; reminders wait."""
    async with running(server(certificate), tls="tls", username="todo", password="a password") as notifier:
        assert await notifier.deliver() == "RETRY"
        assert (notifier.mails, notifier.letters, notifier.told) == ([], [], [])
        assert notifier.smtp.commands == []
