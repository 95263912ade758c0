"""The conformance kit: what tells the author of a plugin whether it is right."""
