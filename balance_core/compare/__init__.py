"""The comparison harness: every backend on identical models, and what may be concluded from it."""
