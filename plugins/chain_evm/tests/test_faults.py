"""What goes wrong on the way to a chain: each time a typed error, or the same record on the chain, once."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from balance_evm import codec
from balance_evm.accounts import KeyAccount
from balance_evm.anvil import Anvil, free_port
from balance_evm.chain import ORIGIN, EvmChain
from balance_evm.deploy import deploy_registry
from balance_evm.journal import Journal
from balance_evm.rpc import Rpc
from balance_evm.sender import Sender, Transaction
from eth_account import Account

from balance_core.chain import Attestation, Finality
from balance_core.errors import ChainError, ChainUnreachable, ConfigError, Rejected, Reverted

from .chain_town import PEOPLE, proof, registration, settings, variable


@contextlib.contextmanager
def served(answer):
    """Answer every request on the loopback with the same bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class TestReorg:
    def test_taken_back_entries_are_told_and_the_cursor_rewinds(self, own_node):
        node, chain = own_node
        first, second = registration(), registration("letters")
        chain.register(first, key="1")
        kept = list(chain.events())[-1]
        ref = chain.register(second, key="2")
        submitted = chain.submit(proof(second, 1), key="3")
        cursor = list(chain.events())[-1].cursor
        assert chain.status(ref) is Finality.FINAL
        node.rpc().call("anvil_reorg", 2, [])
        told = list(chain.events(cursor))
        assert [(event.type, event.ref) for event in told] == [("reverted", submitted), ("reverted", ref)]
        assert told[-1].cursor == kept.cursor
        assert list(chain.events(told[-1].cursor)) == []
        assert list(chain.events(told[0].cursor)) == told[1:]
        assert chain.status(ref) is Finality.REVERTED
        with pytest.raises(Rejected):
            chain.registration(second.registration_id)

    def test_what_was_taken_back_is_written_again_once(self, own_node):
        node, chain = own_node
        chain.register(registration(), key="1")
        cursor = list(chain.events())[-1].cursor
        node.rpc().call("anvil_reorg", 1, [])
        again = chain.register(registration(), key="1")
        assert chain.status(again) is Finality.FINAL
        told = list(chain.events(cursor))
        assert [event.type for event in told] == ["reverted", "registered"]
        assert told[0].cursor == ORIGIN
        assert [event.type for event in chain.events(ORIGIN)] == ["registered"]

    def test_what_is_taken_back_before_the_writer_read_it_is_written_again(self, own_node, monkeypatch):
        node, chain = own_node
        sender = chain.writer.sender
        honest, taken_back = sender.wait, []

        def wait(nonce, what):
            receipt = honest(nonce, what)
            if not taken_back:
                taken_back.append(receipt["blockHash"])
                node.rpc().call("anvil_reorg", 1, [])
            return receipt

        monkeypatch.setattr(sender, "wait", wait)
        assert chain.status(chain.register(registration(), key="1")) is Finality.FINAL
        assert taken_back
        assert [event.type for event in chain.events(ORIGIN)] == ["registered"]

    def test_a_reader_who_never_saw_the_other_branch_is_not_bothered(self, own_node, tmp_path, monkeypatch):
        node, chain = own_node
        chain.register(registration(), key="1")
        node.rpc().call("anvil_reorg", 1, [])
        chain.register(registration("letters"), key="2")
        monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "other"))
        reader = EvmChain(settings(node, "bob", registry=chain.network.registry))
        assert "reverted" not in {event.type for event in reader.events()}

    def test_a_cursor_of_a_branch_that_is_unknown_here_is_refused(self, own_node, tmp_path, monkeypatch):
        node, chain = own_node
        chain.register(registration(), key="1")
        cursor = list(chain.events())[-1].cursor
        node.rpc().call("anvil_reorg", 1, [])
        monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "other"))
        reader = EvmChain(settings(node, "bob", registry=chain.network.registry))
        with pytest.raises(ChainError, match="names no entry"):
            list(reader.events(cursor))


