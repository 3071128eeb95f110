"""Registers the fixtures, one module a subject, and how hypothesis behaves on machines that are busy or slow."""

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "fixtures.clock",
    "fixtures.postgres",
    "fixtures.sandbox",
    "fixtures.daemon",
    "fixtures.mail",
    "fixtures.site",
]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
