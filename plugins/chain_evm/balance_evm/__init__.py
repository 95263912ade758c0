"""Balance on an EVM chain: a registry that orders records and has proofs checked by contracts."""

NAME = "evm"
"""What entry points, references and vouchers call this chain."""
