"""What the tests of the service share."""

from __future__ import annotations

import pytest

from tests.service.auditing import data_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A data folder of the module's own."""
    with data_folder(tmp_path_factory.mktemp("home")) as folder:
        yield folder
