"""The commands `ask`, `audit` and `receipt`, against a provider that really serves, proves and publishes."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

pytest.importorskip("fastapi", reason="the extra `service` is not installed")
pytest.importorskip("matplotlib", reason="the extra `audit` is not installed")

import httpx

from balance_core.cli import invoke
from balance_core.service import Provider, listening
from balance_core.service.audit.file import AuditFile
from balance_core.service.audit.metrics import Metric
from balance_core.service.audit.plot import as_svg
from balance_core.service.audit.records import Interval
from balance_core.service.audit.report import as_text, headline
from balance_core.testing import models
from balance_core.workspace import Workspace
from tests.service.auditing import checked

COUNT = 8


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("BALANCE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    inputs = random.standard_normal((COUNT, 4)).astype(np.float32)
    onnx.save(models.mlp(seed=1), folder / "model.onnx")
    np.save(folder / "x.npy", inputs)
    np.savez(folder / "test.npz", x=inputs, y=random.integers(0, 3, COUNT))
    return folder


@pytest.fixture(scope="module")
def url(home, files):
    assert home.is_dir()
    provider = Provider(files / "model.onnx", samples=files / "x.npy", backend="integer", name="tiny")
    with provider, listening(provider) as url:
        yield url


def test_ask_and_check_the_receipt(url, files, tmp_path, capsys):
    receipt, bundle = tmp_path / "receipt.json", tmp_path / "proof.balance"
    arguments = ["ask", url, "--input", str(files / "x.npy"), "--index", "3", "--proof", "now"]
    assert invoke([*arguments, "--receipt", str(receipt), "--bundle", str(bundle)]) == 0
    out = capsys.readouterr().out
    assert "accepted, which proves nothing" in out
    assert "ledger" in next(line for line in out.splitlines() if line.startswith("vouched for by"))
    assert invoke(["receipt", "check", str(receipt), "--bundle", str(bundle)]) == 0
    assert "true: the proof shows the same" in capsys.readouterr().out
    assert invoke(["receipt", "list"]) == 0
    assert json.loads(receipt.read_bytes())["receipt"]["nonce"]
    assert len(capsys.readouterr().out.splitlines()) >= 1


def test_ask_says_what_is_wrong_with_its_arguments(url, files, capsys):
    given = ["ask", url, "--input", str(files / "x.npy")]
    for arguments in (
        ["ask", url],
        [*given, "--proof", "maybe"],
        [*given, "--index", "99"],
        [*given, "--bundle", "b"],
    ):
        assert invoke(arguments) == 2
    assert capsys.readouterr().err.count("error:") == 4


@pytest.mark.parametrize("how", [["--sample", "3"], ["--all"]])
def test_audit_and_verify_offline(url, files, tmp_path, capsys, how):
    out = tmp_path / "report"
    arguments = ["audit", url, "--input", str(files / "test.npz"), "-o", str(out), *how]
    assert invoke([*arguments, "--publish", "--storage", "local"]) == 0
    said = capsys.readouterr().out
    assert "published    ipfs://b" in said
    file = AuditFile.read(tmp_path / "report.audit")
    assert checked(file) == file.report
    assert not file.report.caught
    assert file.report.drawn == (3 if "--sample" in how else COUNT)
    assert (tmp_path / "report.md").read_text().startswith("# Audit")
    assert (tmp_path / "report.svg").read_text().startswith("<?xml")
    assert (
        invoke(["audit", "verify", str(tmp_path / "report.audit"), "--ledger", str(Workspace.default().ledger)]) == 0
    )
    assert "that the consumer countersigned" in capsys.readouterr().out
    assert invoke(["audit", "verify", str(tmp_path / "report.audit"), "-r", "ab" * 32]) == 1


def test_how_an_audit_stands_is_sent_again_only_where_it_changed(url, files, tmp_path):
    arguments = ["audit", url, "--input", str(files / "test.npz"), "-o", str(tmp_path / "report"), "--sample", "2"]
    assert invoke(arguments) == 0
    audit_id = AuditFile.read(tmp_path / "report.audit").evidence.acceptance.acceptance.audit_id
    address = f"{url}/v1/audits/{audit_id}"
    first = httpx.get(address)
    assert [job["state"] for job in first.json()["drawn"]] == ["published", "published"]
    same = httpx.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert httpx.get(address, headers={"If-None-Match": 'W/"1-1-1"'}).content == first.content


def test_an_altered_audit_fails_the_command(url, files, tmp_path, capsys):
    out = tmp_path / "report"
    assert invoke(["audit", url, "--input", str(files / "test.npz"), "--sample", "2", "-o", str(out)]) == 0
    file = AuditFile.read(tmp_path / "report.audit")
    AuditFile(file.evidence, file.report.model_copy(update={"right": COUNT})).write(tmp_path / "forged.audit")
    assert invoke(["audit", "verify", str(tmp_path / "forged.audit")]) == 1
    assert "claims something else" in capsys.readouterr().err
    (tmp_path / "junk.audit").write_bytes(b"PK")
    assert invoke(["audit", "verify", str(tmp_path / "junk.audit")]) == 2


def test_audit_says_what_is_wrong_with_its_arguments(url, files, capsys):
    given = ["audit", url, "--input", str(files / "test.npz")]
    for arguments in (
        ["audit", url],
        [*given, "--sample", "3", "--all"],
        [*given, "--sample", "99"],
        [*given, "--publish"],
        [*given, "--metric", "nobody-has-this"],
        ["audit", url, "--input", str(files / "x.npy")],
    ):
        assert invoke(arguments) == 2
    assert capsys.readouterr().err.count("error:") == 6


def test_reports_tell_who_was_caught_and_how(url, files, tmp_path):
    out = tmp_path / "report"
    invoke(["audit", url, "--input", str(files / "test.npz"), "--sample", "4", "-o", str(out)])
    report = AuditFile.read(tmp_path / "report.audit").report.model_copy(update={"sound": True})
    assert "proven" in headline(report)
    bounds = {"of_set": None, "of_population": None, "false_at_most": None}
    refuted = report.model_copy(update={"contradicted": (1,), "proven": 3, **bounds})
    unproven = report.model_copy(update={"unproven": (1, 2), "proven": 2, **bounds})
    refused = report.model_copy(update={"refused": True, "proven": 0, **bounds})
    for one in (refuted, unproven, refused):
        assert headline(one).startswith("CAUGHT")
        assert "CAUGHT" in as_text(one)
        assert as_svg(one) == as_svg(one)
    assert "refuted" in as_text(refuted)
    assert "consumer's word" in as_text(unproven)
    several = report.model_copy(update={"metric": Metric(name="tolerance", tolerance=0.5), "classes": ()})
    assert "tolerance 0.5" in as_text(several)
    assert as_svg(several.model_copy(update={"of_set": Interval(low=0.1, high=0.9)})).startswith(b"<?xml")
