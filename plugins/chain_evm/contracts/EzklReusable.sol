// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EzklAdapter} from "./EzklAdapter.sol";
import {Said} from "./IProofVerifier.sol";
import {Layout} from "./StatementText.sol";

interface IEzklReusable {
    function registerVka(bytes32[] memory vka) external returns (bytes32 digest);
    function verifyProof(bytes calldata proof, uint256[] calldata instances, bytes32[] memory vka)
        external
        returns (bool success, bytes32 digest, int256[] memory rescaled);
}

/// @title Checks proofs of all circuits of one release of ezkl, through its reusable contract
/// @notice `key` is keccak256(material), and material is abi.encode(Layout, uint256 proofBytes, bytes32[] words): how
/// public values are read, how long a proof is, and the circuit's words (which ezkl calls its vka).
/// @dev Everybody may register words with ezkl's contract, so that it knows them says nothing: what counts is that the
/// digest it returns is that of the words that `key` covers.
contract EzklReusable is EzklAdapter {
    IEzklReusable public immutable verifier;

    event Prepared(bytes32 indexed key, bytes32 indexed wordsDigest, address stored);

    error NotPrepared(bytes32 wordsDigest);

    constructor(IEzklReusable verifier_) {
        verifier = verifier_;
    }

    /// @notice Registers a circuit's words with ezkl's contract, once; `keep` stores the material for later calls, too.
    function prepare(bytes calldata material, bool keep) external returns (bytes32 key) {
        key = keccak256(material);
        (,, bytes32[] memory words) = abi.decode(material, (Layout, uint256, bytes32[]));
        bytes32 digest = keccak256(abi.encodePacked(words));
        if (verifier.registerVka(words) != digest) revert NotPrepared(digest);
        if (keep) _keep(key, material);
        emit Prepared(key, digest, stored[key]);
    }

    function verify(bytes32 key, bytes calldata material, bytes calldata proof, uint256[] calldata publicValues)
        external
        view
        returns (Said memory said)
    {
        (Layout memory form, uint256 proofBytes, bytes32[] memory words) =
            abi.decode(_told(key, material), (Layout, uint256, bytes32[]));
        said = _said(form, proofBytes, proof, publicValues);
        bytes memory data = abi.encodeCall(IEzklReusable.verifyProof, (proof, publicValues, words));
        (, bytes32 digest) = _call(address(verifier), data, 2);
        if (digest != keccak256(abi.encodePacked(words))) {
            revert InvalidProof("ezkl's contract checked another circuit");
        }
    }
}
