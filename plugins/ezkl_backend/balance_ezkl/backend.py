"""The proving side: check, set up, answer and prove with ezkl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from balance_core import canonical, srs
from balance_core.contracts import MakesTestSrs, ProofBackend
from balance_core.errors import ConfigError, InvalidProof, ToolFailed
from balance_core.records import Circuit, Proof, VerifyingKey
from balance_core.srs import CURVE, Parameters
from balance_core.stages import Capabilities
from balance_ezkl import NAME, container, witness
from balance_ezkl.key import SettingsPart
from balance_ezkl.settings import EzklSettings
from balance_ezkl.tool import EZKL_VERSION, call, use_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.contracts import Batch, Job, Request, Samples
    from balance_core.model import Model
    from balance_core.records import Opening, Tensor
    from balance_core.stages import Support
    from balance_ezkl.search import Choice

PLUGIN_VERSION = "0.1.0"


class EzklBackend(ProofBackend, MakesTestSrs):
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
        security_note="discrete logarithms and pairings on BN254: about 100 bits since exTNFS, 128 by older estimates",
    )

    def check(self, model: Model) -> Support:
        """Name the nodes that ezkl cannot take, and say what proving the others would cost."""
        from balance_ezkl.support import support

        return support(model, self.settings)

    def setup(self, model: Model, samples: Samples, job: Job) -> Circuit:
        """Choose ezkl's arguments from the samples and make the keys."""
        from balance_ezkl.graph import expanded, with_context
        from balance_ezkl.search import Search

        use_threads(job.threads)
        graph = job.scratch / "graph.onnx"
        graph.write_bytes(with_context(expanded(model)))
        choice = Search(
            graph, (model.inputs, model.outputs), samples, self.settings, job.scratch, job.progress
        ).choose()
        document = canonical.encode(
            {
                "balance": {
                    "format": 1,
                    "inputs": [spec.model_dump(mode="json") for spec in model.inputs],
                    "outputs": [spec.model_dump(mode="json") for spec in model.outputs],
                },
                "ezkl": choice.layout.settings,
            }
        )
        return self._make_keys(model, document, choice, graph, job)

    def _make_keys(self, model: Model, document: bytes, choice: Choice, graph: Path, job: Job) -> Circuit:
        from balance_ezkl.circuit import compile_circuit

        logrows = SettingsPart.read(document).run_args.logrows
        compiled, vk, pk = (job.scratch / name for name in ("compiled", "vk.key", "pk.key"))
        compile_circuit(graph, choice.layout, compiled, job.scratch)
        string = job.srs(CURVE, logrows, self._make(logrows))
        cut = srs.cut(string)
        job.progress(f"making the keys of 2^{logrows} rows")
        compression = self.settings.disable_selector_compression
        call("setup", str(compiled), str(vk), str(pk), str(string), None, compression)
        settings_file, cut_file = job.scratch / "part.json", job.scratch / "cut.srs"
        settings_file.write_bytes(document)
        cut_file.write_bytes(cut)
        return Circuit(
            backend=NAME,
            backend_version=self.version,
            model_id=model.model_id,
            settings=self.settings.model_dump(mode="json"),
            inputs=tuple(model.inputs),
            outputs=tuple(model.outputs),
            setup_trust=Parameters.of_cut(cut).setup_trust,
            key={"key": job.publish(vk), "settings": job.publish(settings_file), "srs": job.publish(cut_file)},
            proving={"circuit": job.publish(compiled), "pk": job.publish(pk)},
            facts=_facts(choice),
        )

    def execute(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        """Answer each sample by ezkl's own witness, as a proof would state it."""
        del opening
        use_threads(job.threads)
        part, compiled = _settings(circuit, job), job.path(circuit.proving["circuit"])
        counts = {len(array) for array in inputs.values()}
        if len(counts) != 1:
            raise ConfigError("the inputs do not all have the same number of samples")
        answers = []
        count = counts.pop()
        for index in range(count):
            values = _values(part, {name: array[index] for name, array in inputs.items()})
            answer = witness.compute(compiled, values, bytes(witness.CONTEXT_BYTES), lookup_range=_tables(part))
            answers.append(witness.tensors(part.balance.outputs, part.output_scales, answer.outputs))
            job.progress("answering", (index + 1) / count)
        return answers

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
        answer = witness.compute(compiled, values, request.context, lookup_range=_tables(part), target=witness_file)
        logrows = part.run_args.logrows
        string = job.srs(CURVE, logrows, self._make(logrows), parameters=circuit.setup_trust.parameters)
        job.progress(f"proving 2^{logrows} rows")
        pk = job.path(circuit.proving["pk"])
        made = call("prove", str(witness_file), str(compiled), str(pk), None, str(string))
        contents = container.Contents(
            tuple(int.from_bytes(bytes.fromhex(text), "little") for text in made["instances"][0]),
            bytes.fromhex(made["proof"].removeprefix("0x")),
        )
        proof = Proof(NAME, contents.to_bytes())
        self._check(circuit, proof, request, values, answer.outputs, job)
        return proof

    @staticmethod
    def _check(
        circuit: Circuit,
        proof: Proof,
        request: Request,
        inputs: Sequence[Sequence[int]],
        outputs: Sequence[Sequence[int]],
        job: Job,
    ) -> None:
        """Raise ToolFailed unless the proof verifies and says what was asked and answered."""
        from balance_ezkl.verifier import EzklVerifier

        job.progress("verifying")
        key = VerifyingKey(NAME, {name: job.path(cid).read_bytes() for name, cid in circuit.key.items()})
        try:
            (statement,) = EzklVerifier().verify(key, None, proof)
        except InvalidProof as error:
            raise ToolFailed(
                f"ezkl made a proof that does not verify: {error.message}",
                hint="the reference string or the proving key may be damaged: run the setup again",
            ) from error
        said = [[list(tensor.integers) for tensor in side] for side in (statement.inputs, statement.outputs)]
        meant = [[list(values) for values in side] for side in (inputs, outputs)]
        if said != meant or statement.context != request.context.hex():
            raise ToolFailed("ezkl made a proof of something else than it was asked for")

    def make_test_srs(self, curve: str, k: int, target: Path) -> None:
        """Write a reference string whose secret ezkl draws and forgets; nobody has to believe that it does."""
        if curve != CURVE:
            raise ConfigError(f"ezkl proves over {CURVE}, not {curve}")
        call("gen_srs", str(target), k)

    def _make(self, logrows: int) -> _MakeSrs:
        return _MakeSrs(self, logrows)


class _MakeSrs:
    """Makes a test string of one size at a given place."""

    def __init__(self, backend: EzklBackend, logrows: int) -> None:
        self.backend, self.logrows = backend, logrows

    def __call__(self, target: Path) -> None:
        self.backend.make_test_srs(CURVE, self.logrows, target)


def _settings(circuit: Circuit, job: Job) -> SettingsPart:
    return SettingsPart.read(job.path(circuit.key["settings"]).read_bytes())


def _values(part: SettingsPart, inputs: dict[str, object]) -> list[list[int]]:
    return witness.quantise_all(inputs, part.balance.inputs, part.input_scales, part.run_args.limit)


def _tables(part: SettingsPart) -> tuple[int, int] | None:
    return part.run_args.lookup_range if part.ezkl.required_lookups else None


def _facts(choice: Choice) -> dict[str, int | float | str | bool]:
    arguments = choice.layout.arguments
    return {
        "rows": choice.layout.rows,
        "k": arguments.logrows,
        "columns": arguments.inner,
        "input_scale": arguments.input_scale,
        "param_scale": arguments.param_scale,
        "scale_rebase_multiplier": arguments.multiplier,
        "decomp_base": arguments.base,
        "decomp_legs": arguments.legs,
        "agreement": choice.agreement,
        "samples": choice.samples,
        "candidates": choice.tried,
    }
