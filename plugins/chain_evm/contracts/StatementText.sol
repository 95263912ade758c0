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

    /// @dev Writes behind the free memory, which nothing else claims meanwhile: each number and a comma, the last comma
    /// is taken back. In assembly, because pictures have many numbers.
    function _numbers(uint256[] calldata values, int256 low, int256 high) private pure returns (bytes memory text) {
        uint256 order = R;
        uint256 exact = EXACT;
        uint256 failure = 0;
        assembly ("memory-safe") {
            let half := shr(1, order)
            let source := values.offset
            let limit := add(source, shl(5, values.length))
            text := mload(0x40)
            let start := add(text, 0x20)
            let end := start
            for {} lt(source, limit) { source := add(source, 0x20) } {
                let size := calldataload(source)
                let value := size
                if gt(size, half) {
                    if iszero(lt(size, order)) {
                        failure := 1
                        break
                    }
                    size := sub(order, size)
                    value := sub(0, size)
                }
                if or(slt(value, low), sgt(value, high)) {
                    failure := 2
                    break
                }
                let quoted := iszero(lt(size, exact))
                if quoted {
                    mstore8(end, 34) // quotation mark
                    end := add(end, 1)
                }
                if slt(value, 0) {
                    mstore8(end, 45) // minus
                    end := add(end, 1)
                }
                let first := end
                end := add(end, 1)
                for { let power := 10 } iszero(lt(size, power)) { power := mul(power, 10) } { end := add(end, 1) }
                let place := end
                for {} gt(place, add(first, 1)) {} {
                    place := sub(place, 1)
                    mstore8(place, add(48, mod(size, 10)))
                    size := div(size, 10)
                }
                mstore8(first, add(48, size))
                if quoted {
                    mstore8(end, 34)
                    end := add(end, 1)
                }
                mstore8(end, 44) // comma
                end := add(end, 1)
            }
            let length := sub(end, start)
            if length { length := sub(length, 1) }
            mstore(text, length)
            mstore(0x40, and(add(end, 0x1f), not(0x1f)))
        }
        if (failure == 1) revert IProofVerifier.InvalidProof("a public value is not reduced");
        if (failure == 2) revert IProofVerifier.InvalidProof("a public value is out of range");
    }
}
