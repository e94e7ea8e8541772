// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";

/// @notice Converts between a token's smallest unit and nano-tokens, 1e-9 of one token.
library NanoTokens {
    /// @dev The most decimals that a token may have.
    uint256 internal constant MAX_DECIMALS = 27;

    /// @dev Decimals of a nano-token.
    uint256 private constant NANO_DECIMALS = 9;

    /// @notice An amount from outside in nano-tokens; refused where it is zero, not whole or too large for the ledger.
    function fromUnits(uint256 amount, uint8 decimals) internal pure returns (uint96) {
        if (amount == 0) revert IRoyalty.ZeroAmount();
        if (decimals > NANO_DECIMALS) {
            uint256 multiple = 10 ** (decimals - NANO_DECIMALS);
            if (amount % multiple != 0) revert IRoyalty.AmountNotWholeNano(amount, multiple);
            return narrow(amount / multiple);
        }
        // Too large already in the smallest unit: said before it is multiplied, which could overflow.
        if (amount > type(uint96).max) revert IRoyalty.AmountTooLarge(amount);
        return narrow(amount * 10 ** (NANO_DECIMALS - decimals));
    }

    /// @notice What of `nano` can leave the ledger, rounded down to the token's smallest unit.
    /// @return amount In the token's smallest unit.
    /// @return taken The same in nano-tokens.
    function toUnits(uint256 nano, uint8 decimals) internal pure returns (uint256 amount, uint256 taken) {
        if (decimals > NANO_DECIMALS) return (nano * 10 ** (decimals - NANO_DECIMALS), nano);
        uint256 unit = 10 ** (NANO_DECIMALS - decimals);
        amount = nano / unit;
        taken = amount * unit;
    }

    /// @notice `nano` in the 96 bits that the ledger keeps, refused where it does not fit.
    function narrow(uint256 nano) internal pure returns (uint96) {
        if (nano > type(uint96).max) revert IRoyalty.AmountTooLarge(nano);
        return uint96(nano);
    }

    /// @notice Micro-tokens that `nano` counts for against a limit, rounded up.
    function toMicro(uint96 nano) internal pure returns (uint256 micro) {
        return (uint256(nano) + 999) / 1000;
    }
}
