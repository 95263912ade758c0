"""The proving side: check, set up, answer and prove with ezkl."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING

from balance_core import srs
from balance_core.contracts import ExportsDedicatedEvmVerifier, MakesTestSrs, ProofBackend, StatesInputs
from balance_core.errors import ConfigError, InvalidProof, ToolFailed
from balance_core.records import Circuit, Proof, VerifyingKey
from balance_core.srs import CURVE, Parameters
from balance_core.stages import Capabilities
from balance_ezkl import NAME, answer, container
from balance_ezkl.key import SettingsPart, settings_document
from balance_ezkl.settings import EzklSettings
from balance_ezkl.tool import EZKL_VERSION, EzklFailed, call, ezkl, use_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from balance_core.contracts import Batch, EvmCircuit, EvmContract, EvmProof, Job, Request, Samples
    from balance_core.model import Model
    from balance_core.records import Opening, Tensor
    from balance_core.stages import Support
    from balance_ezkl.plans import Choice

PLUGIN_VERSION = "0.1.0"
_WORK = {
    "check": ("support",),
    "setup": ("support", "search", "trial", "crew"),
    "execute": ("witness", "crew"),
    "prove": ("witness", "verifier"),
}
"""What each stage imports late: the process that only asks for the settings' class does without."""


class EzklBackend(ProofBackend, StatesInputs, MakesTestSrs, ExportsDedicatedEvmVerifier):
    """Proves with ezkl: halo2 over BN254, with inputs and outputs public and the weights fixed in the key."""

    api_version = 1
    settings_class = EzklSettings
    settings: EzklSettings
    version = f"{PLUGIN_VERSION}+ezkl{EZKL_VERSION}"
    capabilities = Capabilities(
        sound=True,
        zero_knowledge=True,
        binds_context=True,
        deterministic=True,
        security_bits=100,
        proof_system="Halo2 (Plonkish, KZG commitments)",
        field="scalar field of BN254",
        security={"BN254, estimates since exTNFS": 100, "BN254, generic attacks only": 128},
        tool_licence="none stated in its package",
        security_note="discrete logarithms and pairings on BN254: about 100 bits since exTNFS, 128 before it",
    )

    @classmethod
    def warm_up(cls, stage: str) -> None:
        """Import ezkl, and what the stage does its work with."""
        ezkl()
        for module in _WORK.get(stage, ()):
            import_module(f"balance_ezkl.{module}")

    def check(self, model: Model) -> Support:
        """Name the nodes that ezkl cannot take, and say what proving the others would cost."""
        from balance_ezkl.support import support

        return support(model, self.settings)

    def setup(self, model: Model, samples: Samples | None, job: Job) -> Circuit:
        """Choose ezkl's arguments from the samples, unless the settings name them all, and make the keys."""
        from balance_ezkl.graph import expanded, with_context
        from balance_ezkl.support import explain, refuse

        use_threads(job.threads)
        proto = expanded(model)
        refuse(proto)
        graph = job.scratch / "graph.onnx"
        graph.write_bytes(with_context(proto))
        try:
            choice = self._choose(model, samples, graph, job)
        except EzklFailed as error:
            raise explain(proto, self.settings, job.scratch, error) from error
        return self._make_keys(model, choice, graph, job)

    def _choose(self, model: Model, samples: Samples | None, graph: Path, job: Job) -> Choice:
        from balance_ezkl.circuit import lay_out
        from balance_ezkl.crew import Crew
        from balance_ezkl.plans import Choice
        from balance_ezkl.search import Search
        from balance_ezkl.trial import Trial

        if samples is not None:
            with Crew(job.threads) as crew:
                place = job.scratch, crew
                trial = Trial(graph, (model.inputs, model.outputs), samples, self.settings, place)
                return Search(trial, job.progress).choose()
        arguments = self.settings.arguments()
        if arguments is None:
            raise ConfigError(
                "ezkl's arguments cannot be chosen without samples",
                hint="give inputs to try, or the settings of a circuit that was made before",
            )
        return Choice(lay_out(graph, arguments, self.settings, job.scratch))

    def _make_keys(self, model: Model, choice: Choice, graph: Path, job: Job) -> Circuit:
        from balance_ezkl.circuit import compile_circuit

        document = settings_document(model.inputs, model.outputs, choice.layout.settings)
        logrows = SettingsPart.read(document).run_args.logrows
        compiled, vk, pk, string_cut, settings_file = (
            job.scratch / name for name in ("compiled", "vk.key", "pk.key", "cut.srs", "part.json")
        )
        compile_circuit(graph, choice.layout, compiled, job.scratch)
        string = job.srs(CURVE, logrows, self._make(logrows))
        cut = srs.cut(string)
        job.progress(f"making the keys of 2^{logrows} rows")
        compression = self.settings.disable_selector_compression
        call("setup", *_absolute(compiled, vk, pk, string), None, compression, folder=job.scratch)
        settings_file.write_bytes(document)
        string_cut.write_bytes(cut)
        return Circuit(
            backend=NAME,
            backend_version=self.version,
            model_id=model.model_id,
            settings=self.settings.with_arguments(choice.layout.arguments).model_dump(mode="json"),
            inputs=tuple(model.inputs),
            outputs=tuple(model.outputs),
            setup_trust=Parameters.of_cut(cut).setup_trust,
            key={"key": job.publish(vk), "settings": job.publish(settings_file), "srs": job.publish(string_cut)},
            proving={"circuit": job.publish(compiled), "pk": job.publish(pk)},
            facts=choice.facts,
        )

    def execute(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        """Answer each sample by ezkl's own witness, as a proof would state it."""
        del opening
        from balance_ezkl import witness
        from balance_ezkl.crew import Crew

        use_threads(job.threads)
        part, compiled = _settings(circuit, job), job.path(circuit.proving["circuit"])
        counts = {len(array) for array in inputs.values()}
        if len(counts) != 1:
            raise ConfigError("the inputs do not all have the same number of samples")
        count = counts.pop()
        samples = (_values(part, {name: array[index] for name, array in inputs.items()}) for index in range(count))
        answers = []
        with Crew(job.threads) as crew:
            found = crew.answers(compiled, samples, count, lookup_range=_tables(part))
            with closing(found):
                for each in found:
                    answers.append(witness.tensors(part.balance.outputs, part.output_scales, each.outputs))
                    job.progress("answering", len(answers) / count)
        return answers

    def stated(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        """Return each sample's inputs in the circuit's units."""
        del opening
        from balance_ezkl import witness

        part = _settings(circuit, job)
        count = min(map(len, inputs.values()), default=0)
        return [
            witness.tensors(
                part.balance.inputs,
                part.input_scales,
                _values(part, {name: array[index] for name, array in inputs.items()}),
            )
            for index in range(count)
        ]

    def prove(self, circuit: Circuit, opening: Opening, requests: Sequence[Request], job: Job) -> Proof:
        """Prove the answer to one request, and verify the proof before it is handed out."""
        del opening
        if len(requests) != 1:
            raise ConfigError(f"ezkl proves one request at a time, not {len(requests)}")
        use_threads(job.threads)
        request = requests[0]
        part, compiled = _settings(circuit, job), job.path(circuit.proving["circuit"])
        values = _values(part, request.inputs)
        witness_file = job.scratch / "witness.json"
        job.progress("computing the witness")
        answered = answer.compute(compiled, values, request.context, lookup_range=_tables(part), target=witness_file)
        logrows = part.run_args.logrows
        string = job.srs(CURVE, logrows, self._make(logrows), parameters=circuit.setup_trust.parameters)
        job.progress(f"proving 2^{logrows} rows")
        pk = job.path(circuit.proving["pk"])
        given, reference = _absolute(witness_file, compiled, pk), _absolute(string)
        made = call("prove", *given, None, *reference, folder=job.scratch)
        contents = container.Contents(
            tuple(int.from_bytes(bytes.fromhex(text), "little") for text in made["instances"][0]),
            bytes.fromhex(made["proof"].removeprefix("0x")),
        )
        proof = Proof(NAME, contents.to_bytes())
        self._check(circuit, part, proof, (request, values, answered.outputs), job)
        return proof

    @staticmethod
    def _check(
        circuit: Circuit,
        part: SettingsPart,
        proof: Proof,
        asked: tuple[Request, Sequence[Sequence[int]], Sequence[Sequence[int]]],
        job: Job,
    ) -> None:
        """Raise ToolFailed unless the proof verifies and says what was asked and answered."""
        from balance_ezkl import witness
        from balance_ezkl.verifier import EzklVerifier

        request, inputs, outputs = asked
        job.progress("verifying")
        key = VerifyingKey(NAME, {name: job.path(cid).read_bytes() for name, cid in circuit.key.items()})
        try:
            (statement,) = EzklVerifier().verify(key, None, proof)
        except InvalidProof as error:
            raise ToolFailed(
                f"ezkl made a proof that does not verify: {error.message}",
                hint="the reference string or the proving key may be damaged: run the setup again",
            ) from error
        wanted = (
            request.context.hex(),
            witness.tensors(part.balance.inputs, part.input_scales, inputs),
            witness.tensors(part.balance.outputs, part.output_scales, outputs),
        )
        if (statement.context, statement.inputs, statement.outputs) != wanted:
            raise ToolFailed("ezkl made a proof of something else than it was asked for")

    def make_test_srs(self, curve: str, k: int, target: Path) -> None:
        """Write a reference string whose secret ezkl draws and forgets; nobody has to believe that it does."""
        if curve != CURVE:
            raise ConfigError(f"ezkl proves over {CURVE}, not {curve}")
        call("gen_srs", str(target), k)

    def evm_contract(self, key: VerifyingKey) -> EvmContract:
        """Return ezkl's reusable contract; it reads the transcript that proofs are made with anyway."""
        from balance_ezkl import evm

        return evm.contract(key)

    def evm_dedicated(self, key: VerifyingKey) -> EvmContract:
        """Return the contract that ezkl generates for this circuit alone."""
        from balance_ezkl import evm

        return evm.dedicated(key)

    def evm_circuit(self, key: VerifyingKey) -> EvmCircuit:
        """Return the circuit's words, the length of its proofs, and the ranges that `EzklVerifier` checks."""
        from balance_ezkl import evm

        return evm.circuit(key)

    def evm_proof(self, key: VerifyingKey, proof: Proof) -> EvmProof:
        """Return ezkl's own bytes and the public values."""
        from balance_ezkl import evm

        return evm.proof_parts(key, proof)

    def _make(self, logrows: int) -> _MakeSrs:
        return _MakeSrs(self, logrows)


class _MakeSrs:
    """Makes a test string of one size at a given place."""

    def __init__(self, backend: EzklBackend, logrows: int) -> None:
        self.backend, self.logrows = backend, logrows

    def __call__(self, target: Path) -> None:
        self.backend.make_test_srs(CURVE, self.logrows, target)


def _absolute(*paths: Path) -> list[str]:
    return [str(path.absolute()) for path in paths]


def _settings(circuit: Circuit, job: Job) -> SettingsPart:
    return SettingsPart.read(job.path(circuit.key["settings"]).read_bytes())


def _values(part: SettingsPart, inputs: Mapping[str, np.ndarray]) -> list[list[int]]:
    from balance_ezkl import witness

    return witness.quantise_all(inputs, part.balance.inputs, part.input_scales, part.run_args.limit)


def _tables(part: SettingsPart) -> tuple[int, int] | None:
    return part.run_args.lookup_range if part.ezkl.required_lookups else None
