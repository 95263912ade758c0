"""The door to ezkl, and the processes that share samples."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from balance_ezkl import crew, tool, witness
from balance_ezkl.crew import Crew
from balance_ezkl.key import SettingsPart
from balance_ezkl.tool import EzklFailed, call

from balance_core.errors import ConfigError, ToolFailed, ToolNotFound


def test_failure_of_ezkl_is_a_typed_error_of_one_line(tmp_path):
    with pytest.raises(EzklFailed, match="ezkl's gen_settings failed") as failed:
        call("gen_settings", str(tmp_path / "none.onnx"), str(tmp_path / "settings.json"))
    assert "No such file" in failed.value.reason
    assert "\n" not in failed.value.message


def test_panic_of_ezkl_is_a_typed_error_too(tmp_path):
    from onnx import helper

    from .workshop import graph

    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"])
    model = graph([node], {"x": (1, 8)}, {"y": (1, 8)}, {"i": np.array([[0, 2], [0, 4]]), "u": np.zeros(2)})
    path = tmp_path / "panics.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EzklFailed, match="panicked") as failed:
        call("gen_settings", str(path), str(tmp_path / "settings.json"))
    assert failed.value.panicked


def test_interrupt_is_not_swallowed(monkeypatch):
    class Module:
        @staticmethod
        def gen_srs():
            raise KeyboardInterrupt

    monkeypatch.setattr(tool, "ezkl", lambda: Module)
    with pytest.raises(KeyboardInterrupt):
        call("gen_srs")


def test_missing_ezkl_is_named_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "ezkl", None)
    with pytest.raises(ToolNotFound, match="not installed") as missing:
        call("gen_srs")
    assert missing.value.hint == "pip install ezkl==23.0.5"


def test_installed_ezkl_is_the_release_that_circuits_name(tiny):
    from importlib.metadata import version

    assert version("ezkl") == tool.EZKL_VERSION
    assert tool.EZKL_VERSION in tiny.circuit.backend_version
    assert tiny.circuit.backend_version.startswith(version("balance-ezkl"))


def test_points_of_keys_are_always_checked(monkeypatch):
    monkeypatch.setenv("EZKL_KEY_FORMAT", "raw-bytes-unchecked")
    tool.ezkl()
    assert os.environ["EZKL_KEY_FORMAT"] == "raw-bytes"


@pytest.fixture
def compiled(tiny, tiny_bench):
    return tiny_bench.workspace.blob(tiny.circuit.proving["circuit"])


@pytest.fixture
def questions(tiny):
    part = SettingsPart.read(tiny.key.parts["settings"])
    return [
        witness.quantise_all({"x": row}, part.balance.inputs, part.input_scales, part.run_args.limit)
        for row in tiny.samples.inputs["x"]
    ]


@pytest.fixture
def several():
    with Crew(2) as started:
        started.start()
        assert started.ready(30)
        yield started


def test_shared_samples_are_answered_in_order_and_alike(several, compiled, questions):
    alone = list(Crew(1).answers(compiled, questions, len(questions)))
    assert list(several.answers(compiled, questions, len(questions))) == alone
    assert list(several.answers(compiled, questions[::-1], len(questions))) == alone[::-1]


def test_others_take_over_once_they_are_ready(monkeypatch, compiled, questions):
    monkeypatch.setattr(crew, "WORTH_IT_SECONDS", 0.0)
    with Crew(2) as starting:
        answers = starting.answers(compiled, questions, len(questions))
        first = [next(answers), next(answers)]
        assert len(starting._members) == 2
        assert starting.ready(30)
        for member in starting._members:
            member.kill()
        with pytest.raises(ToolFailed, match="ended with status -9"):
            list(answers)
    assert first == list(Crew(1).answers(compiled, questions[:2], 2))


def test_little_work_is_not_shared(compiled, questions):
    with Crew(2) as alone:
        assert len(list(alone.answers(compiled, questions[:3], 3))) == 3
        assert alone._members == []


def test_shared_samples_fail_with_the_same_errors(several, tmp_path, compiled, questions):
    beyond = [[10**6] * 4]
    with pytest.raises(ConfigError, match="out of the range"):
        list(several.answers(compiled, [*questions, beyond, *questions], 49))
    assert len(list(several.answers(compiled, questions, len(questions)))) == len(questions)
    broken = tmp_path / "broken"
    broken.write_bytes(b"no circuit")
    with pytest.raises(EzklFailed):
        list(several.answers(broken, questions, 24))


def test_a_process_that_dies_is_reported(several, compiled, questions):
    answers = several.answers(compiled, questions, len(questions))
    next(answers), next(answers)
    for member in several._members:
        member.kill()
    with pytest.raises(ToolFailed, match="ended with status -9"):
        list(answers)


def test_a_process_that_never_starts_is_reported(compiled, questions):
    with Crew(2) as broken:
        broken.start()
        for member in broken._members:
            member.kill()
        assert broken.ready(30)
        with pytest.raises(ToolFailed, match="ended with status -9"):
            list(broken.answers(compiled, questions, len(questions)))


def test_processes_end_with_the_crew(several):
    members = list(several._members)
    several.__exit__()
    assert [member.returncode is not None for member in members] == [True, True]


def test_proving_and_verifying_import_neither_onnx_nor_onnxruntime():
    code = (
        "import sys, balance_ezkl.backend, balance_ezkl.verifier, balance_ezkl.witness, balance_ezkl.crew;"
        "print([name for name in ('onnx', 'onnxruntime') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_cut_of_the_search_stops_with_the_job(tiny, bench):
    class Stopped(Exception):
        pass

    def report(*_):
        raise Stopped

    with pytest.raises(Stopped):
        bench.setup(tiny.model, tiny.samples, report=report)


def test_samples_are_taken_as_they_are_needed(several, compiled, questions):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield questions[len(taken) % len(questions)]

    answers = several.answers(compiled, endless(), 10**9)
    for _ in range(20):
        next(answers)
    answers.close()
    assert len(taken) < 40


def test_members_of_the_crew_import_little():
    code = (
        "import sys, balance_ezkl.member;"
        "print([name for name in ('numpy', 'pydantic', 'onnx', 'dataclasses') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
