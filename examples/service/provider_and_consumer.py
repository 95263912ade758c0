"""A provider serves a model, and a consumer who trusts neither provider nor network uses it.

The provider registers the bundled digit reader on a ledger and answers over HTTP. Each answer comes with a signed
receipt at once. The consumer takes the registration from the ledger, checks every receipt, and has one answer proven:
the proof is checked in a process of the consumer's own, against the registration and the very input that was sent.

    python examples/service/provider_and_consumer.py [BACKEND]

Everything lies in a folder that is removed at the end, and talks on the loopback only. The default backend proves for
real (`pip install 'balance-zkml[prover]'`); `integer` is quick and proves nothing, which the output then says.
"""

from __future__ import annotations

import os
import sys
import tempfile

import numpy as np

from balance_core.provider import EXAMPLE
from balance_core.service import Client, Provider, listening


def main(backend: str) -> None:
    """Serve, ask three times, and have one answer proven."""
    images = np.load(EXAMPLE / "digits.npz")["x"][:16]

    print(f"The provider registers a model with the backend {backend}.")
    with (
        Provider(EXAMPLE / "mnist_mlp.onnx", samples=images, backend=backend) as provider,
        listening(provider) as url,
    ):
        registration = provider.registration
        print(f"  registration {registration.registration_id[:16]}..., setup trust: {registration.setup_trust.trust}")
        print(f"  it listens on {url}")

        with Client(url) as client:
            pin = client.pin()
            print(f"The consumer finds it on the ledger, and relies on {pin.registration.registration_id[:16]}...")
            for image in images[:3]:
                answer = client.ask(image)
                digit = int(next(iter(answer.outputs.values())).argmax())
                print(f"  answered {digit}; receipt {answer.receipt.receipt_id[:16]}... checked and kept")

            print("One answer is to be proven.")
            proven = client.ask(images[3], proof="now")
            statement = proven.statement
            digit = int(statement.outputs[0].real().argmax())
            print(f"  the proof shows {digit} for this input; its bundle has {len(proven.bundle)} bytes")
            print(f"  worth something to others: {'yes' if proven.proven else 'no, the backend is not sound'}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["BALANCE_HOME"] = home
        main(sys.argv[1] if len(sys.argv) > 1 else "zkml_halo2")
