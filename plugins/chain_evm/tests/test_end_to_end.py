"""From a model to `verified` by the contract, for each backend that exports a verifier; and 200 forgeries."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from balance_evm import codec, interfaces, verifiers
from balance_evm.anvil import Anvil
from balance_evm.chain import EvmChain
from balance_evm.deploy import deploy_registry
from balance_evm.reverts import explained, revert_data
from balance_evm.rpc import RpcRefused
from balance_evm.settings import EvmSettings

import balance_core
from balance_core import registry
from balance_core.bundle import Bundle
from balance_core.chain import Answer, Challenge, Claim, Finality, ProofRecord, Withdrawal
from balance_core.claim_state import ClaimStatus
from balance_core.cli import invoke
from balance_core.contracts import ExportsDedicatedEvmVerifier, ExportsEvmVerifier
from balance_core.errors import InvalidProof, PluginError, Rejected
from balance_core.provider import EXAMPLE
from balance_core.published import verify_published

from .chain_town import PEOPLE, settings, variable

pytestmark = pytest.mark.slow
CALL_GAS = 16_000_000
ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617
README = Path(__file__).parents[1] / "README.md"


def exporting():
    """Return the installed backends whose proofs a contract can check, with the kinds of contract that they bring."""
    found = []
    for name in registry.names("backends"):
        try:
            plugin = registry.load("backends", name)
        except PluginError:
            continue
        if issubclass(plugin, ExportsEvmVerifier):
            found.append((name, "shared"))
        if issubclass(plugin, ExportsDedicatedEvmVerifier):
            found.append((name, "dedicated"))
    return found


@dataclass
class Published:
    """A run that was published, and what is needed to look at it from outside."""

    chain: EvmChain
    options: dict
    bundle: Bundle
    record: ProofRecord
    spent: list

    @property
    def model(self):
        return self.chain.model(self.chain.chronicle(), self.record.registration_id)

    @property
    def wanted(self):
        """The verifying key as contracts take it."""
        source = verifiers.exporter(self.bundle.proof.backend)
        kind = verifiers.kind_of(self.chain, self.model)
        return verifiers.checkable(source, self.bundle.key, self.bundle.registration.registration, kind)

    @property
    def contract(self):
        """The contract that the backend brought, as the adapter names it."""
        return verifiers._contract(self.chain, self.model, self.wanted)

    def evidence(self):
        source = verifiers.exporter(self.bundle.proof.backend)
        return verifiers.evidence(source, self.bundle.key, self.bundle.proof)

    def verify(self, **changes):
        """Have the registry check a proof without keeping it; raises what the adapter would."""
        material, proof, values = self.evidence()
        parts = {
            "model": self.model.name,
            "said": codec.said_struct(self.record),
            "bundle": self.record.bundle,
            "evidence": (
                changes.pop("material", material),
                changes.pop("proof", proof),
                changes.pop("values", values),
            ),
        }
        return self._call(self.chain.network.registry, interfaces.registry(), "verify", {**parts, **changes})

    def check(self, **changes):
        """Ask the adapter alone, which knows nothing of what the proof is said to say."""
        terms = self.model.terms
        material, proof, values = self.evidence()
        parts = {"key": terms["verifyingKey"], "material": material, "proof": proof, "values": values}
        return self._call(terms["verifier"], interfaces.verifier(), "verify", {**parts, **changes})

    def _call(self, target, interface, name, parts):
        data = interface.call(name, *parts.values())
        call = {"from": self.chain.writer.account.address, "to": target, "data": "0x" + data.hex()}
        try:
            found = self.chain.network.rpc.call("eth_call", {**call, "gas": hex(CALL_GAS)}, "latest")
        except RpcRefused as error:
            reverted = revert_data(error)
            if reverted is None:
                raise
            raise explained(reverted, interfaces.registry(), interfaces.verifier(), "this") from None
        return interface.result(name, bytes.fromhex(found[2:]))


NONE = [pytest.param(None, marks=pytest.mark.skip("none installed"))]


@pytest.fixture(scope="module", params=exporting() or NONE, ids=lambda pair: "-".join(pair or ()))
def published(request, tmp_path_factory):
    """The bundled digit: proven, stored, published, and checked by the contract, by the public interface alone."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, Anvil() as node:
        patch.setenv("BALANCE_HOME", str(home))
        for account in PEOPLE.values():
            node.fund(account.address)
        chain = EvmChain(settings(node))
        deploy_registry(chain)
        backend, kind = request.param
        options = {"rpc_url": node.url, "key_variable": variable("alice"), "verifier": kind}
        spent = chain.writer.spent
        with Watching(spent):
            run = balance_core.run(backend=backend, chain="evm", chain_settings=options, allow_insecure_test=True)
        bundle = Bundle.read(run.bundle)
        statement = run.statement
        record = ProofRecord(
            registration_id=bundle.registration_id,
            context=statement.context,
            inputs_digest=statement.inputs_digest,
            statement_digest=statement.digest,
            bundle=bundle.cid,
        )
        yield Published(chain, options, bundle, record, spent)


