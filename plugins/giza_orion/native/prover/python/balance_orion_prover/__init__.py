"""Runs Cairo programs and proves the runs: the proving half of Balance's giza_orion backend."""

from balance_orion_prover.processor import require_processor

require_processor()

from balance_orion_prover.native import MAX_ROWS, __version__, preprocessed_root, prove, run  # noqa: E402 - after the processor was checked

__all__ = ["MAX_ROWS", "__version__", "preprocessed_root", "prove", "run"]
