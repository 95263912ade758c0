// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The core's digests: SHA-256 over parts, each behind its length, so that no two lists of parts collide
/// @dev The same as `balance_core.canonical.digest`: "balance", the domain and every part behind 8 bytes of length.
library CoreDigest {
    /// @notice The digest of one part.
    function ofOne(bytes memory domain, bytes memory part) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(start(domain), uint64(part.length), part));
    }

    /// @notice What every digest of a domain begins with; parts follow as `uint64(length), bytes`.
    function start(bytes memory domain) internal pure returns (bytes memory) {
        return abi.encodePacked(uint64(7), "balance", uint64(domain.length), domain);
    }

    /// @notice The core's name for an answer: digest of registration, inputs and context.
    function proofId(bytes32 registrationId, bytes32 inputsDigest, bytes32 context) internal pure returns (bytes32) {
        return sha256(
            abi.encodePacked(
                start("proof/1"), uint64(32), registrationId, uint64(32), inputsDigest, uint64(32), context
            )
        );
    }

    /// @notice 32 bytes as 64 lower-case hex digits.
    function hexOf(bytes32 value) internal pure returns (bytes memory text) {
        (bytes32 high, bytes32 low) = (_digits(uint256(value) >> 128), _digits(uint128(uint256(value))));
        return abi.encodePacked(high, low);
    }

    /// @dev Spreads 16 bytes to 32, one for each half, and turns each into its digit: '0' + x, and 39 more from 'a' on.
    function _digits(uint256 x) private pure returns (bytes32) {
        unchecked {
            x = (x | (x << 64)) & 0x0000000000000000FFFFFFFFFFFFFFFF0000000000000000FFFFFFFFFFFFFFFF;
            x = (x | (x << 32)) & 0x00000000FFFFFFFF00000000FFFFFFFF00000000FFFFFFFF00000000FFFFFFFF;
            x = (x | (x << 16)) & 0x0000FFFF0000FFFF0000FFFF0000FFFF0000FFFF0000FFFF0000FFFF0000FFFF;
            x = (x | (x << 8)) & 0x00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF;
            x = (x | (x << 4)) & 0x0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F;
            uint256 letters =
                ((x + 0x0606060606060606060606060606060606060606060606060606060606060606) >> 4)
                    & 0x0101010101010101010101010101010101010101010101010101010101010101;
            return bytes32(x + 0x3030303030303030303030303030303030303030303030303030303030303030 + letters * 39);
        }
    }
}