class TestNode:
    @pytest.mark.usefixtures("home")
    def test_a_node_that_is_away_is_waited_for(self, tmp_path):
        port, state = free_port(), tmp_path / "state.json"
        node = Anvil(port=port, state=state).start()
        node.fund(PEOPLE["alice"].address)
        chain = EvmChain(settings(node, patience_seconds=60.0))
        deploy_registry(chain)
        chain.register(registration(), key="1")
        node.stop()
        back = threading.Timer(3.0, node.start)
        back.start()
        try:
            started = time.monotonic()
            ref = chain.submit(proof(registration(), 1), key="2")
            assert time.monotonic() - started > 2.5
            assert chain.status(ref) is Finality.FINAL
        finally:
            back.join()
            node.stop()

    @pytest.mark.slow
    @pytest.mark.usefixtures("home")
    def test_a_node_that_is_away_for_half_a_minute_is_waited_for(self, tmp_path):
        node = Anvil(state=tmp_path / "state.json").start()
        node.fund(PEOPLE["alice"].address)
        chain = EvmChain(settings(node, patience_seconds=60.0))
        deploy_registry(chain)
        node.stop()
        back = threading.Timer(30.0, node.start)
        back.start()
        try:
            chain.register(registration(), key="1")
            assert len(list(chain.events())) == 1
        finally:
            back.join()
            node.stop()

    @pytest.mark.usefixtures("home")
    def test_a_node_that_stays_away_is_an_error_that_says_where(self):
        chain = EvmChain(settings(Anvil(), patience_seconds=0.3))
        with pytest.raises(ChainUnreachable, match=r"127\.0\.0\.1") as caught:
            chain.register(registration(), key="1")
        assert "rpc_url" in caught.value.hint

    @pytest.mark.usefixtures("home")
    def test_what_may_be_secret_in_an_address_is_not_shown(self):
        address = "http://user:hunter2@127.0.0.1:9/v3/topsecret?key=topsecret"
        chain = EvmChain(settings(Anvil(), rpc_url=address, patience_seconds=0.1))
        with pytest.raises(ChainUnreachable) as caught:
            chain.registration("0" * 64)
        assert "hunter2" not in str(caught.value)
        assert "topsecret" not in str(caught.value)

    @pytest.mark.usefixtures("home")
    def test_another_chain_than_the_pinned_one_is_refused(self, node):
        chain = EvmChain(settings(node, chain_id=1))
        with pytest.raises(ConfigError, match="is on chain 31337, and not on 1"):
            chain.register(registration(), key="1")

    @pytest.mark.usefixtures("home")
    def test_the_first_chain_of_a_node_is_pinned(self, node, monkeypatch):
        assert EvmChain(settings(node)).network.chain_id == 31337
        honest = Rpc.call

        def elsewhere(self, method, *params, **options):
            return "0x1" if method == "eth_chainId" else honest(self, method, *params, **options)

        monkeypatch.setattr(Rpc, "call", elsewhere)
        with pytest.raises(ConfigError, match="is on chain 1, and not on 31337"):
            _ = EvmChain(settings(node)).network.chain_id
        assert EvmChain(settings(node, chain_id=1)).network.chain_id == 1

    @pytest.mark.usefixtures("home")
    @pytest.mark.parametrize("answer", [b"x" * 5_000_000, b"[]", b"{}", b"", b"\xff\xfe", b'{"result": "0xzz"}'])
    def test_whatever_a_node_answers_is_a_typed_error(self, answer, monkeypatch):
        monkeypatch.setattr("balance_evm.rpc.MAX_ANSWER_BYTES", 1_000_000)
        with served(answer) as url:
            chain = EvmChain(settings(Anvil(), rpc_url=url, patience_seconds=0.2))
            with pytest.raises(ChainError):
                chain.registration("0" * 64)

    @pytest.mark.usefixtures("home")
    def test_a_chain_without_registry_says_how_to_get_one(self, node):
        with pytest.raises(ConfigError, match="no registry") as caught:
            EvmChain(settings(node)).registration("0" * 64)
        assert "balance evm deploy" in caught.value.hint
        with pytest.raises(ConfigError, match="no contract at"):
            EvmChain(settings(node, registry="0x" + "12" * 20)).registration("0" * 64)


