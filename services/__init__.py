"""The reference services that todoctl operates."""
