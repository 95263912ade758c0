"""What comes with the core: local storage, the embedded ledger, the local executor, the reference backend."""
