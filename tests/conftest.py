"""Registers the fixtures, one module a subject."""

pytest_plugins = ["fixtures.clock", "fixtures.postgres", "fixtures.sandbox", "fixtures.daemon"]
