"""How refusals look: a status for each error, and nothing of the provider's inside."""

from __future__ import annotations

import inspect
import io
import json
import logging
import sys

import pytest

from balance_core import errors
from balance_core.service.logs import JsonLines, StandardError
from balance_core.service.problems import described

STATUS = {
    "BalanceError": 500,
    "InvalidProof": 422,
    "ConfigError": 400,
    "PluginError": 500,
    "PluginNotFound": 500,
    "PluginLoadError": 500,
    "PluginConflict": 500,
    "PluginIncompatible": 500,
    "UnsupportedModel": 422,
    "StageError": 500,
    "ToolNotFound": 500,
    "ToolFailed": 500,
    "StageTimeout": 504,
    "StageOutOfMemory": 507,
    "Busy": 429,
    "StorageError": 500,
    "BlobNotFound": 404,
    "ContentTooLarge": 500,
    "ContentMismatch": 500,
    "StorageUnreachable": 503,
    "ChainError": 500,
    "Rejected": 409,
    "Reverted": 500,
    "ChainUnreachable": 503,
    "ProviderError": 500,
    "ProviderUnreachable": 502,
    "Refused": 502,
}
KINDS = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.BalanceError)
}


def test_the_table_knows_all_errors():
    assert STATUS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", STATUS)
def test_each_error_has_its_status_and_only_what_is_the_clients_is_told(name):
    status, problem, headers = described(KINDS[name]("found in /secret/folder", hint="look at /secret/folder"))
    assert status == STATUS[name]
    assert problem.type == name
    assert ("/secret" in problem.model_dump_json()) == (status < 500)
    assert ("Retry-After" in headers) == (name == "Busy")


def test_whatever_else_goes_wrong_is_the_providers_own():
    status, problem, _ = described(RuntimeError("/secret"))
    assert status == 500
    assert "/secret" not in problem.model_dump_json()


def test_logs_go_to_standard_error_as_it_is_when_they_are_written(monkeypatch):
    handler = StandardError()
    handler.setFormatter(JsonLines())
    record = logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO, "levelname": "INFO"})
    first, second = io.StringIO(), io.StringIO()
    for stream in (first, second):
        monkeypatch.setattr(sys, "stderr", stream)
        handler.emit(record)
    assert [json.loads(stream.getvalue())["message"] for stream in (first, second)] == ["hello", "hello"]
    second.close()
    handler.emit(record)
    monkeypatch.setattr(sys, "stderr", None)
    handler.emit(record)
