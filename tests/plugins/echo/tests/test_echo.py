"""The whole test that a backend's author has to write."""

from balance_core.testing import BackendConformance


class TestEcho(BackendConformance):
    backend = "echo"
