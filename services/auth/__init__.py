"""Who the users are: registration, login, signed access tokens and the keys to check them with."""