class Watching:
    """Notes what the transactions of other instances take, too."""

    def __init__(self, spent):
        self.spent = spent

    def __enter__(self):
        from balance_evm.writer import Writer

        self.honest = honest = Writer._mined
        spent = self.spent

        def mined(writer, nonce, transaction):
            receipt = honest(writer, nonce, transaction)
            if writer.spent is not spent:
                spent.append(writer.spent[-1])
            return receipt

        Writer._mined = mined
        return self

    def __exit__(self, *_):
        from balance_evm.writer import Writer

        Writer._mined = self.honest


def test_the_contract_answers_verified(published):
    proof = published.chain.chronicle().replay.state.proofs[published.record.proof_id]
    assert proof.verified
    network = published.chain.network
    answer = codec.answer_of(published.model.name, published.record.proof_id)
    assert network.view(network.registry, interfaces.registry(), "proofStatus", published.model.name, answer) == 4
    said = published.check()
    assert (said["context"].hex(), said["statementDigest"].hex()) == (
        published.record.context,
        published.record.statement_digest,
    )


def test_the_gas_of_each_step_is_told(published, capsys):
    with capsys.disabled():
        print(f"\n{published.bundle.proof.backend}: gas by step, on anvil")  # noqa: T201 - for the README
        for one in published.spent:
            print(f"  {one.gas:>10,}  {one.what}")  # noqa: T201
    assert len(published.spent) >= 7
    assert all(21_000 < one.gas < 16_777_216 for one in published.spent)


def test_a_dry_run_tells_nearly_the_same_gas(published, capsys):
    path = Path(os.environ["BALANCE_HOME"]) / "again.balance"
    path.write_bytes(published.bundle.to_bytes())
    assert invoke(["evm", "gas", str(path), "-o", f"verifier={published.options['verifier']}"]) == 0
    told = {}
    for line in capsys.readouterr().out.splitlines():
        gas, separator, what = line.partition(" gas  ")
        if separator:
            told[what.split(" ")[0] + what.rpartition(" ")[2][:4]] = int(gas.replace(",", ""))
    mined = {one.what.split(" ")[0] + one.what.rpartition(" ")[2][:4]: one.gas for one in published.spent}
    # Newer rules than the dry run's ask more for one operation of the verifier (EIP-7883).
    assert set(mined) <= set(told)
    for what, gas in mined.items():
        assert abs(told[what] - gas) <= max(0.03 * gas, 2000), what


def test_a_trial_without_any_node_costs_what_was_paid(published):
    tried = EvmChain.onchain_cost(published.record, published.bundle)
    if published.options["verifier"] != "shared":
        return  # a trial is of the contract that serves every circuit
    paid = published.spent
    for gas, steps in (
        (tried.deploy, ("deploying the verifier", "deploying the adapter")),
        (tried.circuit, ("telling the verifier", "binding the model")),
        (tried.verify, ("verifying",)),
    ):
        expected = sum(one.gas for one in paid if one.what.startswith(steps))
        assert abs(gas - expected) <= 0.03 * expected, steps
    assert tried.calldata == paid[-1].calldata


def test_anybody_checks_it_by_its_id(published, capsys):
    found = verify_published(published.record.proof_id, chain="evm", chain_settings=published.options)
    assert found.checked_by_chain
    assert found.verified.statements[0].digest == published.record.statement_digest
    options = [option for name, value in published.options.items() for option in ("-o", f"chain.{name}={value}")]
    assert invoke(["verify", published.record.proof_id, "--chain", "evm", *options]) == 0
    assert "verified by a contract" in capsys.readouterr().out
    assert invoke(["verify", "0" * 64, "--chain", "evm", *options]) == 7
    assert "is not on the chain" in capsys.readouterr().err


