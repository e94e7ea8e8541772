// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty, LeafFault, Platform, Tally} from "../interfaces/IRoyalty.sol";
import {DealWord} from "../libraries/DealWords.sol";
import {NanoTokens} from "../libraries/NanoTokens.sol";
import {SumTree} from "../libraries/SumTree.sol";
import {TallyLeaves} from "../libraries/TallyLeaves.sol";
import {UsageGroups} from "../libraries/UsageGroups.sol";
import {Platforms} from "./Platforms.sol";

/// @notice Takes usage by the root of a tree, to be paid into the deals leaf by leaf.
abstract contract Tallies is Platforms {
    using SumTree for SumTree.Span;

    /// @dev What is stored of a tally. `closed` holds a bit a leaf, 256 to a word; under keys from 2^24 on, which are
    /// level << 24 | index, it holds a bit a void node above the leaves.
    struct StoredTally {
        bytes32 root;
        Tally state;
        mapping(uint256 key => uint256 bits) closed;
    }

    /// @dev What all leaves of one call share: whose tally, its last day, then what was settled, what of it
    /// turned out to be void, how many
    /// were settled before.
    struct Run {
        uint256 platform;
        uint256 batch;
        uint256 lastDay;
        uint256 settled;
        uint256 refund;
        uint256 skipped;
    }

    mapping(address platform => mapping(uint32 batch => StoredTally tally)) private _tallies;

    /// @inheritdoc IRoyalty
    function post(
        address platform,
        uint32 batch,
        uint16 day,
        bytes32 root,
        uint24 leaves,
        uint96 total,
        bytes32 evidence,
        bytes32 dataDigest,
        string calldata uri
    ) external nonReentrant {
        (Platform memory state, uint256 today) = _nextBatch(platform, batch, day);
        if (leaves == 0) revert TallyEmpty();
        // Effect: debit the platform in full, keep what settling needs.
        _spend(state, platform, total, today);
        _platforms[platform] = state;
        StoredTally storage tally = _tallies[platform][batch];
        tally.root = root;
        tally.state = Tally({total: total, settled: 0, leaves: leaves, settledLeaves: 0, day: day});
        emit TallyPosted(platform, batch, msg.sender, root, leaves, total, day, evidence, dataDigest, uri);
    }

    /// @inheritdoc IRoyalty
    function settle(
        address platform,
        uint32 batch,
        uint24 first,
        bytes calldata leaves,
        bytes calldata proof
    ) external nonReentrant {
        (StoredTally storage tally, Tally memory state) = _tallyAt(platform, batch);
        // Effect: credit the deals; all of it is undone where the check fails.
        SumTree.Span memory span = SumTree.make({first: first, most: leaves.length / TallyLeaves.PREFIX});
        Run memory run = Run({
            platform: uint256(uint160(platform)),
            batch: batch,
            lastDay: state.day,
            settled: 0,
            refund: 0,
            skipped: 0
        });
        _settleAll(tally, state, span, run, leaves);
        // Check: that these are the tally's leaves.
        uint256 end = first + span.count;
        if (end > state.leaves) revert PlaceUnknown({level: 0, index: end - 1, leaves: state.leaves});
        _requireRoot(tally, state, span, state.leaves, proof);
        // Effect: count what was settled, return what is void to the platform.
        _count(state, run.settled);
        tally.state = state;
        _refund(platform, run.refund);
    }

    /// @inheritdoc IRoyalty
    function closeNode(
        address platform,
        uint32 batch,
        uint8 level,
        uint24 index,
        uint96 sum,
        bytes calldata preimage,
        bytes calldata proof
    ) external nonReentrant {
        (StoredTally storage tally, Tally memory state) = _tallyAt(platform, batch);
        // Check: that the tally commits to such a node, that it is broken, that it is open.
        uint256 width = _widthOf({leaves: state.leaves, level: level, index: index});
        SumTree.Span memory span = SumTree.make({first: index, most: 1});
        SumTree.write({start: span.start, hash: keccak256(preimage), sum: sum});
        span.count = 1;
        _requireRoot(tally, state, span, width, proof);
        (uint256 key, uint256 bit) = _placeOf(level, index);
        bool open = tally.closed[key] & bit == 0;
        if (!open || !SumTree.isBroken(preimage, level, sum)) revert NodeNotBroken(level, index);
        // Effect: close it, with whatever leaves there are under it; return its amount to the platform.
        tally.closed[key] |= bit;
        uint256 start = uint256(index) << level;
        uint256 end = start + (1 << level);
        state.settledLeaves += uint24((end < state.leaves ? end : state.leaves) - start);
        _count(state, sum);
        tally.state = state;
        _refund(platform, sum);
        emit NodeVoid(platform, batch, level, index, sum);
    }

    /// @inheritdoc IRoyalty
    function tallyOf(
        address platform,
        uint32 batch
    ) external view returns (Tally memory tally, bytes32 root) {
        StoredTally storage stored = _tallies[platform][batch];
        return (stored.state, stored.root);
    }

    /// @inheritdoc IRoyalty
    function isSettled(address platform, uint32 batch, uint24 index) external view returns (bool) {
        return _tallies[platform][batch].closed[index >> 8] & (1 << (index & 0xff)) != 0;
    }

    /// @dev Settles what is still open of packed leaves, with all of them in the span.
    function _settleAll(
        StoredTally storage tally,
        Tally memory state,
        SumTree.Span memory span,
        Run memory run,
        bytes calldata leaves
    ) private {
        if (leaves.length == 0) revert LeavesMalformed({offset: 0, length: 0});
        uint256 index = span.first;
        uint256 place = span.start;
        uint256 bits = tally.closed[index >> 8];
        uint256 bit = 1 << (index & 0xff);
        uint256 settled;
        // Leaves are as few as fit calldata, amounts 96 bits wide: nothing here can overflow.
        unchecked {
            for (uint256 offset; offset < leaves.length; ++index) {
                (uint256 amount, uint48 dealId, bytes calldata leaf, uint256 next) = TallyLeaves.leafAt(
                    leaves,
                    offset
                );
                offset = next;
                place = SumTree.write(place, SumTree.leafHash(leaf), amount);
                if (bit == 0) {
                    tally.closed[(index >> 8) - 1] = bits;
                    bits = tally.closed[index >> 8];
                    bit = 1;
                }
                if (bits & bit == 0) {
                    bits |= bit;
                    settled += amount;
                    _settleLeaf(run, index, dealId, leaf, amount);
                } else {
                    ++run.skipped;
                }
                bit <<= 1;
            }
            tally.closed[(index - 1) >> 8] = bits;
            // What lies outside the tree is refused later on.
            span.count = index - span.first;
            state.settledLeaves += uint24(span.count - run.skipped);
            run.settled = settled;
        }
    }

    /// @dev Pays one leaf into its deal, or counts its amount as void where that cannot be.
    function _settleLeaf(
        Run memory run,
        uint256 index,
        uint48 dealId,
        bytes calldata leaf,
        uint256 amount
    ) private {
        StoredDeal storage deal = _deals[dealId];
        DealWord word = deal.word;
        if (!TallyLeaves.isPlain(leaf, amount, word, run.lastDay)) {
            LeafFault fault = _faultOf(leaf, amount, word, run.lastDay);
            if (fault != LeafFault.None) {
                run.refund += amount;
                emit LeafVoid(
                    address(uint160(run.platform)),
                    uint32(run.batch),
                    uint24(index),
                    leaf,
                    uint96(amount),
                    fault
                );
                return;
            }
        }
        deal.word = word.plus(amount);
        _emitSettled(run.platform, run.batch, index, leaf, amount);
    }

    /// @dev `emit LeafSettled(platform, batch, index, leaf, amount)`, which a test compares it with. Measured reason in
    /// docs/decisions/0110.
    function _emitSettled(
        uint256 platform,
        uint256 batch,
        uint256 index,
        bytes calldata leaf,
        uint256 amount
    ) private {
        bytes32 topic = LeafSettled.selector;
        // Written behind everything that is in use: index, offset of the leaf, amount, the leaf with its length.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, index)
            mstore(add(free, 0x20), 0x60)
            mstore(add(free, 0x40), amount)
            mstore(add(free, 0x60), leaf.length)
            calldatacopy(add(free, 0x80), leaf.offset, leaf.length)
            mstore(add(add(free, 0x80), leaf.length), 0)
            log3(free, add(0x80, and(add(leaf.length, 31), not(31))), topic, platform, batch)
        }
    }

    /// @dev Returns money of a tally to its platform.
    function _refund(address platform, uint256 nano) private {
        if (nano == 0) return;
        Platform storage state = _platforms[platform];
        state.funds = NanoTokens.narrow(state.funds + nano);
    }

    function _tallyAt(
        address platform,
        uint32 batch
    ) private view returns (StoredTally storage tally, Tally memory state) {
        tally = _tallies[platform][batch];
        state = tally.state;
        if (state.leaves == 0) revert TallyUnknown(platform, batch);
    }

    /// @dev Refuses nodes of a level of `width` that do not lead to the tally's root and total.
    function _requireRoot(
        StoredTally storage tally,
        Tally memory state,
        SumTree.Span memory span,
        uint256 width,
        bytes calldata proof
    ) private view {
        (bytes32 root, uint256 total) = span.climb(width, proof);
        if (root != tally.root || total != state.total) revert ProofMismatch({root: root, total: total});
    }

    /// @dev Why a leaf cannot be paid, the first fault that is met in reading it.
    function _faultOf(
        bytes calldata leaf,
        uint256 amount,
        DealWord deal,
        uint256 lastDay
    ) private pure returns (LeafFault) {
        if (leaf.length <= TallyLeaves.DEAL) return LeafFault.Malformed;
        if (!deal.exists()) return LeafFault.DealUnknown;
        uint256 computed;
        // A group costs under 2^80; under 2^32 of them fit any calldata.
        unchecked {
            for (uint256 offset = TallyLeaves.DEAL; ;) {
                (uint256 day, uint256 kind, bytes calldata pairs, uint256 next) = TallyLeaves.groupAt(
                    leaf,
                    offset
                );
                if (pairs.length == 0 || next > leaf.length) return LeafFault.Malformed;
                if (kind > 2) return LeafFault.KindUnknown;
                if (day > lastDay) return LeafFault.DayAfterTally;
                if (!deal.inForceOn(day)) return LeafFault.DealNotInForce;
                computed += UsageGroups.cost(pairs, deal, kind);
                if (next == leaf.length) break;
                offset = next;
            }
        }
        return computed == amount ? LeafFault.None : LeafFault.AmountMismatch;
    }

    /// @dev Counts money that leaves a tally, never more than was debited for it.
    function _count(Tally memory state, uint256 nano) private pure {
        uint256 settled = state.settled + nano;
        if (settled > state.total) revert TallyExceeded({settled: settled, total: state.total});
        state.settled = uint96(settled);
    }

    /// @dev The width of a level; refuses places that the tree does not have, or whose node stands further below.
    function _widthOf(uint24 leaves, uint8 level, uint24 index) private pure returns (uint256 width) {
        width = leaves;
        bool carried;
        for (uint256 i; i < level; ++i) {
            // Only the root is alone on its level; where a width is odd, the last node above was carried up.
            if (width == 1) revert PlaceUnknown(level, index, leaves);
            carried = width & 1 != 0;
            width = (width + 1) >> 1;
        }
        if (index >= width || (carried && index == width - 1)) revert PlaceUnknown(level, index, leaves);
    }

    /// @dev Where `closed` keeps whether a place is closed.
    function _placeOf(uint8 level, uint24 index) private pure returns (uint256 key, uint256 bit) {
        if (level == 0) return (index >> 8, 1 << (index & 0xff));
        return ((uint256(level) << 24) | index, 1);
    }
}
