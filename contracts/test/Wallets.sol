// SPDX-License-Identifier: MIT
// Tokens and wallets that misbehave do what the linter warns of.
// solhint-disable one-contract-per-file, gas-custom-errors, no-empty-blocks, avoid-low-level-calls
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A test wallet that consents with its owner's key, as a Safe of one would.
contract GoodWallet is IERC1271 {
    address private immutable _owner;

    constructor(address owner) {
        _owner = owner;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (address signer, , ) = ECDSA.tryRecover(digest, signature);
        return signer == _owner ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @notice A test wallet that answers wrongly, in one of the ways in which wallets do.
contract BadWallet is IERC1271 {
    enum Habit {
        Refuses,
        Reverts,
        AnswersTrue,
        AnswersShort,
        AnswersHugely,
        BurnsGas
    }

    Habit private immutable _habit;

    constructor(Habit habit) {
        _habit = habit;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (_habit == Habit.Reverts) revert("no");
        if (_habit == Habit.AnswersTrue) _answer(uint256(1), 32);
        if (_habit == Habit.AnswersShort) _answer(uint256(bytes32(IERC1271.isValidSignature.selector)), 4);
        if (_habit == Habit.AnswersHugely) _answer(0, 500_000);
        if (_habit == Habit.BurnsGas) while (true) {}
        return bytes4(0xffffffff);
    }

    function _answer(uint256 word, uint256 length) private pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, word)
            return(start, length)
        }
    }
}