def test_the_commands_show_it(published, capsys):
    options = [option for name, value in published.options.items() for option in ("-o", f"{name}={value}")]
    for arguments, words in (
        (["doctor"], "registry"),
        (["show"], published.record.proof_id),
        (["show", published.record.proof_id], "verified"),
        (["show", published.record.registration_id], published.model.terms["verifier"]),
    ):
        assert invoke(["evm", *arguments, *options]) == 0
        assert words in capsys.readouterr().out
    assert invoke(["evm", "show", "0" * 64, *options]) == 7


def test_a_challenged_claim_is_answered_by_its_proof(published):
    """Another digit: claimed with a bond, challenged by a stranger, proven to the contract, both bonds paid out."""
    run = balance_core.prove(
        published.record.registration_id, EXAMPLE / "digits.npz", index=1, chain=None, storage=None
    )
    bundle, statement = Bundle.read(run.bundle), run.statement
    said = {"context": statement.context, "inputs_digest": statement.inputs_digest}
    said |= {"registration_id": bundle.registration_id, "statement_digest": statement.digest}
    terms = {"bond": 1000, "challenge_bond": 100, "challenge_seconds": 600, "answer_seconds": 600}
    claim = Claim(**said, content=bundle.cid, **terms)
    chain = published.chain
    chain.claim(claim, key="claim")
    stranger = EvmChain(settings_of(published, "carol"))
    carol = codec.identity_of(PEOPLE["carol"].address)
    stranger.challenge(Challenge(proof_id=claim.proof_id, challenger=carol), key="challenge")
    assert chain.claimed(claim.proof_id).status is ClaimStatus.CHALLENGED
    with pytest.raises(Rejected):
        chain.answer(Answer(proof_id=claim.proof_id), key="answer")
    record = ProofRecord(**said, bundle=bundle.cid)
    chain.submit_checked(record, bundle, key="proof")
    assert chain.claimed(claim.proof_id).status is ClaimStatus.ANSWERED
    ref = chain.answer(Answer(proof_id=claim.proof_id), key="answer")
    assert chain.status(ref) is Finality.FINAL
    provider = chain.chronicle().identity(chain.writer.account.address)
    assert chain.owed(provider) == 1100
    chain.withdraw(Withdrawal(account=provider, number=1, amount=1100), key="withdraw")
    assert (chain.owed(provider), chain.owed(carol)) == (0, 0)


def settings_of(published, who):
    return EvmSettings(rpc_url=published.options["rpc_url"], key_variable=variable(who))


def test_a_validator_attests_what_it_checked_itself(published, capsys):
    options = [f"rpc_url={published.options['rpc_url']}", f"key_variable={variable('bob')}"]
    given = [word for option in options for word in ("-o", option)]
    assert invoke(["evm", "attest", published.record.proof_id, *given]) == 0
    assert "says valid" in capsys.readouterr().out
    event = list(published.chain.events())[-1]
    assert (event.type, event.signer) == ("attested", codec.identity_of(PEOPLE["bob"].address))
    assert invoke(["evm", "attest", "0" * 64, *given]) == 7


