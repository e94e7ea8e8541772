// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {Shares} from "./Shares.sol";

/// @notice Reads packed allocations: groups of one deal, each with the deal's split.
library Allocations {
    /// @dev Bytes of a group's head: catalogue (4), version (2), count of holders (2).
    uint256 internal constant HEAD = 8;

    /// @notice Reads the group at `offset`.
    /// @return dealId Catalogue and version, see `Ledger`.
    /// @return split The deal's split, still packed.
    /// @return next Where the next group starts; the length of `allocations` after the last.
    function groupAt(bytes calldata allocations, uint256 offset)
        internal
        pure
        returns (uint48 dealId, bytes calldata split, uint256 next)
    {
        uint256 start = offset + HEAD;
        if (start > allocations.length) revert IRoyalty.GroupMalformed(offset, allocations.length);
        uint64 head = uint64(bytes8(allocations[offset:]));
        uint256 holders = uint16(head);
        next = start + holders * Shares.ENTRY;
        if (holders == 0 || next > allocations.length) revert IRoyalty.GroupMalformed(offset, allocations.length);
        dealId = uint48(head >> 16);
        split = allocations[start:next];
    }
}
