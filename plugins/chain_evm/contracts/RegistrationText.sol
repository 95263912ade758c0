// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {CoreDigest} from "./CoreDigest.sol";
import {IBalanceRegistry} from "./IBalanceRegistry.sol";

/// @title A registration as the core writes it, and the digest that names it
/// @dev The text is put together from fields whose characters are checked, so that no two registrations have one text.
library RegistrationText {
    uint256 private constant MAX_NAME = 64;
    uint256 private constant MAX_VERSION_TEXT = 256;
    uint256 private constant MIN_CID = 11;
    uint256 private constant MAX_CID = 121;

    /// @notice The core's registration_id; reverts for texts that the core does not take.
    function digest(IBalanceRegistry.Registration calldata r) internal pure returns (bytes32) {
        _checkName(r.name);
        _checkName(r.backend);
        _checkVersion(r.backendVersion);
        bytes memory identity = abi.encodePacked(
            '{"backend":"',
            r.backend,
            '","backend_version":"',
            r.backendVersion,
            '","circuit_id":"',
            CoreDigest.hexOf(r.circuitId),
            '","commitment_id":',
            _optional(r.commitmentId),
            ',"model_id":',
            _optional(r.modelDigest)
        );
        bytes memory line = abi.encodePacked(
            ',"name":"',
            r.name,
            '","previous":',
            _optional(r.previous),
            ',"provider":"',
            CoreDigest.hexOf(r.provider),
            '","schema_version":1,"setup_trust":{"parameters":',
            _optional(r.parameters),
            ',"schema_version":1,"trust":"',
            _trust(r.trust),
            '"},"version":',
            Strings.toString(r.version),
            "}"
        );
        return CoreDigest.ofOne("record/registration/1", bytes.concat(identity, line));
    }

    /// @notice Reverts unless a text is a CID as the core writes it: b[a-z2-7]{10,120}.
    function checkCid(string calldata cid) internal pure {
        bytes calldata text = bytes(cid);
        bool good = text.length >= MIN_CID && text.length <= MAX_CID && text[0] == "b";
        for (uint256 i = 1; good && i < text.length; ++i) {
            bytes1 c = text[i];
            good = (c >= "a" && c <= "z") || (c >= "2" && c <= "7");
        }
        if (!good) revert IBalanceRegistry.BadCid(cid);
    }

    function _checkName(string calldata name) private pure {
        bytes calldata text = bytes(name);
        bool good = text.length >= 1 && text.length <= MAX_NAME;
        for (uint256 i = 0; good && i < text.length; ++i) {
            bytes1 c = text[i];
            good = (c >= "a" && c <= "z") || (c >= "0" && c <= "9")
                || (i > 0 && (c == "." || c == "_" || c == "-"));
        }
        if (!good) revert IBalanceRegistry.BadText(name);
    }

    function _checkVersion(string calldata version) private pure {
        bytes calldata text = bytes(version);
        bool good = text.length >= 1 && text.length <= MAX_VERSION_TEXT;
        for (uint256 i = 0; good && i < text.length; ++i) {
            bytes1 c = text[i];
            good = c >= " " && c <= "~" && c != '"' && c != "\\";
        }
        if (!good) revert IBalanceRegistry.BadText(version);
    }

    function _optional(bytes32 value) private pure returns (bytes memory) {
        return value == 0 ? bytes("null") : abi.encodePacked('"', CoreDigest.hexOf(value), '"');
    }

    function _trust(IBalanceRegistry.Trust trust) private pure returns (string memory) {
        if (trust == IBalanceRegistry.Trust.Ceremony) return "ceremony";
        return trust == IBalanceRegistry.Trust.Transparent ? "transparent" : "insecure-test";
    }
}
