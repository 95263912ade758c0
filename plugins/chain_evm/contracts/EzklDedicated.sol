// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EzklAdapter} from "./EzklAdapter.sol";
import {Said} from "./IProofVerifier.sol";
import {Layout} from "./StatementText.sol";

interface IEzklDedicated {
    function verifyProof(bytes calldata proof, uint256[] calldata instances) external returns (bool);
}

/// @title Checks proofs through contracts that ezkl generates for one circuit each
/// @notice `key` is keccak256(material), and material is abi.encode(Layout, uint256 proofBytes, address verifier, bytes32
/// codeHash): how public values are read, how long a proof is, and the generated contract with the hash of its code.
contract EzklDedicated is EzklAdapter {
    event Prepared(bytes32 indexed key, address indexed verifier, address stored);

    error NotPrepared(address verifier);

    /// @notice Stores a key's material, which names a generated contract that is there already.
    function prepare(bytes calldata material) external returns (bytes32 key) {
        (,, address verifier, bytes32 codeHash) = abi.decode(material, (Layout, uint256, address, bytes32));
        if (verifier.code.length == 0 || verifier.codehash != codeHash) revert NotPrepared(verifier);
        key = keccak256(material);
        _keep(key, material);
        emit Prepared(key, verifier, stored[key]);
    }

    function verify(bytes32 key, bytes calldata material, bytes calldata proof, uint256[] calldata publicValues)
        external
        view
        returns (Said memory said)
    {
        (Layout memory form, uint256 proofBytes, address verifier, bytes32 codeHash) =
            abi.decode(_told(key, material), (Layout, uint256, address, bytes32));
        if (verifier.codehash != codeHash) revert InvalidProof("the generated contract is not the one of the key");
        said = _said(form, proofBytes, proof, publicValues);
        _call(verifier, abi.encodeCall(IEzklDedicated.verifyProof, (proof, publicValues)), 1);
    }
}
