"""The backend `zkml_halo2`: proofs of integer models with halo2, KZG over BN254."""

from __future__ import annotations

NAME = "zkml_halo2"
"""The backend's name, as its entry points have it."""
