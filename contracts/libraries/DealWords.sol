// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Deal, IRoyalty, Tariff} from "../interfaces/IRoyalty.sol";

/// @notice A deal as the one word that it is stored in.
/// @dev From the lowest bit: accrued 96, view price 40, download price 40, excerpt price 40, from-day 16, until-day 16,
/// exists 1. Read and written whole, since a report touches one slot a deal and little else (docs/decisions/0102).
type DealWord is uint256;

using DealWords for DealWord global;

/// @notice Reads or changes a deal's word.
library DealWords {
    uint256 private constant PRICES = 96;
    uint256 private constant PRICE_BITS = 40;
    uint256 private constant FROM_DAY = 216;
    uint256 private constant UNTIL_DAY = 232;
    uint256 private constant EXISTS = 248;

    /// @notice A new deal, open to the future, that has accrued nothing.
    function make(Tariff calldata tariff, uint16 startDay) internal pure returns (DealWord) {
        return
            DealWord.wrap(
                (uint256(tariff.viewPrice) << PRICES) |
                    (uint256(tariff.downloadPrice) << (PRICES + PRICE_BITS)) |
                    (uint256(tariff.excerptPrice) << (PRICES + 2 * PRICE_BITS)) |
                    (uint256(startDay) << FROM_DAY) |
                    (1 << EXISTS)
            );
    }

    /// @notice The deal ending on a day; it must be open.
    function endOn(DealWord word, uint16 day) internal pure returns (DealWord) {
        return DealWord.wrap(DealWord.unwrap(word) | (uint256(day) << UNTIL_DAY));
    }

    /// @notice The deal with `nano` more accrued, less than 2^255; refused where that does not fit.
    function plus(DealWord word, uint256 nano) internal pure returns (DealWord) {
        // What does not fit carries into the bits above the lowest 96, or stands there itself.
        unchecked {
            uint256 sum = DealWord.unwrap(word) + nano;
            if ((sum ^ DealWord.unwrap(word)) >> 96 != 0)
                revert IRoyalty.AmountTooLarge(word.accrued() + nano);
            return DealWord.wrap(sum);
        }
    }

    /// @notice The deal with another amount accrued.
    function withAccrued(DealWord word, uint96 nano) internal pure returns (DealWord) {
        return DealWord.wrap((DealWord.unwrap(word) & ~uint256(type(uint96).max)) | nano);
    }

    /// @notice What the deal has accrued, in nano-tokens.
    function accrued(DealWord word) internal pure returns (uint96) {
        return uint96(DealWord.unwrap(word));
    }

    /// @notice The price of a kind of usage that is 0, 1 or 2, in nano-tokens a unit.
    function price(DealWord word, uint256 kind) internal pure returns (uint40) {
        // At most 176 bits.
        unchecked {
            return uint40(DealWord.unwrap(word) >> (PRICES + PRICE_BITS * kind));
        }
    }

    /// @notice The first day on which the deal is in force.
    function fromDay(DealWord word) internal pure returns (uint16) {
        return uint16(DealWord.unwrap(word) >> FROM_DAY);
    }

    /// @notice The first day on which the deal is no longer in force, 0 while it is open.
    function untilDay(DealWord word) internal pure returns (uint16) {
        return uint16(DealWord.unwrap(word) >> UNTIL_DAY);
    }

    /// @notice Whether there is such a deal.
    function exists(DealWord word) internal pure returns (bool) {
        return DealWord.unwrap(word) >> EXISTS != 0;
    }

    /// @notice The same as a number: 1 where there is no such deal, 0 where there is.
    function missing(DealWord word) internal pure returns (uint256) {
        return (DealWord.unwrap(word) >> EXISTS) ^ 1;
    }

    /// @notice Whether the deal is in force on a day.
    function inForceOn(DealWord word, uint256 day) internal pure returns (bool) {
        // Both sides count from the first day. A day before it wraps round to above any last day, as does what lies
        // before an open end, which is 0. An end that is not open lies behind the first day: `Catalogues.amend`.
        unchecked {
            uint256 first = word.fromDay();
            return day - first <= uint256(word.untilDay()) - 1 - first;
        }
    }

    /// @notice The word as people read it.
    function unpack(DealWord word) internal pure returns (Deal memory) {
        return
            Deal({
                accrued: word.accrued(),
                viewPrice: word.price(0),
                downloadPrice: word.price(1),
                excerptPrice: word.price(2),
                fromDay: word.fromDay(),
                untilDay: word.untilDay(),
                exists: word.exists()
            });
    }
}
