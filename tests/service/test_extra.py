"""The core does without the extra `service`, and says what is missing where it is needed."""

import subprocess
import sys

import pytest

HEAVY = ("alembic", "fastapi", "httpx", "prometheus_client", "sqlalchemy", "starlette", "uvicorn")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    "module",
    [
        "balance_core",
        "balance_core.cli",
        "balance_core.consumer",
        "balance_core.provider",
        "balance_core.service",
        "balance_core.service.receipts",
        "balance_core.service.wire",
    ],
)
def test_the_core_imports_no_web_framework_and_no_database(module):
    done = run(f"import sys, {module}; print(sorted(set(sys.modules) & set({HEAVY!r})))")
    assert done.stdout == "[]\n", done.stderr


def without(*names):
    """Return code that makes imports of these fail, as if they were not installed."""
    return (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {names!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )


@pytest.mark.parametrize("name", ["Provider", "listening", "Client"])
def test_what_is_missing_is_named_with_the_command_that_installs_it(name):
    done = run(
        without(*HEAVY) + "from balance_core import service\n"
        "from balance_core.errors import ToolNotFound\n"
        f"try:\n    service.{name}('http://127.0.0.1:1')\n"
        "except ToolNotFound as error:\n    print(error.message, '|', error.hint)\n"
    )
    assert "is not installed" in done.stdout, done.stderr
    assert "pip install 'balance-core[service]'" in done.stdout


def test_serve_without_the_extra_says_so_in_two_lines():
    done = run(without(*HEAVY) + "from balance_core.cli import invoke\nsys.exit(invoke(['serve', 'model.onnx']))\n")
    assert done.returncode == 5
    assert done.stderr.startswith("error: ")
    assert "hint: pip install 'balance-core[service]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_name_is_an_attribute_error():
    from balance_core import service

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        service.Nothing  # noqa: B018 - the access is what is tried
    assert "Provider" in dir(service)
