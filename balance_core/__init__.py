"""Balance: prove that an answer came from the model that was registered, and let anyone verify it."""
