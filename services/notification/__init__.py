"""The notification service: a reminder that is due becomes one e-mail."""
