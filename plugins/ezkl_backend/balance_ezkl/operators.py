"""Which operators ezkl proves as ONNX means them, found by comparing its answers with onnxruntime's, one by one.

What it proves under some conditions only is in `rules`.
"""

# fmt: off
SUPPORTED = frozenset(
    {
        "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
        "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Concat", "Conv", "ConvTranspose", "Cos", "Cosh",
        "CumSum", "DepthToSpace", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten",
        "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
        "Greater", "GreaterOrEqual", "HardSigmoid", "Hardmax", "Identity", "LSTM", "LeakyRelu", "Less",
        "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "Not", "OneHot", "Or",
        "PRelu", "Pad", "Pow", "RNN", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
        "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape",
        "Resize", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softmax", "Softplus",
        "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu",
        "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
    }
)
"""Operators whose answers were seen to be right."""
NEVER_NEGATIVE = frozenset(
    {
        "Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Relu", "Sigmoid", "Softmax",
        "Softplus", "Sqrt",
    }
)
"""Operators whose values are never negative, whatever they are given."""
KEEPS_SIGN = frozenset(
    {
        "AveragePool", "DepthToSpace", "Dropout", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity",
        "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze",
    }
)
"""Operators whose values are not negative where those of their first input are not."""
# fmt: on

MENDS = {
    "DequantizeLinear": "export the model before it was quantised: ezkl has a quantisation of its own",
    "LogSoftmax": "end the model at Softmax, or at what goes into it: the largest entry is the same",
    "LpNormalization": "write it as a division by ReduceL2",
    "QuantizeLinear": "export the model before it was quantised: ezkl has a quantisation of its own",
    "Tile": "write it as Expand and Reshape",
    "TopK": "end the model at the scores, or take the largest with ArgMax",
}
"""What to do in place of some that are missing."""
