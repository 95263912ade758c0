"""With every proof system that is installed: what a provider answered is what its proof states, input and all."""

import numpy as np
import pytest

import balance_core
from balance_core import registry
from balance_core.errors import ConfigError
from balance_core.records import HiddenTensor
from balance_core.service import Provider
from balance_core.service.receipts import matching
from balance_core.testing import models
from tests.service.live import SAMPLES, home, settled


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=pytest.mark.plugin(name)) for name in ("ezkl", "giza_orion", "zkml_halo2")],
)
def test_a_receipt_names_input_and_output_as_the_proof_does(backend, tmp_path):
    if backend not in registry.names("backends"):
        pytest.skip(f"{backend} is not installed")
    with home(tmp_path), Provider(models.mlp(seed=1), samples=SAMPLES[:, 0], backend=backend) as provider:
        answer = provider.infer(SAMPLES[2], proof="now")
        job = settled(provider, answer.job.job_id)
        assert job.bundle, job.reason
        with provider.storage.open(job.bundle, max_size=2**28) as stream:
            verified = balance_core.verify(stream.read(), registration=provider.registration, chain="ledger")
        statement = matching(answer.receipt.receipt, verified)
        assert verified.sound
        assert statement.inputs_digest == answer.receipt.receipt.input_digest
        assert np.array_equal(answer.outputs["y"], statement.outputs[0].real().astype(np.float32))


@pytest.mark.slow
@pytest.mark.plugin("zkml_halo2")
def test_a_registration_that_hides_inputs_says_so_and_its_receipts_name_no_digest(tmp_path):
    if "zkml_halo2" not in registry.names("backends"):
        pytest.skip("zkml_halo2 is not installed")
    settings = {"inputs": "private"}
    with (
        home(tmp_path),
        Provider(models.mlp(seed=1), samples=SAMPLES[:, 0], backend="zkml_halo2", settings=settings) as provider,
    ):
        assert provider.capabilities.private_input
        with pytest.raises(ConfigError, match="hides inputs"):
            provider.infer(SAMPLES[2], visibility="public")
        answer = provider.infer(SAMPLES[2], proof="now", visibility="private")
        assert answer.receipt.receipt.input_digest is None
        job = settled(provider, answer.job.job_id)
        assert job.bundle, job.reason
        with provider.storage.open(job.bundle, max_size=2**28) as stream:
            verified = balance_core.verify(stream.read(), registration=provider.registration, chain="ledger")
        statement = matching(answer.receipt.receipt, verified)
        assert isinstance(statement.inputs[0], HiddenTensor)
