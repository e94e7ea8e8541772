// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {Calldata} from "./Calldata.sol";

/// @notice Climbs Merkle-sum trees, in which a node commits to the hashes of both children with their sums.
/// @dev Nodes are packed, 44 bytes each: hash (32), sum (12). What a leaf is the hash of starts with another byte than
/// what a node is the hash of. A level's nodes pair up from the left; the last, where it has no partner, is carried up
/// unchanged. The assembly has a measured reason in docs/decisions/0110; tests compare it with a plain tree.
library SumTree {
    using Calldata for bytes;

    /// @dev Neighbouring nodes of one level: where the first lies in memory, its index, how many there are.
    struct Span {
        uint256 start;
        uint256 first;
        uint256 count;
    }

    /// @dev Bytes of a node: hash (32), sum (12).
    uint256 internal constant NODE = 44;

    /// @dev Bytes of a hash.
    uint256 private constant HASH = 32;

    /// @dev Levels above the leaves of the largest tree, which has 2^24 - 1 of them.
    uint256 private constant LEVELS = 24;

    /// @dev What a leaf's hash starts with.
    uint8 private constant LEAF_TAG = 0;

    /// @dev What a node's hash starts with.
    uint8 private constant NODE_TAG = 1;

    /// @dev Bytes that a node is the hash of: tag, both children.
    uint256 private constant NODE_PREIMAGE = 89;

    /// @dev Bytes of a leaf's amount.
    uint256 private constant AMOUNT = 12;

    /// @dev The fewest bytes that a leaf is the hash of: tag, amount.
    uint256 private constant LEAF_PREIMAGE = 13;

    /// @notice An empty span from the index `first` on, with room for `most` nodes; before them for a left neighbour on
    /// every level, after them for a right one.
    function make(uint256 first, uint256 most) internal pure returns (Span memory span) {
        uint256 start;
        uint256 size = (LEVELS + most + 1) * NODE;
        // Not zeroed, since nodes are written before they are read; the tag of the first pair takes a byte before it.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            start := add(mload(0x40), 1)
            mstore(0x40, and(add(add(start, size), 31), not(31)))
        }
        return Span({start: start + LEVELS * NODE, first: first, count: 0});
    }

    /// @notice Writes a node of a span; returns where the next one goes.
    function write(uint256 start, bytes32 hash, uint256 sum) internal pure returns (uint256 next) {
        _write(start, hash, sum);
        unchecked {
            next = start + NODE;
        }
    }

    /// @notice The hash of a leaf of a list, whose amount stands right before it.
    function leafHash(bytes calldata leaf) internal pure returns (bytes32 hash) {
        // Written behind everything that is in use.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, LEAF_TAG)
            calldatacopy(add(free, 1), sub(leaf.offset, AMOUNT), add(leaf.length, AMOUNT))
            hash := keccak256(free, add(leaf.length, LEAF_PREIMAGE))
        }
    }

    /// @notice The root over a span of a level of `width` nodes, with its sum; uses the span up.
    /// @param proof For every level, the span's left neighbour where the first node is a right child, then the right
    /// one where the last is a left child that is not carried up.
    function climb(
        Span memory span,
        uint256 width,
        bytes calldata proof
    ) internal pure returns (bytes32 root, uint256 sum) {
        (uint256 start, uint256 first, uint256 count) = (span.start, span.first, span.count);
        uint256 used;
        // Everything here is bounded by the number of leaves, memory included.
        unchecked {
            for (; width > 1; width = (width + 1) >> 1) {
                if (first & 1 != 0) {
                    start -= NODE;
                    --first;
                    ++count;
                    used = _copy(proof, used, start);
                }
                if (count & 1 != 0 && first + count < width) {
                    used = _copy(proof, used, start + count * NODE);
                    ++count;
                }
                _joinAll(start, count);
                first >>= 1;
                count = (count + 1) >> 1;
            }
        }
        if (used != proof.length) revert IRoyalty.ProofLength({needed: used, given: proof.length});
        return _read(start);
    }

    /// @notice Whether the node that `preimage` hashes to cannot stand at its place: on level 0 it must be a leaf with
    /// the amount `sum`, above it two children that add up to `sum`. Then no leaf under it can be proven.
    function isBroken(bytes calldata preimage, uint256 level, uint96 sum) internal pure returns (bool) {
        if (level == 0) {
            return
                preimage.length < LEAF_PREIMAGE ||
                uint8(preimage[0]) != LEAF_TAG ||
                uint96(bytes12(preimage[1:])) != sum;
        }
        if (preimage.length != NODE_PREIMAGE || uint8(preimage[0]) != NODE_TAG) return true;
        return uint256(uint96(bytes12(preimage[33:]))) + uint96(bytes12(preimage[77:])) != sum;
    }

    /// @dev Replaces nodes by their parents, in place; a last one without a partner is carried up.
    function _joinAll(uint256 start, uint256 count) private pure {
        // Parents are written where nothing is read any more; sums of two amounts of 96 bits do not overflow.
        unchecked {
            uint256 into = start;
            uint256 from = start;
            uint256 end = start + (count & ~uint256(1)) * NODE;
            while (from != end) {
                uint256 sum = _sumAt(from) + _sumAt(from + NODE);
                if (sum >> 96 != 0) revert IRoyalty.AmountTooLarge(sum);
                _write(into, _hashPair(from), sum);
                into += NODE;
                from += 2 * NODE;
            }
            if (count & 1 != 0) {
                (bytes32 hash, uint256 sum) = _read(from);
                _write(into, hash, sum);
            }
        }
    }

    /// @dev Copies a node of the proof to memory; returns where the next one starts.
    function _copy(bytes calldata proof, uint256 offset, uint256 into) private pure returns (uint256 next) {
        unchecked {
            next = offset + NODE;
            if (next > proof.length) revert IRoyalty.ProofLength({needed: next, given: proof.length});
            _write(into, bytes32(proof.word(offset)), proof.word(offset + 12));
        }
    }

    /// @dev The hash of the node whose children lie at `start`; overwrites the byte before them, which is free.
    function _hashPair(uint256 start) private pure returns (bytes32 hash) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore8(sub(start, 1), NODE_TAG)
            hash := keccak256(sub(start, 1), NODE_PREIMAGE)
        }
    }

    /// @dev Writes a node: the sum with whatever stands above its 96 bits, then the hash over the latter.
    function _write(uint256 start, bytes32 hash, uint256 sum) private pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(add(start, 12), sum)
            mstore(start, hash)
        }
    }

    function _read(uint256 start) private pure returns (bytes32 hash, uint256 sum) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            hash := mload(start)
        }
        sum = _sumAt(start);
    }

    function _sumAt(uint256 start) private pure returns (uint256 sum) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            sum := shr(160, mload(add(start, HASH)))
        }
    }
}
