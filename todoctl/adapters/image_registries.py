"""What a registry, or the way to it, says when it does not take an image, in our errors.

docker, podman and buildah are all written in Go: the words of the network are Go's, those about rights are the registry's.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoctl.core.images import host_of
from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError

# What tells of progress, not of failure.
_PROGRESS = ("Copying ", "Getting image ", "Writing manifest", "The push refers to", "Storing signatures")
_SHOWN = 3

_PLAIN = ("server gave http response to https client",)
_UNTRUSTED = ("x509:", "tls: failed to verify", "certificate signed by unknown authority")
_FORBIDDEN = (
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "denied",
    "403 (forbidden)",
    "403 forbidden",
    "insufficient_scope",
    "invalid username/password",
)
_AWAY = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "network is unreachable",
    "no route to host",
    "connection reset",
    "tls handshake timeout",
    "context deadline exceeded",
    "server misbehaving",
    "temporary failure in name resolution",
    "service unavailable",
    "bad gateway",
)


def failure(builder: str, reference: str, lines: Sequence[str], *, insecure: bool) -> TodoctlError:
    """The error for an image that `builder` could not push; `lines` are its last words."""
    registry, said = host_of(reference), "\n".join(lines).lower()
    detail = tuple(line for line in lines if not line.startswith(_PROGRESS))[-_SHOWN:]
    if any(word in said for word in _PLAIN):
        return RefusedError(
            f"{registry} speaks plain HTTP: whoever is on the way could change images and read the password",
            detail=detail,
            hint=_trust(builder, registry, insecure=insecure),
        )
    if any(word in said for word in _UNTRUSTED):
        return UnhealthyError(
            f"nobody on this machine vouches for the certificate of {registry}",
            detail=detail,
            hint=f"put its authority into /etc/{'docker' if builder == 'docker' else 'containers'}/certs.d/{registry}/ca.crt",
        )
    if any(word in said for word in _FORBIDDEN):
        return MissingError(
            f"{registry} does not let you push {reference}",
            detail=detail,
            hint=f"{builder} login {registry}, as somebody who may write there",
        )
    if any(word in said for word in _AWAY):
        return UnhealthyError(
            f"the registry {registry} can't be reached",
            detail=detail,
            hint="see whether it runs and whether --registry names it right",
        )
    return TodoctlError(
        f"{builder} could not push {reference}", detail=detail, hint=f"{builder} push {reference} says more"
    )


def _trust(builder: str, registry: str, *, insecure: bool) -> str:
    if builder == "docker":
        return f'add "{registry}" to insecure-registries in the daemon\'s daemon.json, when you want that'
    return f"{builder} push says more" if insecure else "--insecure, when you want that"
