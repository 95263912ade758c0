"""Backends whose stages are not what they say."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from cheats import caught_by
from honest import HonestBackend

from balance_core.errors import ConfigError, InvalidProof, StageError
from balance_core.stages import NodeProblem, Support


@caught_by("stages_write_to_their_scratch_folder_only")
class WritesToHome(HonestBackend):
    """A cache is kept at home."""

    def key_parts(self, model):
        (Path.home() / ".mock-cache").write_bytes(model.onnx)
        return super().key_parts(model)


@caught_by("stages_write_to_their_scratch_folder_only")
class WritesToWorkingFolder(HonestBackend):
    """A file is written to wherever the user happens to be."""

    def key_parts(self, model):
        Path("settings.json").write_text("{}")
        return super().key_parts(model)


@caught_by("stages_write_to_their_scratch_folder_only")
class ChangesPublishedContent(HonestBackend):
    """Content that was published is touched again."""

    def read_key(self, circuit, opening, job):
        path = job.path(circuit.key["model"])
        path.chmod(0o600)
        return super().read_key(circuit, opening, job)


@caught_by("stages_need_no_network")
class UsesNetwork(HonestBackend):
    """Each setup is told to somebody, and nothing is said if he does not answer."""

    def key_parts(self, model):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        return super().key_parts(model)


@caught_by("check_says_no_exactly_when_setup_refuses", "unsupported_nodes_are_named")
class CheckSaysYes(HonestBackend):
    """`check` finds nothing wrong with any model, and setup does."""

    def setup(self, model, samples, job):
        if not super().check(model).ok:
            raise InvalidProof("no")
        return super().setup(model, samples, job)

    def check(self, _):
        return Support()


@caught_by("check_says_no_exactly_when_setup_refuses")
class CheckSaysNo(HonestBackend):
    """`check` refuses two inputs, which setup takes."""

    def check(self, model):
        if len(model.inputs) > 1:
            problem = NodeProblem(node=model.proto().graph.node[0].name, operator="Add", reason="two inputs")
            return Support(problems=(problem,))
        return super().check(model)

    def setup(self, model, samples, job):
        return HonestBackend(self.settings).setup(model, samples, job)


@caught_by("check_has_no_side_effects")
class CheckLeavesFile(HonestBackend):
    """`check` writes a report."""

    def check(self, model):
        with contextlib.suppress(OSError):
            Path("report.txt").write_text(model.name)
        return super().check(model)

    def setup(self, model, samples, job):
        return HonestBackend(self.settings).setup(model, samples, job)


@caught_by("execute_equals_what_is_proven", "valid_proof_states_what_was_proven")
class ExecutesOtherwise(HonestBackend):
    """What `execute` answers is finer by one unit than what is proven."""

    def execute(self, circuit, opening, inputs, job):
        return [
            tuple(tensor.model_copy(update={"integers": tuple(v + 1 for v in tensor.integers)}) for tensor in answer)
            for answer in super().execute(circuit, opening, inputs, job)
        ]


@caught_by("answers_are_the_models", "execute_equals_what_is_proven")
class ExecutesBatchesOtherwise(HonestBackend):
    """`execute` answers the first sample of a batch, and repeats itself."""

    def execute(self, circuit, opening, inputs, job):
        answers = super().execute(circuit, opening, inputs, job)
        return [answers[0]] * len(answers)


@caught_by("inputs_are_not_mixed_up")
class TakesInputsAsTheyCome(HonestBackend):
    """Inputs are taken in the order of the request, whatever their names."""

    def grid(self, rules, inputs):
        return super().grid(rules, dict(zip([name for name, _ in rules.inputs], inputs.values(), strict=True)))


@caught_by("cancelled_stage_ends")
class CannotBeStopped(HonestBackend):
    """Being told to stop is taken as noise."""

    def prove(self, circuit, opening, requests, job):
        told = job.progress

        def progress(message, fraction=None):
            with contextlib.suppress(StageError):
                told(message, fraction)

        job.progress = progress
        return super().prove(circuit, opening, requests, job)


MODELS: dict[str, str] = {}


@caught_by("fresh_process_proves")
class KeepsStateInProcess(HonestBackend):
    """Where the key is, the class remembers."""

    def key_parts(self, model):
        parts = super().key_parts(model)
        MODELS.update(dict.fromkeys(parts, "here"))
        return parts

    def read_key(self, circuit, opening, job):
        if not MODELS:
            raise ConfigError("set the model up first")
        return super().read_key(circuit, opening, job)
