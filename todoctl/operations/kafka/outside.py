"""The broker that an environment's own section describes: an outside one, for which nothing else is asked."""

from __future__ import annotations

from collections.abc import Mapping

from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.secrets import Secrets
from todoctl.errors import UsageError
from todoctl.settings import KafkaSettings, Settings


def configured(settings: Settings, section: KafkaSettings, environ: Mapping[str, str]) -> Broker:
    """The broker that the environment's own `kafka` section describes.

    Raises:
        UsageError: a file or a secret that it refers to is not there, or it does not say how to log in.
    """
    _require_login(settings.name, section)
    secrets = Secrets(environ, context=settings.environment.context, namespace=settings.environment.namespace)
    given = {
        "bootstrap.servers": section.bootstrap,
        "security.protocol": section.security_protocol,
        "sasl.mechanism": section.sasl_mechanism,
        "sasl.username": section.username and secrets.read(section.username, settings.base),
        "sasl.password": section.password and secrets.read(section.password, settings.base),
        "ssl.ca.location": section.ca_file and settings.file(section.ca_file),
        "ssl.certificate.location": section.certificate_file and settings.file(section.certificate_file),
        "ssl.key.location": section.key_file and settings.file(section.key_file),
    }
    return Broker({key: value for key, value in given.items() if value}, name=settings.name)


def _require_login(name: str, section: KafkaSettings) -> None:
    """librdkafka, left alone, speaks of Kerberos."""
    if not section.security_protocol.startswith("SASL"):
        return
    needed = ("sasl_mechanism", "username", "password")
    if missing := [key for key in needed if getattr(section, key) is None]:
        raise UsageError(
            f"[environments.{name}.kafka] says {section.security_protocol}, and no {' or '.join(missing)}",
            hint="add them to todoctl.toml, or say another security_protocol: SSL or PLAINTEXT; todoctl env show",
        )
