// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IRoyalty} from "../interfaces/IRoyalty.sol";

/// @notice Converts between a token's smallest unit and nano-tokens, 1e-9 of one token.
/// @dev A token's scale is two figures, of which one is 1: nano-tokens in a smallest unit, smallest units in a
/// nano-token.
library NanoTokens {
    /// @dev The most decimals that a token may have.
    uint256 internal constant MAX_DECIMALS = 27;

    /// @dev Decimals of a nano-token.
    uint256 private constant NANO_DECIMALS = 9;

    /// @notice The scale of a token; refused where its decimals are above 27.
    function scaleOf(uint256 decimals) internal pure returns (uint256 nanoPerUnit, uint256 unitsPerNano) {
        if (decimals > MAX_DECIMALS) revert IRoyalty.DecimalsUnsupported(decimals);
        if (decimals > NANO_DECIMALS) {
            return (1, 10 ** (decimals - NANO_DECIMALS));
        }
        return (10 ** (NANO_DECIMALS - decimals), 1);
    }

    /// @notice An amount from outside in nano-tokens; refused where it is zero, not whole or too large for the ledger.
    function fromUnits(
        uint256 amount,
        uint256 nanoPerUnit,
        uint256 unitsPerNano
    ) internal pure returns (uint96 nano) {
        if (amount == 0) revert IRoyalty.ZeroAmount();
        if (amount % unitsPerNano != 0) revert IRoyalty.AmountNotWholeNano(amount, unitsPerNano);
        return narrow(Math.saturatingMul(amount / unitsPerNano, nanoPerUnit));
    }

    /// @notice What of `nano` can leave the ledger, rounded down to the token's smallest unit.
    /// @return amount In the token's smallest unit.
    /// @return rest What stays, in nano-tokens.
    function toUnits(
        uint256 nano,
        uint256 nanoPerUnit,
        uint256 unitsPerNano
    ) internal pure returns (uint256 amount, uint256 rest) {
        uint256 whole = nano / nanoPerUnit;
        return (whole * unitsPerNano, nano % nanoPerUnit);
    }

    /// @notice `nano` in the 96 bits that the ledger keeps, refused where it does not fit.
    function narrow(uint256 nano) internal pure returns (uint96) {
        if (nano > type(uint96).max) revert IRoyalty.AmountTooLarge(nano);
        return uint96(nano);
    }

    /// @notice Micro-tokens that `nano` counts for against a limit, rounded up.
    function toMicro(uint96 nano) internal pure returns (uint256 micro) {
        return Math.ceilDiv(nano, 1000);
    }
}
