"""Small .tflite files for the tests, written operator by operator."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": 0,
    "float16": 1,
    "int32": 2,
    "uint8": 3,
    "int64": 4,
    "bool": 6,
    "int16": 7,
    "int8": 9,
    "resource": 13,
}

VERSIONS = {"BROADCAST_TO": 2}


class Writer:
    """Collects tensors and operators, and writes them as a file."""

    def __init__(self) -> None:
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[tuple[str, list[int], list[int], tuple[str, dict[str, Any]] | None]] = []

    def tensor(self, shape, dtype="float32", *, data=None, scale=None, zero_point=0, axis=0, name=None) -> int:
        self.tensors.append(
            {
                "shape": list(shape),
                "dtype": dtype,
                "data": None if data is None else np.asarray(data, dtype=dtype).reshape(shape),
                "scale": None if scale is None else np.atleast_1d(np.asarray(scale, dtype=np.float32)),
                "zero_point": np.atleast_1d(np.asarray(zero_point, dtype=np.int64)),
                "axis": axis,
                "name": name or f"t{len(self.tensors)}",
            }
        )
        return len(self.tensors) - 1

    def operator(self, kind: str, inputs, outputs, options: str | None = None, **values: Any) -> None:
        self.operators.append((kind, list(inputs), list(outputs), (options, values) if options else None))

    def write(self, inputs, outputs) -> bytes:
        b = flatbuffers.Builder(1024)
        buffers = [b""] + [t["data"].tobytes() for t in self.tensors if t["data"] is not None]
        places = []
        for data in buffers:
            vector = b.CreateByteVector(data) if data else None
            tflite.BufferStart(b)
            if vector is not None:
                tflite.BufferAddData(b, vector)
            places.append(tflite.BufferEnd(b))
        numbers = iter(range(1, len(buffers)))
        tensors = [self._tensor(b, t, next(numbers) if t["data"] is not None else 0) for t in self.tensors]
        kinds = list(dict.fromkeys(kind for kind, *_ in self.operators))
        codes = []
        for kind in kinds:
            code = getattr(tflite.BuiltinOperator, kind)
            tflite.OperatorCodeStart(b)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(code, 127))
            tflite.OperatorCodeAddBuiltinCode(b, code)
            tflite.OperatorCodeAddVersion(b, VERSIONS.get(kind, 1))
            codes.append(tflite.OperatorCodeEnd(b))
        operators = [self._operator(b, kinds, operator) for operator in self.operators]
        vectors = self._offsets(b, tensors), self._offsets(b, operators)
        ends = self._ints(b, inputs), self._ints(b, outputs)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, vectors[0])
        tflite.SubGraphAddInputs(b, ends[0])
        tflite.SubGraphAddOutputs(b, ends[1])
        tflite.SubGraphAddOperators(b, vectors[1])
        graph = tflite.SubGraphEnd(b)
        lists = self._offsets(b, codes), self._offsets(b, [graph]), self._offsets(b, places)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, lists[0])
        tflite.ModelAddSubgraphs(b, lists[1])
        tflite.ModelAddBuffers(b, lists[2])
        b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
        return bytes(b.Output())

    def _tensor(self, b, t, buffer: int) -> int:
        name, shape, quantisation = b.CreateString(t["name"]), self._ints(b, t["shape"]), None
        if t["scale"] is not None:
            scales, points = b.CreateNumpyVector(t["scale"]), b.CreateNumpyVector(t["zero_point"])
            tflite.QuantizationParametersStart(b)
            tflite.QuantizationParametersAddScale(b, scales)
            tflite.QuantizationParametersAddZeroPoint(b, points)
            tflite.QuantizationParametersAddQuantizedDimension(b, t["axis"])
            quantisation = tflite.QuantizationParametersEnd(b)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, TYPES[t["dtype"]])
        tflite.TensorAddBuffer(b, buffer)
        tflite.TensorAddName(b, name)
        if quantisation is not None:
            tflite.TensorAddQuantization(b, quantisation)
        return tflite.TensorEnd(b)

    def _operator(self, b, kinds, operator) -> int:
        kind, inputs, outputs, options = operator
        table, table_type = None, 0
        if options is not None:
            name, values = options
            values = {k: b.CreateString(v) if isinstance(v, str) else v for k, v in values.items()}
            getattr(tflite, f"{name}Start")(b)
            for field, value in values.items():
                getattr(tflite, f"{name}Add{field}")(b, value)
            table = getattr(tflite, f"{name}End")(b)
            table_type = getattr(tflite.BuiltinOptions, name)
        read, made = self._ints(b, inputs), self._ints(b, outputs)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, kinds.index(kind))
        tflite.OperatorAddInputs(b, read)
        tflite.OperatorAddOutputs(b, made)
        if table is not None:
            tflite.OperatorAddBuiltinOptionsType(b, table_type)
            tflite.OperatorAddBuiltinOptions(b, table)
        return tflite.OperatorEnd(b)

    @staticmethod
    def _ints(b, values) -> int:
        return b.CreateNumpyVector(np.asarray(list(values), dtype=np.int32))

    @staticmethod
    def _offsets(b, offsets) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()