class TestTransactions:
    def test_the_same_call_by_several_at_once_is_one_entry(self, own_node):
        node, chain = own_node
        of, record = registration(), proof(registration(), 1)
        chain.register(of, key="1")
        start = threading.Barrier(4)

        def send(place):
            other = EvmChain(settings(node, registry=chain.network.registry))
            start.wait()
            # Two of them under one idempotency key, and two under keys of their own.
            return other.submit(record, key=f"call-{max(place, 1)}")

        with ThreadPoolExecutor(4) as threads:
            refs = list(threads.map(send, range(4)))
        assert len({ref.entry for ref in refs}) == 1
        assert [event.type for event in chain.events()] == ["registered", "submitted"]

    @pytest.mark.usefixtures("home")
    def test_an_account_without_money_is_told_where_to_send_some(self, node, monkeypatch):
        poor = Account.create()
        monkeypatch.setenv("BALANCE_TEST_POOR", poor.key.hex())
        chain = EvmChain(settings(node, key_variable="BALANCE_TEST_POOR"))
        with pytest.raises(ChainError, match="out of funds") as caught:
            deploy_registry(chain)
        assert poor.address.lower() in caught.value.hint

    @pytest.mark.usefixtures("home")
    def test_ceilings_hold_before_anything_is_sent(self, node):
        for changes, words in (
            ({"max_cost_ether": 0.000001}, "ceiling is 1e-06 ether"),
            ({"max_fee_gwei": 0.000001}, "ceiling is 1e-06"),
            ({"max_gas": 100_000}, "one transaction may use 100,000"),
        ):
            chain = EvmChain(settings(node, **changes))
            with pytest.raises(ChainError, match=words):
                deploy_registry(chain)
            assert chain.writer.journal.behind(0) == []

    @pytest.mark.usefixtures("home")
    def test_the_price_is_told_before_a_transaction_is_sent(self, node):
        chain, told = EvmChain(settings(node)), []
        chain.writer.sender.tell = lambda quote: told.append((quote, len(chain.writer.journal.behind(0))))
        deploy_registry(chain)
        (quote, sent) = told[0]
        assert sent == 0
        assert quote.gas >= chain.writer.spent[0][1]

    def test_a_dropped_transaction_is_sent_again(self, home):
        with Anvil(arguments=("--no-mining",)) as node:
            sender = waiting(node, home)
            sent = sender.send(Transaction("a test", PEOPLE["bob"].address.lower(), b"", 5))
            node.rpc().call("anvil_dropTransaction", sent.hash)
            assert node.rpc().call("eth_getTransactionByHash", sent.hash) is None
            threading.Timer(2.5, lambda: node.rpc().call("evm_mine")).start()
            assert sender.wait(sent.nonce, "a test")["transactionHash"] == sent.hash

    def test_a_stuck_transaction_is_replaced_by_a_dearer_one(self, home):
        with Anvil(arguments=("--no-mining",)) as node:
            sender = waiting(node, home, bump_seconds=0.1)
            sent = sender.send(Transaction("a test", PEOPLE["bob"].address.lower(), b"", 5))
            threading.Timer(2.5, lambda: node.rpc().call("evm_mine")).start()
            receipt = sender.wait(sent.nonce, "a test")
            bids = sender.journal.numbered(sent.nonce)
            assert len(bids) > 1
            assert [bid.max_fee for bid in bids] == sorted({bid.max_fee for bid in bids})
            assert receipt["transactionHash"] == bids[-1].hash
            assert sender.mined() == 1

    def test_a_number_that_somebody_else_used_is_reverted(self, home, monkeypatch):
        monkeypatch.setattr("balance_evm.sender._GRACE_SECONDS", 0.5)
        with Anvil(arguments=("--no-mining",)) as node:
            sender = waiting(node, home)
            sent = sender.send(Transaction("a test", PEOPLE["bob"].address.lower(), b"", 5))
            node.rpc().call("anvil_dropTransaction", sent.hash)
            other = Sender(node.rpc(), sender.account, Journal(home / "other" / "j.db"), sender.settings, 31337)
            other.send(Transaction("elsewhere", PEOPLE["carol"].address.lower(), b"", 6))
            node.rpc().call("evm_mine")
            with pytest.raises(Reverted, match="has its number 0"):
                sender.wait(sent.nonce, "a test")

    def test_a_transaction_that_is_not_mined_in_time_is_continued_later(self, home):
        with Anvil(arguments=("--no-mining",)) as node:
            sender = waiting(node, home, wait_seconds=0.3)
            sent = sender.send(Transaction("a test", PEOPLE["bob"].address.lower(), b"", 5))
            with pytest.raises(ChainError, match="not mined after"):
                sender.wait(sent.nonce, "a test")
            node.rpc().call("evm_mine")
            assert sender.wait(sent.nonce, "a test")["transactionHash"] == sent.hash

    def test_a_transaction_of_a_process_that_was_killed_is_sent_by_the_next_one(self, home):
        with Anvil() as node:
            sender = waiting(node, home)
            with sender.journal.sending():
                lost = sender._sign(
                    Transaction("lost", PEOPLE["bob"].address.lower(), b"", 5), 21000, fees(sender), 0
                )
                sender.journal.add(lost)
            after = sender.send(Transaction("after", PEOPLE["bob"].address.lower(), b"", 6))
            assert after.nonce == 1
            sender.wait(1, "after")
            assert sender.receipt(0)["transactionHash"] == lost.hash


