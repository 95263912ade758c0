"""From a normalised ONNX graph to an integer model."""
