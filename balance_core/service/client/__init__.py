"""The consumer's side: asks a provider, and believes nothing that it did not check."""
