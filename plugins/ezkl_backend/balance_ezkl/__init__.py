"""Balance backend that proves ONNX models with ezkl: halo2 with KZG over BN254."""

NAME = "ezkl"
"""What entry points, circuits, keys and proofs call this backend."""
