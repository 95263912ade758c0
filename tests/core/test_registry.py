from __future__ import annotations

import pytest

from balance_core import registry
from balance_core.errors import (
    PluginConflict,
    PluginIncompatible,
    PluginLoadError,
    PluginNotFound,
)

STORE = """
    import io
    from balance_core import cid
    from balance_core.contracts import Storage
    from balance_core.errors import BlobNotFound

    class Memory(Storage):
        api_version = {version}
        def put(self, source): return ""
        def open(self, cid, *, max_size): raise BlobNotFound(cid)
        def has(self, cid): return False
        def pin(self, cid): pass
        def unpin(self, cid): pass
"""


def test_an_installed_plugin_is_found_described_and_loaded(install):
    install("memorystore", STORE.format(version=1), {"balance.storage": ["memory = memorystore:Memory"]})
    assert "memory" in registry.names("storage")
    assert registry.info("storage", "memory").distribution == "memorystore"
    assert registry.create("storage", "memory").has("x") is False


def test_an_unknown_name_is_suggested_for():
    with pytest.raises(PluginNotFound, match="'ledgr'") as caught:
        registry.load("chains", "ledgr")
    assert caught.value.hint == "did you mean 'ledger'?"


def test_a_plugin_that_does_not_import_says_why_and_harms_no_other(install):
    install("broken", "import no_such_module", {"balance.storage": ["broken = broken:Store"]})
    with pytest.raises(PluginLoadError, match="no_such_module") as caught:
        registry.load("storage", "broken")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert registry.load("storage", "local")


@pytest.mark.parametrize(("version", "mend"), [(2, "balance-core"), (0, "oldstore")])
def test_another_version_of_the_contracts_is_refused_with_both_numbers(install, version, mend):
    install("oldstore", STORE.format(version=version), {"balance.storage": ["old = oldstore:Memory"]})
    with pytest.raises(PluginIncompatible, match=f"version {version} of the contracts, this core 1") as caught:
        registry.load("storage", "old")
    assert caught.value.hint == f"pip install --upgrade {mend}"


def test_a_plugin_that_does_not_say_its_version_is_refused(install):
    source = STORE.format(version=1).replace("api_version = 1", "pass")
    install("silent", source, {"balance.storage": ["silent = silent:Memory"]})
    with pytest.raises(PluginIncompatible, match="version None"):
        registry.load("storage", "silent")


def test_two_distributions_of_one_name_are_a_conflict_that_names_both(install):
    install("first", STORE.format(version=1), {"balance.storage": ["same = first:Memory"]})
    install("second", STORE.format(version=1), {"balance.storage": ["same = second:Memory"]})
    with pytest.raises(PluginConflict, match=r"first 1\.0 and second 1\.0"):
        registry.load("storage", "same")


def test_a_class_that_is_not_of_the_contract_is_refused(install):
    install("wrong", "class Store: api_version = 1", {"balance.storage": ["wrong = wrong:Store"]})
    with pytest.raises(PluginLoadError, match="is not a Storage"):
        registry.load("storage", "wrong")


def test_a_class_that_lacks_methods_is_refused_by_their_names(install):
    source = STORE.format(version=1).replace("def unpin(self, cid): pass", "")
    install("partial", source, {"balance.storage": ["partial = partial:Memory"]})
    with pytest.raises(PluginLoadError, match="lacks unpin"):
        registry.load("storage", "partial")


def test_a_falsy_instance_is_still_an_instance(install):
    source = STORE.format(version=1) + "        def __len__(self): return 0\n"
    install("falsy", source, {"balance.storage": ["falsy = falsy:Memory"]})
    assert type(registry.create("storage", "falsy")).__name__ == "Memory"


def test_a_broken_observer_does_not_stop_the_others(install):
    install(
        "watchers",
        """
        from balance_core.hookspecs import hookimpl
        class Good:
            @hookimpl
            def run_started(self, run): pass
        class Bad:
            @hookimpl
            def run_started(self, nonsense): pass
        good, bad = Good(), Bad()
        """,
        {"balance.observers": ["bad = watchers:bad", "good = watchers:good", "gone = watchers:gone"]},
    )
    manager, broken = registry.observers()
    assert manager.has_plugin("good")
    assert {name for name, _ in broken} == {"bad", "gone"}
