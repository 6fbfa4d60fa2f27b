"""What auth's requests and answers look like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from services.auth.handlers import normalise_email
from services.auth.models import User
from services.common.numbers import AS_JSON
from todoctl.core.recurrence import zone


def _known_zone(name: str) -> str:
    return zone(name).key


def _encodable(password: SecretStr) -> SecretStr:
    try:
        password.get_secret_value().encode()
    except UnicodeEncodeError as error:
        raise ValueError("not valid text") from error
    return password


Email = Annotated[
    str,
    Field(max_length=300, json_schema_extra={"format": "email", "examples": ["ann@example.org"]}),
    AfterValidator(normalise_email),
]
_ZONE = {"format": "iana-time-zone", "examples": ["Europe/Berlin", "UTC"]}
Zone = Annotated[str, Field(max_length=64, json_schema_extra=_ZONE), AfterValidator(_known_zone)]
Password = Annotated[SecretStr, Field(max_length=256), AfterValidator(_encodable)]
Role = Literal["user", "operator"]
UserId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class _Request(BaseModel):
    # A field that we don't know is a mistake, or an attempt to set what is not the client's to set.
    model_config = ConfigDict(extra="forbid")


class Registration(_Request):
    """A new account."""

    email: Email
    password: Annotated[Password, Field(min_length=8)]
    zone: Zone = "UTC"


class Login(_Request):
    """The proof of being somebody; a password of an odd length is wrong, not malformed."""

    email: Email
    password: Password


class RoleChange(_Request):
    """The role that a user gets."""

    role: Role


class Account(BaseModel):
    """What a user may know about itself."""

    id: int
    email: str
    zone: str

    @classmethod
    def of(cls, user: User) -> Account:
        """The account of `user`."""
        return cls(id=user.id, email=user.email, zone=user.zone)


class UserDetails(Account):
    """What other services may know about a user."""

    role: str

    @classmethod
    def of(cls, user: User) -> UserDetails:
        """The details of `user`."""
        return cls(id=user.id, email=user.email, zone=user.zone, role=user.role)


class UserIds(_Request):
    """Users to look up at once."""

    ids: list[Annotated[UserId, AS_JSON]] = Field(max_length=500)


class FoundUsers(BaseModel):
    """Those of the users that there are."""

    users: list[UserDetails]


class AccessToken(BaseModel):
    """The answer to a login (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_in: int
