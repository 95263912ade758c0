"""Converters: files of other formats become ONNX graphs, or integer models where they are integers already."""
