"""Audits: a test set, answered under receipts, and the accuracy that proofs of a fair sample of them show."""