def waiting(node, home, **changes):
    node.fund(PEOPLE["alice"].address)
    return Sender(
        node.rpc(), KeyAccount(PEOPLE["alice"]), Journal(home / "evm" / "j.db"), settings(node, **changes), 31337
    )


def fees(sender):
    from balance_evm import fees as module

    return module.current(sender.rpc, sender.settings)


class TestKeys:
    @pytest.mark.usefixtures("home")
    def test_a_missing_key_says_which_variable(self, node):
        chain = EvmChain(settings(node, key_variable="BALANCE_TEST_NONE", registry="0x" + "12" * 20))
        with pytest.raises(ConfigError, match="BALANCE_TEST_NONE"):
            _ = chain.writer

    @pytest.mark.parametrize("text", ["0x12", "zz" * 32, "0" * 64, "f" * 64])
    @pytest.mark.usefixtures("home")
    def test_what_is_no_key_is_not_repeated(self, node, monkeypatch, text):
        monkeypatch.setenv("BALANCE_TEST_BAD", text)
        with pytest.raises(ConfigError) as caught:
            _ = EvmChain(settings(node, key_variable="BALANCE_TEST_BAD")).writer
        assert text not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__

    def test_a_keystore_is_opened_with_its_password(self, node, home, monkeypatch):
        import json

        stored = Account.encrypt(PEOPLE["bob"].key, "correct horse", kdf="pbkdf2", iterations=1000)
        (home / "key.json").write_text(json.dumps(stored))
        monkeypatch.setenv("BALANCE_EVM_PASSWORD", "correct horse")
        chain = EvmChain(settings(node, keystore=home / "key.json"))
        assert chain.writer.account.address == PEOPLE["bob"].address.lower()
        monkeypatch.setenv("BALANCE_EVM_PASSWORD", "wrong")
        with pytest.raises(ConfigError, match="password is wrong") as caught:
            _ = EvmChain(settings(node, keystore=home / "key.json")).writer
        assert "horse" not in str(caught.value)

    @pytest.mark.usefixtures("home")
    def test_a_signer_keeps_the_key(self):
        with Anvil(accounts=1) as node:
            chain = EvmChain(settings(node, signer_url=node.url))
            deploy_registry(chain)
            of = registration(provider=codec.identity_of(chain.writer.account.address))
            chain.register(of, key="1")
            record = proof(of, 1)
            chain.submit(record, key="2")
            word = {"proof_id": record.proof_id, "statement_digest": record.statement_digest, "valid": True}
            chain.attest(Attestation(**word, validator=of.provider), key="3")
            assert [event.type for event in chain.events()] == ["registered", "submitted", "attested"]

    @pytest.mark.usefixtures("home")
    def test_a_signer_that_signs_something_else_is_noticed(self, node, monkeypatch):
        honest, other = Rpc.call, PEOPLE["bob"]

        def lying(self, method, *params, **options):
            if method != "eth_signTransaction":
                return honest(self, method, *params, **options)
            asked = {name: value for name, value in params[0].items() if name not in {"from", "type"}}
            numbers = {name: value if name == "data" else int(value, 16) for name, value in asked.items()}
            return "0x" + bytes(other.sign_transaction({**numbers, "value": 1, "type": 2}).raw_transaction).hex()

        monkeypatch.setattr(Rpc, "call", lying)
        chain = EvmChain(settings(node, signer_url=node.url, account=other.address.lower()))
        with pytest.raises(ChainError, match="signed another transaction"):
            deploy_registry(chain)

    @pytest.mark.usefixtures("home")
    def test_a_signer_without_accounts_says_so(self, node):
        with pytest.raises(ConfigError, match="the signer has 0 accounts"):
            _ = EvmChain(settings(node, signer_url=node.url)).writer

    def test_nothing_shows_a_key(self):
        account = KeyAccount(PEOPLE["alice"])
        assert PEOPLE["alice"].key.hex() not in repr(account)
        with pytest.raises(TypeError):
            account.__reduce__()
        assert variable("alice") == "BALANCE_TEST_KEY_ALICE"
