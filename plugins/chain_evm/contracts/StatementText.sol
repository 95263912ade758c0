// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CoreDigest} from "./CoreDigest.sol";
import {IProofVerifier, Said} from "./IProofVerifier.sol";

/// @title How the public values of one circuit are read as a statement of the core's
struct Layout {
    /// The statement's text up to its context: circuit and commitment.
    bytes opening;
    Tensor[] inputs;
    Tensor[] outputs;
}

/// @dev One tensor: so many public values, what they may be, and the text around them.
struct Tensor {
    uint256 size;
    int256 low;
    int256 high;
    bytes head;
    bytes tail;
}

/// @title A statement as the core writes it, from public values, and the digests that name it
/// @dev Integers are in decimal; those of 2^53 and more are quoted, as `balance_core.canonical` has it.
library StatementText {
    /// @dev The order of BN254's scalar field; its upper half stands for negative numbers.
    uint256 internal constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant EXACT = 2 ** 53;

    /// @notice The number of public values behind the context.
    function count(Layout memory form) internal pure returns (uint256 total) {
        for (uint256 i = 0; i < form.inputs.length; ++i) {
            total += form.inputs[i].size;
        }
        for (uint256 i = 0; i < form.outputs.length; ++i) {
            total += form.outputs[i].size;
        }
    }

    /// @notice What public values say: inputs, then outputs. Reverts for a value that is not in its tensor's range.
    /// @param values Residues of the field, as many as `count` says, without the context.
    function said(Layout memory form, bytes32 context, uint256[] calldata values)
        internal
        pure
        returns (Said memory result)
    {
        bytes memory framed = CoreDigest.start("inputs/1");
        bytes memory inputs;
        uint256 next = 0;
        for (uint256 i = 0; i < form.inputs.length; ++i) {
            Tensor memory tensor = form.inputs[i];
            bytes memory text = _text(tensor, values[next:next + tensor.size]);
            next += tensor.size;
            framed = abi.encodePacked(framed, uint64(text.length), text);
            inputs = i == 0 ? text : abi.encodePacked(inputs, ",", text);
        }
        bytes memory outputs;
        for (uint256 i = 0; i < form.outputs.length; ++i) {
            Tensor memory tensor = form.outputs[i];
            bytes memory text = _text(tensor, values[next:next + tensor.size]);
            next += tensor.size;
            outputs = i == 0 ? text : abi.encodePacked(outputs, ",", text);
        }
        result.context = context;
        result.inputsDigest = sha256(framed);
        result.statementDigest = CoreDigest.ofOne(
            "record/statement/1",
            abi.encodePacked(
                form.opening,
                CoreDigest.hexOf(context),
                '","inputs":[',
                inputs,
                '],"outputs":[',
                outputs,
                '],"schema_version":1}'
            )
        );
    }

    function _text(Tensor memory tensor, uint256[] calldata values) private pure returns (bytes memory) {
        return abi.encodePacked(tensor.head, _numbers(values, tensor.low, tensor.high), tensor.tail);
    }

    /// @dev Writes behind the free memory, which nothing else claims meanwhile.
    function _numbers(uint256[] calldata values, int256 low, int256 high) private pure returns (bytes memory text) {
        uint256 start;
        assembly ("memory-safe") {
            text := mload(0x40)
            start := add(text, 0x20)
        }
        uint256 end = start;
        unchecked {
            for (uint256 i = 0; i < values.length; ++i) {
                uint256 size = values[i];
                if (size >= R) revert IProofVerifier.InvalidProof("a public value is not reduced");
                bool negative = size > R / 2;
                if (negative) size = R - size;
                int256 value = negative ? -int256(size) : int256(size);
                if (value < low || value > high) revert IProofVerifier.InvalidProof("a public value is out of range");
                if (i != 0) end = _put(end, ",");
                if (size >= EXACT) end = _put(end, '"');
                if (negative) end = _put(end, "-");
                end = _decimal(end, size);
                if (size >= EXACT) end = _put(end, '"');
            }
        }
        assembly ("memory-safe") {
            mstore(text, sub(end, start))
            mstore(0x40, and(add(end, 0x3f), not(0x1f)))
        }
    }

    function _put(uint256 start, bytes1 character) private pure returns (uint256 end) {
        assembly ("memory-safe") {
            mstore8(start, byte(0, character))
            end := add(start, 1)
        }
    }

    function _decimal(uint256 start, uint256 value) private pure returns (uint256 end) {
        assembly ("memory-safe") {
            end := add(start, 1)
            for { let power := 10 } iszero(lt(value, power)) { power := mul(power, 10) } { end := add(end, 1) }
            for { let place := end } gt(place, start) {} {
                place := sub(place, 1)
                mstore8(place, add(48, mod(value, 10)))
                value := div(value, 10)
            }
        }
    }
}
