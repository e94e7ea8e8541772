// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {Calldata} from "./Calldata.sol";
import {DealWord} from "./DealWords.sol";

/// @notice Reads packed usage: groups of one deal with one kind, each a list of (index, units) pairs.
library UsageGroups {
    using Calldata for bytes;

    /// @dev Bytes of a group's head: catalogue (4), version (2), kind (1), count of pairs (2).
    uint256 internal constant HEAD = 9;

    /// @dev Bytes of a pair: index (3), units (3).
    uint256 internal constant PAIR = 6;

    /// @dev Bytes that are summed at a time: five pairs, the most that one word holds.
    uint256 private constant STRIDE = 5 * PAIR;

    /// @dev Bits of a word behind a single pair at its top.
    uint256 private constant SINGLE = 256 - 8 * PAIR;

    /// @dev The units of the five pairs at the top of a word; what lies between them is room to add.
    uint256 private constant UNITS = 0x000000ffffff000000ffffff000000ffffff000000ffffff000000ffffff0000;

    /// @notice Reads the head of the group at `offset`.
    /// @return dealId Catalogue and version, see `Ledger`.
    /// @return kind 0 view, 1 download, 2 excerpt second; others are refused.
    /// @return pairs The group's pairs, still packed.
    /// @return next Where the next group starts; the length of `usage` after the last.
    function groupAt(
        bytes calldata usage,
        uint256 offset
    ) internal pure returns (uint48 dealId, uint256 kind, bytes calldata pairs, uint256 next) {
        // Offsets stay near the length of calldata, far from overflow. A head that is cut reads what lies
        // behind it, but then `next` lies behind the end as well.
        unchecked {
            uint256 head = usage.word(offset) >> (256 - 8 * HEAD);
            uint256 count = uint16(head);
            next = offset + HEAD + count * PAIR;
            if (count == 0 || next > usage.length) revert IRoyalty.GroupMalformed(offset, usage.length);
            kind = uint8(head >> 16);
            if (kind > 2) revert IRoyalty.KindUnknown(kind);
            dealId = uint48(head >> 24);
            pairs = usage[offset + HEAD:next];
        }
    }

    /// @notice The pair at a position of a group: the plain way to read it, which tests compare `sumUnits` with.
    function pairAt(
        bytes calldata pairs,
        uint256 position
    ) internal pure returns (uint24 index, uint24 units) {
        uint48 pair = uint48(bytes6(pairs[position * PAIR:]));
        index = uint24(pair >> 24);
        units = uint24(pair);
    }

    /// @notice The price of all pairs of a group under a deal, in nano-tokens: under 2^80.
    function cost(bytes calldata pairs, DealWord deal, uint256 kind) internal pure returns (uint256 nano) {
        // A single pair, which groups of many catalogues have, is read at once. Units are under 2^40, as is the price.
        unchecked {
            uint256 units = pairs.length == PAIR ? uint24(pairs.word(0) >> SINGLE) : sumUnits(pairs);
            nano = units * deal.price(kind);
        }
    }

    /// @notice The units of all pairs of a group together, five pairs at a time (docs/decisions/0101).
    function sumUnits(bytes calldata pairs) internal pure returns (uint256 units) {
        uint256 lanes;
        // A lane is 48 bits wide, a number of units 24, a group 65,535 pairs at most: no lane reaches its neighbour.
        // Offsets stay within the pairs.
        unchecked {
            uint256 whole = pairs.length - (pairs.length % STRIDE);
            for (uint256 offset; offset < whole; offset += STRIDE) {
                lanes += pairs.word(offset) & UNITS;
            }
            // The pairs that are left, with what lies behind them blanked.
            lanes += pairs.word(whole) & UNITS & ~(type(uint256).max >> (8 * (pairs.length - whole)));
            units =
                uint48(lanes >> 16) +
                uint48(lanes >> 64) +
                uint48(lanes >> 112) +
                uint48(lanes >> 160) +
                uint48(lanes >> 208);
        }
    }
}
