from __future__ import annotations

import pytest
from pydantic import Field

from balance_core.errors import ConfigError
from balance_core.settings import Settings, read_options


class Mine(Settings):
    scale: int = Field(7, ge=1, description="the scale")
    name: str = Field("a", description="a name")


def test_options_go_to_their_owner_with_their_type():
    assert read_options(
        ["k=17", "chain.rpc_url=http://x", "flag=true", "text=abc", "list=[1,2]", "storage.a.b=1"]
    ) == {
        "backend": {"k": 17, "flag": True, "text": "abc", "list": [1, 2]},
        "chain": {"rpc_url": "http://x"},
        "storage.a": {"b": 1},
    }


@pytest.mark.parametrize("option", ["k", "=1", ".k=1", "chain.=1"])
def test_an_option_of_another_form_is_refused(option):
    with pytest.raises(ConfigError, match="key=value"):
        read_options([option])


def test_an_option_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        read_options(["k=1", "k=1"])


def test_a_misspelt_setting_gets_a_suggestion():
    with pytest.raises(ConfigError, match="no setting 'scal'") as caught:
        Mine.parse({"scal": 1}, owner="mine")
    assert caught.value.hint == "did you mean 'scale'?"


def test_a_wrong_value_names_setting_and_reason():
    with pytest.raises(ConfigError, match=r"mine: setting scale: .*greater than or equal to 1"):
        Mine.parse({"scale": 0}, owner="mine")
