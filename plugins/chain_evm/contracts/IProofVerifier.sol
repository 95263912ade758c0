// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What a proof says, as the core of Balance digests it
/// @dev `inputsDigest` and `statementDigest` are byte for byte the core's `Statement.inputs_digest` and
/// `Statement.digest`: SHA-256 over framed canonical JSON. Whoever holds a statement can compare.
struct Said {
    /// The 32 bytes that name the request.
    bytes32 context;
    /// Digest of the inputs alone.
    bytes32 inputsDigest;
    /// Digest of circuit, commitment, context, inputs and outputs.
    bytes32 statementDigest;
}

/// @title One proof system's verifier, as `BalanceRegistry` calls it
/// @notice An implementation holds no state that a caller can change in a way that alters a verdict, and is called by
/// STATICCALL. What the proof says comes out of verification and out of nothing beside it.
interface IProofVerifier {
    /// @notice The proof, the public values or the key's material are not valid together.
    error InvalidProof(string reason);

    /// @notice The verifier ran out of gas: the proof is neither valid nor invalid. Call again with more.
    error OutOfGas();

    /// @notice Checks a proof and returns what it says; reverts unless it is valid.
    /// @param key Digest of everything that the verdict relies on: the verifying key and how public values are read.
    /// @param material What `key` is the digest of, in the implementation's own encoding; checked against `key`. Empty
    /// where the implementation has stored it.
    /// @param proof The proof's own bytes, in their one encoding.
    /// @param publicValues The public values that the proof authenticates, in the circuit's order.
    /// @return said The statement's digests, decoded from `publicValues`.
    function verify(bytes32 key, bytes calldata material, bytes calldata proof, uint256[] calldata publicValues)
        external
        view
        returns (Said memory said);
}
