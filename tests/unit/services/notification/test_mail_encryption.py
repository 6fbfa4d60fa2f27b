"""Encryption to the mail server: its certificate is checked before anything is said, and the log-in comes after it."""

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
from tests.unit.services.notification.smtp_server import DROP, STALL, SmtpServer

_LOG_IN = {"username": "todo", "password": "a password"}


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        signed = made.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.file = folder / "authority.pem"
        self.file.write_bytes(signed.public_bytes(Encoding.PEM))

    def server(self, address: str = "127.0.0.1") -> ssl.SSLContext:
        """What a server at the address speaks TLS with."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        signed = self._builder(name, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        path = self._folder / f"{address}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(secret + signed.public_bytes(Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that nobody trusts yet."""
    return Authority(tmp_path)


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this machine trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


def server(kind: str, context: ssl.SSLContext) -> SmtpServer:
    """A mail server that encrypts from the first byte on, or when asked."""
    return SmtpServer(tls=context) if kind == "tls" else SmtpServer(starttls=context)


@pytest.mark.parametrize("kind", ["tls", "starttls"])
async def test_a_trusted_server_gets_log_in_and_mail(trusted: Authority, kind: str) -> None:
    """Its certificate is checked against the machine's authorities; nothing but the wish to encrypt is said before."""
    async with running(server(kind, trusted.server()), tls=kind, **_LOG_IN) as notifier:
        assert await notifier.deliver() == "SUCCESS"
        assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])
        assert notifier.smtp.seen["AUTH"] == 1
        said = [line.split(" ")[0] for line in notifier.smtp.plain]
        assert said == ([] if kind == "tls" else ["EHLO", "STARTTLS"])


@pytest.mark.parametrize("kind", ["tls", "starttls"])
async def test_a_server_that_nobody_vouches_for_gets_nothing(authority: Authority, kind: str) -> None:
    """Neither log-in nor mail; reminders wait."""
    async with running(server(kind, authority.server()), tls=kind, **_LOG_IN) as notifier:
        assert await notifier.deliver() == "RETRY"
        assert (notifier.mails, notifier.letters, notifier.told) == ([], [], [])
        assert {"AUTH", "MAIL"} & set(notifier.smtp.seen) == set()


@pytest.mark.parametrize("kind", ["tls", "starttls"])
async def test_a_certificate_for_another_machine_is_none(trusted: Authority, kind: str) -> None:
    """A trusted authority's word for somebody else opens nothing."""
    async with running(server(kind, trusted.server("127.0.0.2")), tls=kind, **_LOG_IN) as notifier:
        assert await notifier.deliver() == "RETRY"
        assert (notifier.mails, notifier.letters, notifier.told) == ([], [], [])
        assert {"AUTH", "MAIL"} & set(notifier.smtp.seen) == set()


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "502 5.5.1 not here", DROP, STALL])
async def test_a_server_that_refuses_to_encrypt_gets_nothing(trusted: Authority, reply: str) -> None:
    """For now or for good: it is not the mail's fault, so reminders wait, and go out once it encrypts."""
    async with running(server("starttls", trusted.server()), tls="starttls", **_LOG_IN) as notifier:
        notifier.smtp.script["STARTTLS"] = reply
        assert await notifier.deliver() == "RETRY"
        assert (notifier.mails, notifier.letters, notifier.told) == ([], [], [])
        assert {"AUTH", "MAIL"} & set(notifier.smtp.seen) == set()
        notifier.smtp.script.clear()
        assert await notifier.deliver() == "SUCCESS"
        assert len(notifier.mails) == 1


@pytest.mark.parametrize(
    ("log_ins", "said"), [("PLAIN", ["\x00todo\x00a password"]), ("LOGIN", ["todo", "a password"])]
)
async def test_it_logs_in_as_the_server_wants(trusted: Authority, log_ins: str, said: list[str]) -> None:
    """By AUTH PLAIN or AUTH LOGIN, once for all mails of a connection."""
    smtp = server("starttls", trusted.server())
    smtp.log_ins = log_ins
    async with running(smtp, tls="starttls", **_LOG_IN) as notifier:
        assert await notifier.deliver() == "SUCCESS"
        assert smtp.secrets == said
        assert len(notifier.mails) == 1
