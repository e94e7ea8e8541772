// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {Calldata} from "./Calldata.sol";

/// @notice Reads packed splits: 24 bytes a holder, strictly ascending by address, parts per million.
library Shares {
    using Calldata for bytes;

    /// @dev Parts per million that the holders of one deal share.
    uint256 internal constant WHOLE = 1_000_000;

    /// @dev Bytes of one holder: address (20), share in ppm (4).
    uint256 internal constant ENTRY = 24;

    /// @dev Holders that one split can name.
    uint256 internal constant MAX_HOLDERS = 256;

    /// @notice Refuses whatever is not a valid split in which neither `ledger` nor `token` holds a share.
    /// @return hash What the ledger keeps of the split.
    function check(bytes calldata split, address ledger, address token) internal pure returns (bytes32 hash) {
        uint256 holders = count(split);
        address previous;
        uint256 sum;
        for (uint256 position; position < holders; ++position) {
            (address holder, uint256 ppm) = at(split, position);
            if (holder == address(0) || holder == ledger || holder == token)
                revert IRoyalty.AddressRefused(holder);
            if (holder <= previous) revert IRoyalty.SplitOrder(position, holder);
            if (ppm == 0) revert IRoyalty.ShareZero(position, holder);
            previous = holder;
            // At most 256 shares of 32 bits.
            unchecked {
                sum += ppm;
            }
        }
        if (sum != WHOLE) revert IRoyalty.ShareSum(sum);
        return hashOf(split);
    }

    /// @notice The number of holders; refuses a length that is not 1 to 256 whole entries.
    function count(bytes calldata split) internal pure returns (uint256 holders) {
        holders = split.length / ENTRY;
        bool whole = holders * ENTRY == split.length;
        if (!whole || holders == 0 || holders > MAX_HOLDERS) revert IRoyalty.SplitLength(split.length);
    }

    /// @notice The holder at a position, with its share in ppm.
    function at(bytes calldata split, uint256 position) internal pure returns (address holder, uint256 ppm) {
        // Callers keep positions under the number of entries.
        unchecked {
            return entryAt(split, position * ENTRY);
        }
    }

    /// @notice The same by where the entry starts, which callers keep within the split.
    function entryAt(
        bytes calldata split,
        uint256 offset
    ) internal pure returns (address holder, uint256 ppm) {
        uint256 entry = split.word(offset);
        holder = address(uint160(entry >> 96));
        ppm = uint32(entry >> 64);
    }

    /// @notice What the ledger keeps of a split.
    function hashOf(bytes calldata split) internal pure returns (bytes32) {
        return keccak256(split);
    }

    /// @notice The part of `accrued` nano-tokens that a share earns, rounded down.
    function partOf(uint96 accrued, uint256 ppm) internal pure returns (uint256 nano) {
        // 96 bits times at most 1,000,000 (20 bits): the product cannot overflow.
        unchecked {
            nano = (accrued * ppm) / WHOLE;
        }
    }
}
