"""The images of the platform: which there are, what they are called, what each is built with, and what values say of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from todoctl.core.values import Values

# Built beside the services: the Job that migrates, and the mail server for development.
MIGRATIONS = "migrations"
MAIL_SINK = "mailsink"
CONTENT = "src-"  # begins the tag that is made of an image's sources
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


def host_of(name: str) -> str:
    """The registry that an image's name begins with, such as `registry.example.org:5000`; "" where it names none."""
    first, slash, _ = name.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else ""


def is_on_this_machine(registry: str) -> bool:
    """Whether a registry is reached without leaving this machine."""
    host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def values_of_digests(registry: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Values by which a release takes images by digest from a registry."""
    return {"kubernetes": {"images": {"registry": registry, "digests": dict(digests)}}}


def values_of_tag(registry: str, tag: str) -> dict[str, Any]:
    """Values by which a release takes images by a tag."""
    return {"kubernetes": {"images": {"registry": registry, "tag": tag}}}


def names_content(image: str) -> bool:
    """Whether a name can mean one content only: by digest, or by the tag that is made of what an image is built of."""
    return "@sha256:" in image or image.rpartition(":")[2].startswith(CONTENT)
