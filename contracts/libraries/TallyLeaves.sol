// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {Calldata} from "./Calldata.sol";
import {DealWord} from "./DealWords.sol";
import {UsageGroups} from "./UsageGroups.sol";

/// @notice Reads packed leaves of tallies: a list of them, each with its amount, then the groups inside one.
library TallyLeaves {
    using Calldata for bytes;

    /// @dev Bytes of the deal that a leaf starts with: catalogue (4), version (2).
    uint256 internal constant DEAL = 6;

    /// @dev Bytes of the length that stands before a leaf of a list.
    uint256 private constant LENGTH = 3;

    /// @dev Bytes that stand before a leaf of a list: its length (3), its amount (12).
    uint256 internal constant PREFIX = 15;

    /// @dev Bytes of a group's head: day (2), kind (1), count of pairs (2).
    uint256 private constant HEAD = 5;

    /// @dev Bytes of the shortest leaf that can be paid: one deal, one group, one pair.
    uint256 private constant SHORTEST = DEAL + HEAD + UsageGroups.PAIR;

    /// @notice Reads the leaf at `offset` of a list; a list that ends inside it is refused.
    /// @return amount What the leaf claims, in nano-tokens.
    /// @return dealId Catalogue and version, see `Ledger`; of no meaning where the leaf is shorter than that.
    /// @return leaf The leaf itself, its amount standing right before it.
    /// @return next Where the next leaf starts; the length of `leaves` after the last.
    function leafAt(
        bytes calldata leaves,
        uint256 offset
    ) internal pure returns (uint256 amount, uint48 dealId, bytes calldata leaf, uint256 next) {
        // Offsets stay near the length of calldata, far from overflow. A prefix that is cut reads what lies behind it,
        // but then `next` lies behind the end as well.
        unchecked {
            uint256 start = offset + PREFIX;
            next = start + (leaves.word(offset) >> 232);
            if (next > leaves.length) revert IRoyalty.LeavesMalformed(offset, leaves.length);
            // Words that end where they are cut off need no masks.
            amount = leaves.word(offset + LENGTH) >> 160;
            dealId = uint48(leaves.word(start) >> 208);
            leaf = leaves.part(start, next);
        }
    }

    /// @notice Reads the group at `offset` of a leaf; nothing is refused here.
    /// @return day UTC day of the usage.
    /// @return kind 0 view, 1 download, 2 excerpt second, or unknown.
    /// @return pairs The group's pairs, still packed; behind the end of the leaf where the group is cut.
    /// @return next Where the next group starts; the length of `leaf` after the last, more where the group is cut.
    function groupAt(
        bytes calldata leaf,
        uint256 offset
    ) internal pure returns (uint256 day, uint256 kind, bytes calldata pairs, uint256 next) {
        // As in `leafAt`.
        unchecked {
            uint256 head = leaf.word(offset);
            day = head >> 240;
            kind = uint8(head >> 232);
            uint256 start = offset + HEAD;
            next = start + uint16(head >> 216) * UsageGroups.PAIR;
            pairs = leaf.part(start, next);
        }
    }

    /// @notice Whether a leaf is one pair that its deal pays `amount` for: the commonest leaf, seen at a glance. Of all
    /// others this says nothing.
    /// @dev Measured reason in docs/decisions/0110; `Tallies` reads whatever fails here again, group by group.
    function isPlain(
        bytes calldata leaf,
        uint256 amount,
        DealWord deal,
        uint256 lastDay
    ) internal pure returns (bool plain) {
        // Without a jump: what must be equal differs in no bit, and what must not be negative has no sign. Days have 16
        // bits, units 24, a price 40; an open end, 0, becomes the last day there is.
        unchecked {
            uint256 head = leaf.word(DEAL);
            uint256 day = head >> 240;
            uint256 kind = uint8(head >> 232);
            uint256 cost = uint24(head >> 168) * uint256(deal.price(kind));
            uint256 signs = (2 - kind) | (lastDay - day) | (day - deal.fromDay());
            signs |= uint256(uint16(uint256(deal.untilDay()) - 1)) - day;
            uint256 differences = (leaf.length ^ SHORTEST) | (uint16(head >> 216) ^ 1) | (cost ^ amount);
            return (signs >> 255) | differences | deal.missing() == 0;
        }
    }
}
