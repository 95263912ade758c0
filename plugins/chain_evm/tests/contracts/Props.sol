// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// Contracts that the tests need beside the real ones: a verifier that does what a proof's first byte says, and an
// account that calls back when it is paid.

struct Said {
    bytes32 context;
    bytes32 inputsDigest;
    bytes32 statementDigest;
}

interface IRegistry {
    function withdraw(address payable to, uint128 amount) external;
    function settle(bytes32 answer) external;
    function bindKey(bytes32 key, bytes calldata signature) external;
}

contract Oracle {
    error InvalidProof(string reason);
    error OutOfGas();

    /// 1: says what the public values say; 2: refuses; 3: burns all gas; 4: says that it burnt it; 5: writes to the
    /// registry that asks; 6: returns nothing; 7: burns all gas but a little in a call of its own, and refuses.
    function verify(bytes32, bytes calldata, bytes calldata proof, uint256[] calldata publicValues)
        external
        returns (Said memory said)
    {
        uint8 what = uint8(proof[0]);
        if (what == 2) revert InvalidProof("no");
        while (what == 3) {}
        if (what == 4) revert OutOfGas();
        if (what == 5) IRegistry(msg.sender).bindKey(0, "");
        if (what == 6) {
            assembly {
                return(0, 0)
            }
        }
        if (what == 7) {
            try this.burn() {} catch {}
            revert InvalidProof("a precompile that was given no point of the curve burns what it is given, too");
        }
        return Said(bytes32(publicValues[0]), bytes32(publicValues[1]), bytes32(publicValues[2]));
    }

    function burn() external pure {
        while (true) {}
    }
}

contract Payee {
    IRegistry public immutable registry;
    bytes public callback;
    bool public refuses;
    uint256 public calls;
    bytes public failure;

    constructor(IRegistry registry_) {
        registry = registry_;
    }

    function plan(bytes calldata callback_, bool refuses_) external {
        (callback, refuses) = (callback_, refuses_);
    }

    function act(bytes calldata data) external payable {
        (bool done, bytes memory output) = address(registry).call{value: msg.value}(data);
        if (!done) {
            assembly {
                revert(add(output, 0x20), mload(output))
            }
        }
    }

    receive() external payable {
        if (refuses) revert("no thanks");
        if (callback.length == 0) return;
        ++calls;
        (bool done, bytes memory output) = address(registry).call(callback);
        if (!done) failure = output;
    }
}