def test_public_values_cannot_be_changed(published):
    """The context, the outputs and a sixth of the inputs, each by one; and some by the field's order."""
    values = published.evidence()[2]
    for place in sorted({*range(26), *range(0, len(values), 6), *range(len(values) - 10, len(values))}):
        refuses_with(published, place)
    for place in (0, 7, 15, 16, len(values) // 2, len(values) - 1):
        changed = [*values[:place], values[place] + ORDER, *values[place + 1 :]]
        with pytest.raises((InvalidProof, Rejected)):
            published.check(values=changed)


@pytest.mark.soak
def test_not_one_public_value_can_be_changed(published):
    for place in range(len(published.evidence()[2])):
        refuses_with(published, place)


def refuses_with(published, place):
    values = published.evidence()[2]
    changed = [*values[:place], (values[place] + 1) % ORDER, *values[place + 1 :]]
    with pytest.raises((InvalidProof, Rejected)):
        published.check(values=changed)


def test_public_values_cannot_be_added_left_out_or_swapped(published):
    values = published.evidence()[2]
    different = next(i for i in range(1, len(values)) if values[i] != values[0])
    swapped = list(values)
    swapped[0], swapped[different] = swapped[different], swapped[0]
    for changed in ([*values, 0], values[:-1], values[1:], [], swapped, values[::-1]):
        with pytest.raises((InvalidProof, Rejected)):
            published.check(values=changed)


def test_words_of_the_proof_cannot_be_changed(published):
    """A bit of each of a hundred words; and a proof that is longer, shorter, empty, or of zeros."""
    proof = published.evidence()[1]
    words = range(0, len(proof), 32)
    for start in np.random.default_rng(7).choice(list(words), size=min(100, len(words)), replace=False):
        changed = bytearray(proof)
        changed[start + 31] ^= 1
        with pytest.raises((InvalidProof, Rejected)):
            published.check(proof=bytes(changed))
    for changed in (proof + bytes(32), proof + bytes(1), proof[:-32], proof[32:], b"", bytes(len(proof))):
        with pytest.raises((InvalidProof, Rejected)):
            published.check(proof=changed)


def test_what_a_proof_is_said_to_say_must_be_what_it_says(published):
    fresh = published.record.model_copy(update={"context": "77" * 32})
    context, inputs, statement = codec.said_struct(published.record)
    for said in (
        (bytes(32), inputs, statement),
        (context, bytes(32), statement),
        (context, inputs, bytes(32)),
        codec.said_struct(fresh),
    ):
        with pytest.raises(Rejected):
            published.verify(said=said)


def test_a_replay_is_refused(published):
    with pytest.raises(Rejected, match=r"counts once|has been proven"):
        published.verify()


def test_another_key_or_other_words_are_refused(published):
    material = published.wanted.material(published.chain, published.contract)
    assert published.check(material=material) == published.check()
    for place in np.random.default_rng(3).integers(0, len(material), 20):
        changed = bytearray(material)
        changed[place] ^= 1
        with pytest.raises((InvalidProof, Rejected)):
            published.check(material=bytes(changed))
    with pytest.raises((InvalidProof, Rejected)):
        published.check(key=b"\x55" * 32)
    with pytest.raises(Rejected):
        published.verify(model=b"\x55" * 32)


def test_a_reader_needs_no_compiler(published, monkeypatch):
    """What the pinned compiler makes of a known source is known, and is what was deployed here."""
    wanted = published.wanted
    runtime = published.chain.network.code(published.contract)
    assert verifiers.compiled(published.chain, wanted).runtime == runtime
    if wanted.contract.interface == verifiers.SHARED:
        assert verifiers.KNOWN_CODE[wanted.name] == hashlib.sha256(runtime).hexdigest()
        monkeypatch.setattr(verifiers, "compiled", None)
    assert published.chain.examine(published.record, published.bundle)
    # Where nothing is known to compare with, the chain's word is not passed on.
    monkeypatch.setattr(verifiers, "exporter", lambda _backend: None)
    assert not published.chain.examine(published.record, published.bundle)


@pytest.mark.parametrize("whose", ["verifier", "registry", "contract"])
def test_a_contract_that_says_yes_to_everything_is_found_out(published, monkeypatch, whose):
    """Whoever registers a model names its verifier: a reader does not take the word of a contract of his for it."""
    network = published.chain.network
    places = {"verifier": published.model.terms["verifier"], "registry": network.registry}
    false = places.get(whose) or published.contract
    honest = type(network).code

    def other(network, address, block="latest"):
        code = honest(network, address, block)
        return code[40:] if address.lower() == false.lower() else code

    monkeypatch.setattr(type(network), "code", other)
    with pytest.raises(InvalidProof, match=r"that balance-evm knows|is not that of ezkl"):
        published.chain.examine(published.record, published.bundle)


def test_another_models_proof_is_refused(published):
    """A proof of another circuit of the same proof system, shown to this model."""
    if published.bundle.proof.backend != "ezkl":
        pytest.skip("the other circuit of this test is one of ezkl's")
    fixture = json.loads((Path(__file__).parent / "fixtures" / "other_proof.json").read_text())
    proof, values = bytes.fromhex(fixture["proof"]), [int(value) for value in fixture["values"]]
    with pytest.raises((InvalidProof, Rejected)):
        published.check(proof=proof, values=values)
    with pytest.raises((InvalidProof, Rejected)):
        published.verify(proof=proof, values=values)


def test_the_example_is_the_one_that_people_see():
    assert (EXAMPLE / "mnist_mlp.onnx").exists()
    assert README.exists()
