// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Amendment, Deal, IRoyalty, LeafFault, Tally} from "contracts/interfaces/IRoyalty.sol";

import {PlainTree} from "./lib/PlainTree.sol";
import {Vm} from "./lib/Vm.sol";
import {TallyStage} from "./lib/TallyStage.sol";

contract SettleTest is TallyStage {
    using PlainTree for PlainTree.Node[];

    // --- What it does ---

    function test_settle_pays_a_leaf_into_its_deal() public {
        bytes memory groups = bytes.concat(
            abi.encodePacked(TODAY - 1, uint8(0), uint16(2), uint24(3), uint24(7), uint24(4), uint24(1)),
            day(TODAY, 1, 3, 2),
            day(TODAY, 2, 3, 100)
        );
        add(leafOf(catalogue, 1, groups), 109 * uint96(CENT));
        uint32 batch = postAll();
        vm.expectEmit(address(royalty));
        emit IRoyalty.LeafSettled(platform, batch, 0, leaves[0], 109 * uint96(CENT));
        settle(batch, 0, 1);
        vm.assertEq(accrued(catalogue, 1), 109 * uint96(CENT), "accrued");
        Tally memory tally = tallyOf(batch);
        vm.assertEq(tally.settled, tally.total, "all of it");
        vm.assertEq(tally.settledLeaves, 1, "one leaf");
        vm.assertTrue(royalty.isSettled(platform, batch, 0), "closed");
    }

    function test_settle_accrues_what_report_would() public {
        report(TODAY, 12 * uint96(CENT), views(catalogue, 12));
        uint96 reported = accrued(catalogue, 1);
        addViews(catalogue, 12);
        settle(postAll(), 0, 1);
        vm.assertEq(accrued(catalogue, 1), 2 * reported, "the same again");
    }

    function test_settle_takes_every_range_of_small_trees() public {
        for (uint256 size = 1; size <= 9; ++size) {
            clear();
            for (uint24 i; i < size; ++i) addViews(catalogue, i + 1);
            for (uint256 first; first < size; ++first) {
                for (uint256 count = 1; first + count <= size; ++count) {
                    uint32 batch = postAll();
                    uint96 before = accrued(catalogue, 1);
                    settle(batch, first, count);
                    uint96 sum;
                    for (uint256 i = first; i < first + count; ++i) sum += amounts[i];
                    vm.assertEq(accrued(catalogue, 1), before + sum, "accrued");
                    vm.assertEq(tallyOf(batch).settled, sum, "settled");
                    vm.assertEq(tallyOf(batch).settledLeaves, count, "leaves");
                    for (uint24 i; i < size; ++i) {
                        bool inside = first <= i && i < first + count;
                        vm.assertEq(royalty.isSettled(platform, batch, i), inside, "closed");
                    }
                }
            }
        }
    }

    function test_settle_skips_what_is_settled() public {
        for (uint24 i; i < 300; ++i) addViews(catalogue, i + 1);
        uint32 batch = postAll();
        settle(batch, 250, 10);
        uint96 once = accrued(catalogue, 1);
        settle(batch, 255, 1);
        settle(batch, 250, 10);
        vm.assertEq(accrued(catalogue, 1), once, "nothing twice");
        vm.assertEq(tallyOf(batch).settledLeaves, 10, "ten leaves");
        settle(batch, 200, 100);
        settle(batch, 0, 300);
        Tally memory tally = tallyOf(batch);
        vm.assertEq(tally.settled, tally.total, "settled");
        vm.assertEq(tally.settledLeaves, 300, "all leaves");
        vm.assertEq(accrued(catalogue, 1), tally.total, "each once");
    }

    function test_settle_emits_nothing_for_what_it_skips() public {
        addMany(3);
        uint32 batch = postAll();
        settle(batch, 1, 1);
        vm.recordLogs();
        settle(batch, 0, 3);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2, "two of three");
    }

    function test_settle_keeps_tallies_apart() public {
        addMany(2);
        uint32 one = postAll();
        uint32 two = postAll();
        settle(one, 0, 2);
        vm.assertEq(tallyOf(two).settled, 0, "the other is open");
        settle(two, 0, 1);
        vm.assertEq(tallyOf(two).settledLeaves, 1, "and settles by itself");
    }

    function test_settle_pays_a_deal_that_was_replaced_for_the_days_it_was_in_force() public {
        addViews(catalogue, 5);
        uint32 batch = postAll();
        vm.prank(producer);
        royalty.amend(Amendment(catalogue, TODAY + 1, tariff(), NOON), duo(), duo(), new bytes[](2), "");
        vm.warp(NOON + 40 days);
        settle(batch, 0, 1);
        vm.assertEq(accrued(catalogue, 1), 5 * uint96(CENT), "the deal of the day");
        vm.assertEq(accrued(catalogue, 2), 0, "not its successor");
    }

    function test_settle_takes_a_leaf_that_stands_at_two_places_once_at_each() public {
        addViews(catalogue, 5);
        addViews(catalogue, 5);
        uint32 batch = postAll();
        settle(batch, 0, 1);
        vm.assertEq(accrued(catalogue, 1), 5 * uint96(CENT), "the first");
        settle(batch, 0, 2);
        vm.assertEq(accrued(catalogue, 1), 10 * uint96(CENT), "both were debited");
        vm.assertEq(unsettled(batch), 0, "no more than that");
    }

    // --- What is void ---

    function test_settle_voids_what_cannot_be_paid_and_refunds_it() public {
        voids("", 7, LeafFault.Malformed);
        voids(abi.encodePacked(catalogue, uint16(1)), 0, LeafFault.Malformed);
        voids(leafOf(77, 1, day(TODAY, 0, 0, 1)), CENT, LeafFault.DealUnknown);
        voids(leafOf(catalogue, 2, day(TODAY, 0, 0, 1)), CENT, LeafFault.DealUnknown);
        voids(leafOf(catalogue, 1, day(TODAY, 3, 0, 1)), CENT, LeafFault.KindUnknown);
        voids(leafOf(catalogue, 1, day(TODAY + 1, 0, 0, 1)), CENT, LeafFault.DayAfterTally);
        voids(leafOf(catalogue, 1, day(TODAY - 31, 0, 0, 1)), CENT, LeafFault.DealNotInForce);
        voids(leafOf(catalogue, 1, day(TODAY, 0, 0, 1)), CENT - 1, LeafFault.AmountMismatch);
        voids(leafOf(catalogue, 1, day(TODAY, 0, 0, 1)), CENT + 1, LeafFault.AmountMismatch);
        voids(leafOf(catalogue, 1, day(TODAY, 0, 0, 1)), 900 * TOKEN, LeafFault.AmountMismatch);
    }

    function test_settle_voids_days_after_the_tallys_own_although_they_have_come() public {
        add(leafOf(catalogue, 1, day(TODAY, 0, 0, 1)), CENT);
        PlainTree.Node memory root = tree().root();
        vm.prank(platform);
        royalty.post(platform, 1, TODAY - 1, root.hash, 1, CENT, 0, 0, "");
        vm.expectEmit(address(royalty));
        emit IRoyalty.LeafVoid(platform, 1, 0, leaves[0], CENT, LeafFault.DayAfterTally);
        settle(1, 0, 1);
    }

    function test_settle_pays_neighbours_of_what_is_void() public {
        addViews(catalogue, 1);
        add("junk", 3 * TOKEN);
        addViews(catalogue, 2);
        uint32 batch = postAll();
        settle(batch, 0, 3);
        vm.assertEq(accrued(catalogue, 1), 3 * uint96(CENT), "both good ones");
        vm.assertEq(funds(platform), 1000 * TOKEN - 3 * uint96(CENT), "the bad one is back");
        vm.assertEq(unsettled(batch), 0, "nothing is left");
        vm.assertEq(tallyOf(batch).settledLeaves, 3, "all closed");
        settle(batch, 1, 1);
        vm.assertEq(funds(platform), 1000 * TOKEN - 3 * uint96(CENT), "nothing back twice");
    }

    function test_settle_refunds_to_the_platform_not_the_reporters_limit() public {
        vm.startPrank(platform);
        royalty.setReporter(reporter, true);
        royalty.setLimit(5_000_000);
        vm.stopPrank();
        add("junk", 5 * TOKEN);
        PlainTree.Node memory root = tree().root();
        vm.prank(reporter);
        royalty.post(platform, 1, TODAY, root.hash, 1, 5 * TOKEN, 0, 0, "");
        settle(1, 0, 1);
        vm.assertEq(funds(platform), 1000 * TOKEN, "all back");
        vm.assertEq(royalty.platformOf(platform).spent, 5_000_000, "still spent");
        vm.assertEq(royalty.platformOf(platform).batches, 1, "still landed");
    }

    function testFuzz_settle_takes_any_leaf_there_is(bytes memory leaf, uint96 amount) public {
        amount %= 1000 * TOKEN;
        addViews(catalogue, 1);
        add(leaf, amount);
        uint32 batch = postAll();
        settle(batch, 0, 2);
        vm.assertEq(tallyOf(batch).settledLeaves, 2, "both closed");
        vm.assertEq(unsettled(batch), 0, "nothing stuck");
        vm.assertEq(accrued(catalogue, 1), CENT, "the good one paid");
        vm.assertEq(funds(platform), 1000 * TOKEN - CENT, "the other back");
    }

    function testFuzz_settle_takes_any_group_there_is(bytes memory groups, uint96 amount) public {
        amount %= 1000 * TOKEN;
        add(leafOf(catalogue, 1, groups), amount);
        uint32 batch = postAll();
        settle(batch, 0, 1);
        vm.assertEq(unsettled(batch), 0, "nothing stuck");
        vm.assertEq(uint256(funds(platform)) + accrued(catalogue, 1), 1000 * TOKEN, "nothing lost");
    }

    // --- What it refuses ---

    function test_settle_reverts_when_there_is_no_such_tally() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.TallyUnknown.selector, platform, 1));
        royalty.settle(platform, 1, 0, hex"00", "");
        report(TODAY, CENT, views(catalogue, 1));
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.TallyUnknown.selector, platform, 1));
        royalty.settle(platform, 1, 0, hex"00", "");
    }

    function test_settle_reverts_when_leaves_are_cut_or_missing() public {
        addMany(1);
        uint32 batch = postAll();
        bytes memory list = packed(0, 1);
        for (uint256 length; length < list.length; ++length) {
            bytes memory part = cut(list, length);
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.LeavesMalformed.selector, 0, length));
            royalty.settle(platform, batch, 0, part, "");
            if (length == 0) continue;
            vm.expectRevert(
                abi.encodeWithSelector(IRoyalty.LeavesMalformed.selector, list.length, list.length + length)
            );
            royalty.settle(platform, batch, 0, bytes.concat(list, part), "");
        }
    }

    function test_settle_reverts_when_leaves_lie_outside_the_tree() public {
        addMany(3);
        uint32 batch = postAll();
        bytes memory list = packed(1, 2);
        bytes memory proof = tree().prove(1, 2);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.PlaceUnknown.selector, 0, 3, 3));
        royalty.settle(platform, batch, 2, list, proof);
        vm.expectRevert(
            abi.encodeWithSelector(IRoyalty.PlaceUnknown.selector, 0, uint256(type(uint24).max) + 1, 3)
        );
        royalty.settle(platform, batch, type(uint24).max, list, proof);
    }

    function test_settle_reverts_when_the_proof_is_of_another_length() public {
        addMany(5);
        uint32 batch = postAll();
        bytes memory list = packed(2, 1);
        bytes memory proof = tree().prove(2, 1);
        for (uint256 length; length < proof.length; ++length) {
            uint256 needed = (length / 44 + 1) * 44;
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.ProofLength.selector, needed, length));
            royalty.settle(platform, batch, 2, list, cut(proof, length));
        }
        vm.expectRevert(
            abi.encodeWithSelector(IRoyalty.ProofLength.selector, proof.length, proof.length + 1)
        );
        royalty.settle(platform, batch, 2, list, bytes.concat(proof, hex"00"));
    }

    function test_settle_reverts_when_the_total_is_not_the_trees() public {
        addMany(2);
        PlainTree.Node memory root = tree().root();
        uint32 less = postRoot(root.hash, 2, uint96(root.sum) - 1);
        uint32 more = postRoot(root.hash, 2, uint96(root.sum) + 1);
        bytes memory list = packed(0, 2);
        for (uint32 batch = less; batch <= more; ++batch) {
            vm.expectRevert(
                abi.encodeWithSelector(IRoyalty.ProofMismatch.selector, root.hash, uint96(root.sum))
            );
            royalty.settle(platform, batch, 0, list, "");
        }
    }

    function test_settle_reverts_when_a_single_leaf_is_not_the_total() public {
        addMany(1);
        PlainTree.Node memory root = tree().root();
        uint32 batch = postRoot(root.hash, 1, uint96(root.sum) + 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.ProofMismatch.selector, root.hash, uint96(root.sum)));
        royalty.settle(platform, batch, 0, packed(0, 1), "");
    }

    function test_settle_reverts_when_sums_wrap_round() public {
        addViews(catalogue, 1);
        add("junk", type(uint96).max - CENT + 1);
        PlainTree.Node memory root = tree().root();
        uint32 batch = postRoot(root.hash, 2, 0);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, uint256(2 ** 96)));
        royalty.settle(platform, batch, 0, packed(0, 2), "");
    }

    function test_settle_reverts_when_a_node_is_given_for_a_leaf() public {
        addMany(4);
        PlainTree.Node[] memory nodes = tree();
        PlainTree.Node[] memory parents = nodes.above();
        uint32 batch = postAll();
        // What the left parent is the hash of, told as a leaf: its amount would have to be the hash's first bytes.
        bytes memory inner = PlainTree.preimage(nodes[0], nodes[1]);
        bytes memory list = abi.encodePacked(uint24(inner.length), uint96(parents[0].sum), inner);
        vm.expectRevert();
        royalty.settle(platform, batch, 0, list, parents.prove(0, 1));
    }

    function test_settle_reverts_for_the_leaves_of_another_tally_or_place() public {
        addMany(4);
        uint32 batch = postAll();
        bytes memory list = packed(1, 1);
        bytes memory proof = tree().prove(1, 1);
        vm.expectRevert();
        royalty.settle(platform, batch, 0, list, proof);
        vm.expectRevert();
        royalty.settle(platform, batch, 3, list, proof);
        postRoot("another", 4, tallyOf(batch).total);
        vm.expectRevert();
        royalty.settle(platform, batch + 1, 1, list, proof);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.TallyUnknown.selector, stranger, batch));
        royalty.settle(stranger, batch, 1, list, proof);
    }

    function test_settle_never_pays_more_than_the_total_whatever_its_counter_says() public {
        addMany(2);
        uint32 batch = postAll();
        bytes32 slot = stateSlot(batch);
        // One nano-token more counted as settled than was.
        uint256 word = uint256(vm.load(address(royalty), slot));
        vm.store(address(royalty), slot, bytes32(word + (uint256(1) << 96)));
        vm.assertEq(tallyOf(batch).settled, 1, "the counter");
        uint96 total = tallyOf(batch).total;
        bytes memory list = packed(0, 2);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.TallyExceeded.selector, uint256(total) + 1, total));
        royalty.settle(platform, batch, 0, list, "");
    }

    function test_settle_waits_where_the_deal_cannot_keep_as_much() public {
        uint256 most = uint256(type(uint96).max) / 1000;
        usd.mint(stranger, most);
        vm.startPrank(stranger);
        usd.approve(address(royalty), most);
        royalty.pay(catalogue, most, 0, 0);
        vm.stopPrank();
        addViews(catalogue, 1);
        uint32 batch = postAll();
        bytes memory list = packed(0, 1);
        uint256 sum = most * 1000 + CENT;
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, sum));
        royalty.settle(platform, batch, 0, list, "");
        // Anybody makes room again.
        royalty.allocate(allocation(catalogue, 1, duo()));
        royalty.settle(platform, batch, 0, list, "");
        vm.assertEq(unsettled(batch), 0, "paid after all");
    }

    // --- Random trees ---

    function testFuzz_settle_takes_any_range_of_any_tree(uint256 seed) public {
        (uint32 batch, uint256 first, bytes memory list, bytes memory proof) = grow(seed, 5_000);
        royalty.settle(platform, batch, uint24(first), list, proof);
        vm.assertTrue(royalty.isSettled(platform, batch, uint24(first)), "proven");
    }

    function testFuzz_settle_refuses_proofs_changed_anywhere(uint256 seed, uint256 where, uint8 flip) public {
        (uint32 batch, uint256 first, bytes memory list, bytes memory proof) = grow(seed, 300);
        Tally memory tally = tallyOf(batch);
        uint256 change = flip == 0 ? 1 : flip;
        where = bound(where, 0, list.length + proof.length + 2);
        if (where < list.length) {
            list[where] = bytes1(uint8(list[where]) ^ uint8(change));
        } else if (where < list.length + proof.length) {
            proof[where - list.length] = bytes1(uint8(proof[where - list.length]) ^ uint8(change));
        } else if (where == list.length + proof.length) {
            first ^= change;
        } else if (where == list.length + proof.length + 1) {
            // The same root with another total.
            (, bytes32 root) = royalty.tallyOf(platform, batch);
            batch = postRoot(root, tally.leaves, tally.total ^ uint96(change));
        } else {
            (, bytes32 root) = royalty.tallyOf(platform, batch);
            batch = postRoot(root ^ bytes32(change << (seed % 248)), tally.leaves, tally.total);
        }
        vm.expectRevert();
        royalty.settle(platform, batch, uint24(first), list, proof);
    }

    /// @dev A random tree of leaves that are void for want of a deal, with a random range of at most 40.
    function grow(
        uint256 seed,
        uint256 most
    ) private returns (uint32 batch, uint256 first, bytes memory list, bytes memory proof) {
        uint256 size = bound(uint256(keccak256(abi.encode(seed, "size"))), 1, most);
        PlainTree.Node[] memory nodes = new PlainTree.Node[](size);
        for (uint256 i; i < size; ++i) nodes[i] = PlainTree.leaf(randomLeaf(seed, i), uint96(7 * i + 1));
        uint256 count = bound(uint256(keccak256(abi.encode(seed, "count"))), 1, size < 40 ? size : 40);
        first = bound(uint256(keccak256(abi.encode(seed, "first"))), 0, size - count);
        for (uint256 i = first; i < first + count; ++i) {
            bytes memory leaf = randomLeaf(seed, i);
            list = bytes.concat(list, abi.encodePacked(uint24(leaf.length), uint96(7 * i + 1), leaf));
        }
        proof = nodes.prove(first, count);
        PlainTree.Node memory root = nodes.root();
        batch = postRoot(root.hash, uint24(size), uint96(root.sum));
    }

    function randomLeaf(uint256 seed, uint256 index) private pure returns (bytes memory) {
        return abi.encodePacked(keccak256(abi.encode(seed, index)));
    }

    // --- Helpers ---

    function voids(bytes memory leaf, uint96 amount, LeafFault reason) private {
        clear();
        addViews(catalogue, 2);
        add(leaf, amount);
        uint96 before = funds(platform);
        uint96 had = accrued(catalogue, 1);
        uint32 batch = postAll();
        bytes memory proof = tree().prove(1, 1);
        vm.expectEmit(address(royalty));
        emit IRoyalty.LeafVoid(platform, batch, 1, leaf, amount, reason);
        vm.prank(stranger);
        royalty.settle(platform, batch, 1, packed(1, 1), proof);
        vm.assertEq(funds(platform), before - amounts[0], "its amount is back");
        vm.assertEq(accrued(catalogue, 1), had, "nothing accrued");
        vm.assertTrue(royalty.isSettled(platform, batch, 1), "closed");
        vm.assertEq(tallyOf(batch).settled, amount, "counted");
    }

    function cut(bytes memory data, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i; i < length; ++i) part[i] = data[i];
    }

    /// @dev Where a tally's counters lie: found by what they hold.
    function stateSlot(uint32 batch) private view returns (bytes32 slot) {
        Tally memory tally = tallyOf(batch);
        uint256 word = tally.total | (uint256(tally.leaves) << 192) | (uint256(tally.day) << 240);
        for (uint256 position; position < 64; ++position) {
            bytes32 outer = keccak256(abi.encode(platform, position));
            slot = bytes32(uint256(keccak256(abi.encode(batch, outer))) + 1);
            if (uint256(vm.load(address(royalty), slot)) == word) return slot;
        }
        revert("no such slot");
    }
}
