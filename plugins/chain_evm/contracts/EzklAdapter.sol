// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IProofVerifier, Said} from "./IProofVerifier.sol";
import {Layout, StatementText} from "./StatementText.sol";

/// @title What ezkl's generated contracts leave to their caller, for both kinds of them
/// @notice Public values: the context as 16 limbs of 16 bits, the first two bytes first, then inputs, then outputs.
/// @dev The generated contracts read at fixed places of the calldata, whatever its header says, and one of them does not
/// look at the proof's length: so arguments are decoded here and encoded anew, and the length is the circuit's.
abstract contract EzklAdapter is IProofVerifier {
    uint256 internal constant LIMBS = 16;
    /// @notice Where the material of a key is kept as the code of a contract, behind one byte; zero where it is not.
    mapping(bytes32 key => address) public stored;

    error StoringFailed();

    /// @dev Keeps the material of a key for calls that leave it out.
    function _keep(bytes32 key, bytes calldata material) internal {
        if (stored[key] != address(0)) return;
        // Creation code that returns what follows it: a zero byte, so that nobody calls it, and the material.
        bytes memory code = abi.encodePacked(hex"600b5981380380925939f3", hex"00", material);
        address kept;
        assembly ("memory-safe") {
            kept := create(0, add(code, 0x20), mload(code))
        }
        if (kept == address(0)) revert StoringFailed();
        stored[key] = kept;
    }

    /// @dev Returns the material of a key: what was sent, or else what is kept; reverts if it is another's.
    function _told(bytes32 key, bytes calldata material) internal view returns (bytes memory told) {
        told = material.length == 0 ? _load(stored[key]) : material;
        if (keccak256(told) != key) revert InvalidProof("the material is not that of the key");
    }

    function _load(address kept) private view returns (bytes memory data) {
        uint256 size = kept.code.length;
        if (size < 1) return data;
        assembly ("memory-safe") {
            data := mload(0x40)
            mstore(data, sub(size, 1))
            extcodecopy(kept, add(data, 0x20), 1, sub(size, 1))
            mstore(0x40, and(add(add(data, size), 0x3f), not(0x1f)))
        }
    }

    /// @dev Decodes the statement; reverts for values that no statement holds.
    function _said(Layout memory form, uint256 proofBytes, bytes calldata proof, uint256[] calldata publicValues)
        internal
        pure
        returns (Said memory)
    {
        if (proof.length != proofBytes) revert InvalidProof("a proof of this circuit has another length");
        if (publicValues.length != LIMBS + StatementText.count(form)) {
            revert InvalidProof("the circuit has another number of public values");
        }
        uint256 context = 0;
        for (uint256 i = 0; i < LIMBS; ++i) {
            if (publicValues[i] > type(uint16).max) revert InvalidProof("the context's limbs have 16 bits");
            context = (context << 16) | publicValues[i];
        }
        return StatementText.said(form, bytes32(context), publicValues[LIMBS:]);
    }

    /// @dev Calls the generated contract, which reverts unless the proof is valid, and returns the first two words.
    function _call(address target, bytes memory data, uint256 words)
        internal
        view
        returns (uint256 first, bytes32 second)
    {
        bool ok;
        uint256 size;
        uint256 gasBefore = gasleft();
        assembly ("memory-safe") {
            ok := staticcall(gas(), target, add(data, 0x20), mload(data), 0, 0x40)
            size := returndatasize()
            first := mload(0)
            second := mload(0x20)
        }
        if (!ok) {
            // A call that ran out of gas leaves its caller the 64th part that was held back, and no more.
            if (gasleft() <= gasBefore / 64) revert OutOfGas();
            if (size == 0) revert InvalidProof("the proof does not verify");
            // An invalid proof is refused without a word: what comes with one (unknown words, say) is passed on.
            assembly ("memory-safe") {
                let copy := mload(0x40)
                returndatacopy(copy, 0, size)
                revert(copy, size)
            }
        }
        if (size < words * 32 || first != 1) revert InvalidProof("the verifier did not say that the proof is valid");
    }
}
