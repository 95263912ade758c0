from __future__ import annotations

import json
import shlex

import pytest

from balance_core import cli, registry
from balance_core.cli.advise import duration
from balance_core.compare import loading
from balance_core.compare.advice import CALIBRATED, ESTIMATED, MEASURED, Counsel, Needs, Option
from balance_core.compare.machine import describe
from balance_core.errors import ConfigError
from balance_core.provider import EXAMPLE
from tests.compare import specimens

MODEL = EXAMPLE / "mnist_mlp.onnx"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("BALANCE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def model_id():
    from balance_core.model.load import load

    return load(MODEL).model_id


def need(*backends):
    for backend in backends:
        if backend not in registry.names("backends"):
            pytest.skip(f"{backend} is not installed")


def stored(folder, model_id, *cells):
    """Keep cells as measured on this machine, of this model, by the installed versions."""
    made = []
    for one in cells:
        value = one.model_dump(mode="json")
        value["machine"] = describe().name
        value["model"]["model_id"] = model_id
        value["backend"]["version"] = registry.load("backends", one.backend.name).version
        made.append(type(one).from_value(value))
    specimens.store(folder, made)
    loading.write_record(folder / describe().name / loading.MACHINE_FILE, describe())
    return folder


def advise(capsys, *arguments):
    code = cli.invoke(["advise", str(MODEL), "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_an_unsound_backend_is_never_advised(capsys):
    _, found = advise(capsys)
    assert "integer" not in [option["backend"] for option in found["options"]]
    (dropped,) = [one for one in found["dropped"] if one["backend"] == "integer"]
    assert "not sound" in dropped["reasons"][0]


def test_properties_filter_and_say_why(capsys):
    need("ezkl", "giza_orion", "zkml_halo2")
    _, found = advise(capsys, "--needs", "post_quantum")
    assert [option["backend"] for option in found["options"]] == ["giza_orion"]
    reasons = {one["backend"]: one["reasons"] for one in found["dropped"]}
    assert "discrete logarithms" in reasons["ezkl"][0]
    code, found = advise(capsys, "--needs", "private_input,onchain")
    assert code == 4
    assert not found["options"]
    (dropped,) = [one for one in found["dropped"] if one["backend"] == "giza_orion"]
    assert len(dropped["reasons"]) == 2


def test_the_line_to_type_is_one_that_runs(capsys):
    need("ezkl")
    _, found = advise(capsys, "--needs", "onchain", "--input", "my x.npy")
    assert found["options"][0]["command"] == f"balance run {MODEL} --input 'my x.npy' --backend ezkl --chain evm"


def test_limits_rule_out_with_the_figure(capsys):
    need("giza_orion", "zkml_halo2")
    code, found = advise(capsys, "--max-memory", "1G", "--max-prove", "60s")
    assert code == 0
    assert "zkml_halo2" in [option["backend"] for option in found["options"]]
    (dropped,) = [one for one in found["dropped"] if one["backend"] == "giza_orion"]
    assert "its memory is 1." in dropped["reasons"][0]
    assert "more than 1 GiB" in dropped["reasons"][0]


def test_what_was_measured_here_comes_before_an_estimate(capsys, tmp_path, model_id):
    need("giza_orion", "zkml_halo2")
    slow = specimens.cell("mnist_mlp", "zkml_halo2", settings={"weights": "public"},
                          stages={"prove": {"samples": specimens.samples(500.0, 100)}})  # fmt: skip
    folder = stored(tmp_path, model_id, slow)
    _, found = advise(capsys, "--results", str(folder))
    (option,) = [one for one in found["options"] if one["backend"] == "zkml_halo2"]
    assert option["basis"] == MEASURED
    assert option["costs"]["prove_seconds"] == 500.0
    assert option["command"].endswith("--backend zkml_halo2 -o weights=public")
    assert found["options"][-1] == option  # the slowest is last
    assert found["options"][0]["basis"] in {ESTIMATED, CALIBRATED}


def test_a_failure_on_this_machine_is_told(capsys, tmp_path, model_id):
    need("zkml_halo2")
    failed = specimens.unfinished("mnist_mlp", "zkml_halo2", "out_of_memory", "8 GiB were not enough", "prove")
    _, found = advise(capsys, "--results", str(stored(tmp_path, model_id, failed)))
    (option,) = [one for one in found["options"] if one["backend"] == "zkml_halo2"]
    assert any("8 GiB were not enough" in note for note in option["notes"])


def test_what_was_measured_in_the_open_says_nothing_of_hiding(capsys, tmp_path, model_id):
    need("zkml_halo2")
    open_one = specimens.cell("mnist_mlp", "zkml_halo2", settings={"weights": "public"})
    hidden = specimens.cell("mnist_mlp", "zkml_halo2", hidden=["weights"])
    for cell, basis in ((open_one, ESTIMATED), (hidden, MEASURED)):
        folder = stored(tmp_path / basis.replace(" ", ""), model_id, cell)
        _, found = advise(capsys, "--results", str(folder), "--needs", "private_weights")
        (option,) = [one for one in found["options"] if one["backend"] == "zkml_halo2"]
        assert option["basis"] == basis


def test_settings_of_strange_results_are_safe_to_type(capsys, tmp_path, model_id):
    need("zkml_halo2")
    strange = specimens.cell("mnist_mlp", "zkml_halo2", settings={"a": "$(touch owned); `id`"})
    _, found = advise(capsys, "--results", str(stored(tmp_path, model_id, strange)))
    (option,) = [one for one in found["options"] if one["backend"] == "zkml_halo2"]
    assert shlex.split(option["command"])[-1] == "a=$(touch owned); `id`"


def test_results_of_another_model_say_nothing(capsys, tmp_path):
    need("zkml_halo2")
    folder = stored(tmp_path, "0" * 64, specimens.cell("mnist_mlp", "zkml_halo2"))
    _, found = advise(capsys, "--results", str(folder))
    assert all(option["basis"] != MEASURED for option in found["options"])


def test_operators_that_are_not_covered_rule_out(tmp_path, capsys):
    from balance_core.testing.models import kit_models

    path = tmp_path / "strange.onnx"
    path.write_bytes(kit_models().unsupported.proto().SerializeToString())
    assert cli.invoke(["advise", str(path), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert not found["options"]


def test_a_model_that_cannot_be_read_is_an_error(tmp_path, capsys):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x00garbage")
    assert cli.invoke(["advise", str(path)]) == 2
    assert "error:" in capsys.readouterr().err


def test_an_unknown_property_is_an_error_that_lists_the_known(capsys):
    assert cli.invoke(["advise", str(MODEL), "--needs", "quantum"]) == 2
    assert "post_quantum" in capsys.readouterr().err


def test_options_without_known_costs_come_last():
    known = Option("a", "", ESTIMATED, {"prove_seconds": 9.0})
    unknown = Option("b", "", ESTIMATED, {})
    assert sorted([unknown, known], key=lambda option: option.rank) == [known, unknown]


def test_a_cost_that_is_not_known_is_not_taken_for_none():
    judged = Counsel(MODEL, Needs(prove_seconds=1.0))._judged(Option("b", "", ESTIMATED, {}))
    assert judged.notes == ("a proof is not known",)


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("500ms", 0.5), ("2 min", 120), ("1h", 3600), ("7", 7)])
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-3s", "0s", "1e999", "ten", "1" * 40, "3 fortnights"])
def test_what_is_no_duration(text):
    with pytest.raises(ConfigError):
        duration(text)
