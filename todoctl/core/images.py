"""The images of the platform: which there are, what they are called, and what each is built with."""

from __future__ import annotations

from dataclasses import dataclass

from todoctl.core.values import Values

# Built beside the services: the Job that migrates, and the mail server for development.
MIGRATIONS = "migrations"
MAIL_SINK = "mailsink"
_PORTS = {MIGRATIONS: 0, MAIL_SINK: 1025}


@dataclass(frozen=True)
class Image:
    """One image: the service in it, its name without a tag, and the port that it says it listens on, if any."""

    service: str
    name: str
    port: int

    def reference(self, tag: str) -> str:
        """The name with a tag."""
        return f"{self.name}:{tag}"


def images(values: Values, *, registry: str | None = None) -> dict[str, Image]:
    """Service → its image, named as the chart's pods ask for it; `registry` stands in the place of the values' own.

    Raises:
        ValueError: the values have no part for clusters.
    """
    if values.kubernetes is None:
        raise ValueError("the values have no kubernetes section, which names the images")
    settings = values.kubernetes.images
    home = settings.registry if registry is None else registry
    start = f"{home.rstrip('/')}/{settings.prefix}" if home else settings.prefix
    ports = {name: service.port for name, service in values.services.items()} | _PORTS
    return {name: Image(name, f"{start}{name}", port) for name, port in ports.items()}
