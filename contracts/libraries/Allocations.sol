// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {Calldata} from "./Calldata.sol";
import {Shares} from "./Shares.sol";

/// @notice Reads packed allocations: groups of one deal, each with the deal's split.
library Allocations {
    using Calldata for bytes;

    /// @dev Bytes of a group's head: catalogue (4), version (2), count of holders (2).
    uint256 internal constant HEAD = 8;

    /// @notice Reads the group at `offset`.
    /// @return dealId Catalogue and version, see `Ledger`.
    /// @return split The deal's split, still packed.
    /// @return next Where the next group starts; the length of `allocations` after the last.
    function groupAt(
        bytes calldata allocations,
        uint256 offset
    ) internal pure returns (uint48 dealId, bytes calldata split, uint256 next) {
        // Offsets stay near the length of calldata, far from overflow. A head that is cut reads what lies
        // behind it, but then `next` lies behind the end as well.
        unchecked {
            uint256 head = allocations.word(offset) >> (256 - 8 * HEAD);
            uint256 holders = uint16(head);
            next = offset + HEAD + holders * Shares.ENTRY;
            if (holders == 0 || next > allocations.length)
                revert IRoyalty.GroupMalformed(offset, allocations.length);
            dealId = uint48(head >> 16);
            split = allocations[offset + HEAD:next];
        }
    }
}
