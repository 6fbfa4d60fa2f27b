"""todoctl's own account on the platform: an operator, made when it is first needed."""

from __future__ import annotations

from todoctl.adapters import accounts
from todoctl.adapters.api import Api, ApiError
from todoctl.core.site import Login
from todoctl.errors import UnhealthyError
from todoctl.operations.local import state
from todoctl.operations.local.state import State


def log_in(api: Api, recorded: State) -> str:
    """Have `api` speak as an operator from now on; gives the account's address.

    The address is random and its password lies only in the environment's secrets: whoever registered it first was us.

    Raises:
        UnhealthyError: the environment was brought up before there was such an account.
        TodoctlError: auth did not answer, or refused.
    """
    login = recorded.secrets.operator
    if login is None:
        raise UnhealthyError(
            "the environment was brought up by an older todoctl, without an operator", hint="todoctl up"
        )
    _enter(api, login)
    if api.me()["role"] != "operator":
        accounts.set_role(state.addresses(recorded).auth, recorded.secrets.app_token, login.email, "operator")
        # A token says what its user was when it was made.
        api.log_in(login.email, login.password)
    return login.email


def _enter(api: Api, login: Login) -> None:
    try:
        api.log_in(login.email, login.password)
    except ApiError as error:
        if error.status != 401:
            raise
        api.register(login.email, login.password)
        api.log_in(login.email, login.password)
