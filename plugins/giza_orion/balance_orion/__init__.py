"""Integer models as Cairo programs, proven by a STARK: what Orion and Giza promised, on your own machine."""

NAME = "giza_orion"
"""The name of backend and verifier."""
