// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Amendment, IRoyalty, LeafFault, Platform, Tally} from "contracts/interfaces/IRoyalty.sol";
import {HostileToken} from "contracts/test/HostileToken.sol";

import {PlainTree} from "./lib/PlainTree.sol";
import {Stage} from "./lib/Stage.sol";
import {TallyStage} from "./lib/TallyStage.sol";

/// @notice Two platforms with the same batch numbers, catalogues and holders, of which one is hostile. In every scene
/// the honest one's funds and tallies stay as they were, holders have what both truly paid, and every tally closes.
/// @dev `platform`, as whom the stage posts, is the hostile one. It takes its funds out before its tallies are closed,
/// which strangers do. All good leaves are whole cents, so holders are paid to the nano-token without a remainder.
contract TwoPlatformsTest is TallyStage {
    using PlainTree for PlainTree.Node[];

    /// @dev What must not move: the honest platform with its tallies whole, deals and balances one by one.
    struct Books {
        Platform honest;
        Tally closed;
        Tally open;
        bytes32 marks;
        uint96 first;
        uint96 second;
        uint256 director;
        uint256 composer;
    }

    address internal constant HONEST = address(0xA11CE);
    address internal constant HOSTILE = address(0xBAD);

    /// @dev The honest platform's batches: a report is 1.
    uint32 internal constant CLOSED = 2;
    uint32 internal constant OPEN = 3;

    /// @dev What each has truly reported before a scene starts, what is open of the honest platform's tallies included.
    uint96 internal constant HONEST_PAYS = 36 * uint96(CENT);
    uint96 internal constant HOSTILE_PAYS = 2 * uint96(CENT);

    uint32 internal second;

    function setUp() public override {
        platform = HONEST;
        super.setUp();
        second = openCatalogue();
        report(TODAY, 7 * uint96(CENT), views(catalogue, 7));
        royalty.allocate(allocation(catalogue, 1, duo()));
        makeClosed();
        settle(postAll(), 0, 3);
        makeOpen();
        settle(postAll(), 0, 2);
        clear();
        platform = HOSTILE;
        fund(HOSTILE, 1000 * USD);
        report(TODAY, HOSTILE_PAYS, views(catalogue, 2));
    }

    // --- Overlapping batch numbers ---

    function test_equal_batch_numbers_of_two_platforms_are_two_tallies() public {
        Books memory before = books();
        makeClosed();
        vm.assertEq(postAll(), CLOSED, "the same number, root and leaves");
        makeOpen();
        vm.assertEq(postAll(), OPEN, "once more");
        leave();
        unmoved(before, 0, 0);
        settle(OPEN, 0, 4);
        unmoved(before, 7 * uint96(CENT), 10 * uint96(CENT));
        makeClosed();
        settle(CLOSED, 0, 3);
        unmoved(before, 15 * uint96(CENT), 14 * uint96(CENT));
        closedInFull(CLOSED);
        closedInFull(OPEN);
        everybodyIsPaid(29 * uint96(CENT), 0);
    }

    function test_the_honest_platforms_numbers_are_taken_by_nobody_else() public {
        Books memory before = books();
        bytes memory refused = abi.encodeWithSelector(IRoyalty.NotReporter.selector, HONEST, HOSTILE);
        for (uint32 batch; batch < 6; ++batch) {
            vm.startPrank(HOSTILE);
            vm.expectRevert(refused);
            royalty.post(HONEST, batch, TODAY, "root", 1, 0, 0, 0, "");
            vm.expectRevert(refused);
            royalty.report(HONEST, batch, TODAY, 0, CENT, views(catalogue, 1));
            vm.stopPrank();
        }
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    // --- Roots with wrong sums ---

    function test_a_root_with_another_sum_than_its_total_pays_nobody() public {
        Books memory before = books();
        makeOpen();
        PlainTree.Node[] memory level = tree().above();
        PlainTree.Node memory root = level.root();
        uint96[4] memory totals = [uint96(root.sum) - 1, uint96(root.sum) + 1, 0, 900 * TOKEN];
        for (uint256 i; i < totals.length; ++i) postRoot(root.hash, 4, totals[i]);
        leave();
        bytes memory mismatch = abi.encodeWithSelector(IRoyalty.ProofMismatch.selector, root.hash, root.sum);
        for (uint32 batch = 2; batch < 6; ++batch) {
            vm.expectRevert(mismatch);
            settle(batch, 0, 4);
            vm.expectRevert(mismatch);
            settle(batch, 3, 1);
        }
        unmoved(before, 0, 0);
        for (uint32 batch = 2; batch < 6; ++batch) {
            close(batch, 2, 0, totals[batch - 2], PlainTree.preimage(level[0], level[1]), "");
            closedInFull(batch);
        }
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    function test_an_inner_node_with_a_wrong_sum_is_returned_and_its_neighbours_are_paid() public {
        Books memory before = books();
        makeOpen();
        PlainTree.Node[] memory nodes = tree();
        PlainTree.Node[] memory level = nodes.above();
        for (uint256 wrong; wrong < 2; ++wrong) {
            level = nodes.above();
            level[1].sum = wrong == 0 ? level[1].sum + 500 * TOKEN : 1;
            PlainTree.Node memory root = level.root();
            uint32 batch = postRoot(root.hash, 4, uint96(root.sum));
            leave();
            bytes memory list = packed(2, 2);
            bytes memory proof = level.prove(1, 1);
            vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
            royalty.settle(HOSTILE, batch, 2, list, proof);
            unmoved(before, uint96(wrong) * CENT, 2 * uint96(wrong) * CENT);
            close(batch, 1, 1, uint96(level[1].sum), PlainTree.preimage(nodes[2], nodes[3]), proof);
            royalty.settle(HOSTILE, batch, 0, packed(0, 2), level.prove(0, 1));
            closedInFull(batch);
            unmoved(before, uint96(wrong + 1) * CENT, 2 * uint96(wrong + 1) * CENT);
            fund(HOSTILE, USD);
        }
        everybodyIsPaid(6 * uint96(CENT), 0);
    }

    // --- Wrapped sums ---

    function test_sums_that_wrap_round_pay_nobody_and_are_returned() public {
        Books memory before = books();
        // 900 tokens of good usage, debited as one nano-token.
        addViews(catalogue, 90_000);
        add("junk", type(uint96).max - 900 * TOKEN + 2);
        PlainTree.Node[] memory nodes = tree();
        uint32 batch = postRoot(nodes.root().hash, 2, 1);
        leave();
        bytes memory tooLarge = abi.encodeWithSelector(
            IRoyalty.AmountTooLarge.selector,
            uint256(2 ** 96) + 1
        );
        for (uint256 count = 1; count <= 2; ++count) {
            vm.expectRevert(tooLarge);
            settle(batch, 0, count);
        }
        unmoved(before, 0, 0);
        close(batch, 1, 0, 1, PlainTree.preimage(nodes[0], nodes[1]), "");
        closedInFull(batch);
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    function test_inner_sums_that_wrap_round_are_returned_beside_what_is_paid() public {
        Books memory before = books();
        addViews(catalogue, 5);
        addViews(second, 7);
        addViews(catalogue, 90_000);
        add("junk", type(uint96).max - 900 * TOKEN + 1);
        PlainTree.Node[] memory nodes = tree();
        PlainTree.Node[] memory level = nodes.above();
        level[1].sum = uint96(level[1].sum);
        vm.assertEq(level[1].sum, 0, "wrapped round");
        uint32 batch = postRoot(level.root().hash, 4, 12 * uint96(CENT));
        leave();
        bytes memory list = packed(2, 2);
        bytes memory proof = level.prove(1, 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, uint256(2 ** 96)));
        royalty.settle(HOSTILE, batch, 2, list, proof);
        unmoved(before, 0, 0);
        close(batch, 1, 1, 0, PlainTree.preimage(nodes[2], nodes[3]), proof);
        royalty.settle(HOSTILE, batch, 0, packed(0, 2), level.prove(0, 1));
        closedInFull(batch);
        unmoved(before, 5 * uint96(CENT), 7 * uint96(CENT));
        everybodyIsPaid(12 * uint96(CENT), 0);
    }

    // --- A leaf at two indices ---

    function test_a_leaf_at_two_indices_is_paid_by_who_posted_it_once_at_each() public {
        Books memory before = books();
        addViews(catalogue, 5);
        addViews(catalogue, 5);
        addViews(second, 5);
        uint32 batch = postAll();
        leave();
        for (uint256 again; again < 3; ++again) {
            settle(batch, 0, 1);
            unmoved(before, 5 * uint96(CENT), 0);
        }
        settle(batch, 0, 2);
        unmoved(before, 10 * uint96(CENT), 0);
        settle(batch, 0, 3);
        unmoved(before, 10 * uint96(CENT), 5 * uint96(CENT));
        closedInFull(batch);
        everybodyIsPaid(15 * uint96(CENT), 0);
    }

    function test_a_leaf_at_two_indices_debited_once_is_paid_at_neither() public {
        Books memory before = books();
        addViews(catalogue, 5);
        addViews(catalogue, 5);
        PlainTree.Node[] memory nodes = tree();
        uint32 batch = postRoot(nodes.root().hash, 2, 5 * uint96(CENT));
        leave();
        for (uint256 index; index < 2; ++index) {
            vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
            settle(batch, index, 1);
        }
        unmoved(before, 0, 0);
        close(batch, 1, 0, 5 * uint96(CENT), PlainTree.preimage(nodes[0], nodes[1]), "");
        closedInFull(batch);
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    function test_a_leaf_that_is_carried_up_has_one_index() public {
        Books memory before = books();
        for (uint24 i = 1; i <= 5; ++i) addViews(catalogue, i);
        uint32 batch = postAll();
        leave();
        bytes memory list = packed(4, 1);
        bytes memory proof = tree().prove(4, 1);
        settle(batch, 4, 1);
        // Where the levels above would have it, and where shifting the index makes it look the same.
        uint24[7] memory places = [uint24(1), 2, 5, 6, 7, 8, type(uint24).max];
        for (uint256 i; i < places.length; ++i) {
            vm.expectRevert();
            royalty.settle(HOSTILE, batch, places[i], list, proof);
        }
        unmoved(before, 5 * uint96(CENT), 0);
        settle(batch, 0, 5);
        closedInFull(batch);
        unmoved(before, 15 * uint96(CENT), 0);
        everybodyIsPaid(15 * uint96(CENT), 0);
    }

    // --- Replays ---

    function test_replays_of_everything_change_nothing() public {
        Books memory before = books();
        addViews(catalogue, 5);
        add("junk", TOKEN);
        addViews(second, 6);
        uint32 batch = postAll();
        bytes32 root = tree().root().hash;
        leave();
        settle(batch, 0, 2);
        for (uint32 old; old <= batch; ++old) {
            vm.startPrank(HOSTILE);
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, batch + 1, old));
            royalty.post(HOSTILE, old, TODAY, root, 3, 0, 0, 0, "");
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, batch + 1, old));
            royalty.report(HOSTILE, old, TODAY, 0, HOSTILE_PAYS, views(catalogue, 2));
            vm.stopPrank();
        }
        settle(batch, 0, 2);
        settle(batch, 1, 1);
        vm.assertEq(funds(HOSTILE), TOKEN, "the void leaf was returned once");
        unmoved(before, 5 * uint96(CENT), 0);
        settle(batch, 0, 3);
        settle(batch, 0, 3);
        closedInFull(batch);
        unmoved(before, 5 * uint96(CENT), 6 * uint96(CENT));
        everybodyIsPaid(11 * uint96(CENT), 0);
    }

    function test_leaves_are_not_settled_in_the_other_platforms_tally_of_the_same_number() public {
        Books memory before = books();
        addViews(catalogue, 9);
        addViews(second, 9);
        addViews(catalogue, 9);
        addViews(second, 9);
        postRoot("withheld", 4, TOKEN);
        vm.assertEq(postAll(), OPEN, "the number of the open one");
        bytes memory list = packed(0, 4);
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        royalty.settle(HONEST, OPEN, 0, list, "");
        list = packed(2, 2);
        bytes memory proof = tree().prove(2, 2);
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        royalty.settle(HONEST, OPEN, 2, list, proof);
        settle(OPEN, 0, 4);
        closedInFull(OPEN);
        makeOpen();
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        settle(OPEN, 2, 2);
        unmoved(before, 18 * uint96(CENT), 18 * uint96(CENT));
        everybodyIsPaid(36 * uint96(CENT), TOKEN);
    }

    function test_a_node_is_returned_once_and_none_of_the_honest_tree_is() public {
        Books memory before = books();
        uint32 batch = postRoot(keccak256("neither leaf nor node"), 4, TOKEN);
        leave();
        close(batch, 2, 0, TOKEN, "neither leaf nor node", "");
        closedInFull(batch);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NodeNotBroken.selector, 2, 0));
        close(batch, 2, 0, TOKEN, "neither leaf nor node", "");
        vm.assertEq(funds(HOSTILE), TOKEN, "once");
        makeOpen();
        PlainTree.Node[] memory level = tree().above();
        bytes memory preimage = PlainTree.preimage(level[0], level[1]);
        vm.prank(HOSTILE);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NodeNotBroken.selector, 2, 0));
        royalty.closeNode(HONEST, OPEN, 2, 0, 17 * uint96(CENT), preimage, "");
        vm.prank(HOSTILE);
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        royalty.closeNode(HONEST, OPEN, 2, 0, 17 * uint96(CENT), "neither leaf nor node", "");
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    // --- Days outside the deal ---

    function test_days_outside_the_deal_are_returned() public {
        Books memory before = books();
        vm.prank(producer);
        royalty.amend(Amendment(catalogue, TODAY + 2, tariff(), NOON), duo(), duo(), new bytes[](2), "");
        addDay(1, TODAY - 31);
        addDay(1, 0);
        addDay(1, TODAY + 1);
        addDay(1, type(uint16).max);
        addDay(2, TODAY + 2);
        uint32 today = postAll();
        leave();
        fund(HOSTILE, USD);
        vm.warp(NOON + 3 days);
        clear();
        addDay(1, TODAY + 2);
        addDay(2, TODAY + 1);
        addDay(2, TODAY + 4);
        PlainTree.Node memory root = tree().root();
        vm.prank(HOSTILE);
        royalty.post(HOSTILE, 3, TODAY + 3, root.hash, 3, uint96(root.sum), 0, 0, "");
        leave();
        LeafFault early = LeafFault.DealNotInForce;
        LeafFault late = LeafFault.DayAfterTally;
        voids(3, 0, early);
        voids(3, 1, early);
        voids(3, 2, late);
        clear();
        addDay(1, TODAY - 31);
        addDay(1, 0);
        addDay(1, TODAY + 1);
        addDay(1, type(uint16).max);
        addDay(2, TODAY + 2);
        voids(today, 0, early);
        voids(today, 1, early);
        // The days have come since, the tally's has not changed.
        voids(today, 2, late);
        voids(today, 3, late);
        voids(today, 4, late);
        closedInFull(today);
        closedInFull(3);
        unmoved(before, 0, 0);
        vm.assertEq(accrued(catalogue, 2), 0, "nor the deal that came later");
        everybodyIsPaid(0, 0);
    }

    // --- A leaf that is one nano-token off ---

    function test_a_leaf_one_nano_token_off_is_returned_whole() public {
        Books memory before = books();
        add(leafOf(catalogue, 1, day(TODAY, 0, 0, 5)), 5 * uint96(CENT) + 1);
        add(leafOf(second, 1, day(TODAY, 0, 0, 5)), 5 * uint96(CENT) - 1);
        // The same by the other way of reading, several groups one by one.
        bytes memory two = bytes.concat(day(TODAY, 0, 0, 5), day(TODAY, 1, 0, 1));
        add(leafOf(catalogue, 1, two), 55 * uint96(CENT) - 1);
        add(leafOf(second, 1, two), 55 * uint96(CENT) + 1);
        addViews(second, 3);
        uint32 batch = postAll();
        leave();
        for (uint256 index; index < 4; ++index) voids(batch, index, LeafFault.AmountMismatch);
        unmoved(before, 0, 0);
        settle(batch, 0, 5);
        unmoved(before, 0, 3 * uint96(CENT));
        closedInFull(batch);
        everybodyIsPaid(3 * uint96(CENT), 0);
    }

    // --- What stays open (decision 0111) ---

    function test_only_money_of_who_withholds_preimages_stays_locked() public {
        Books memory before = books();
        makeOpen();
        PlainTree.Node[] memory nodes = tree();
        PlainTree.Node[] memory level = nodes.above();
        // Nobody is shown what these are hashes of: a whole tree, then half of one.
        bytes memory secret = PlainTree.preimage(nodes[2], nodes[3]);
        uint32 whole = postRoot(keccak256(abi.encode("withheld")), 4, 300 * TOKEN);
        uint32 half = postRoot(level.root().hash, 4, 17 * uint96(CENT));
        leave();
        // Guesses open nothing, neither as a leaf nor as a node.
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        settle(whole, 0, 4);
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        close(whole, 2, 0, 300 * TOKEN, "a guess", "");
        vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
        close(half, 1, 1, 14 * uint96(CENT), "a guess", PlainTree.pack(level[0]));
        // The half that is known is paid without the other's data.
        royalty.settle(HOSTILE, half, 0, packed(0, 2), PlainTree.pack(level[1]));
        unmoved(before, uint96(CENT), 2 * uint96(CENT));
        // No time frees the rest. It is part of what was debited from the hostile platform alone.
        vm.warp(NOON + 9_000 days);
        vm.assertEq(unsettled(whole), 300 * TOKEN, "all of it waits");
        vm.assertEq(unsettled(half), 14 * uint96(CENT), "half of it waits");
        vm.assertEq(funds(HOSTILE), 0, "nothing came back");
        // The honest node has no other preimage: whoever learns it pays its leaves, nobody can return them.
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NodeNotBroken.selector, 1, 1));
        close(half, 1, 1, 14 * uint96(CENT), secret, PlainTree.pack(level[0]));
        unmoved(before, uint96(CENT), 2 * uint96(CENT));
        everybodyIsPaid(3 * uint96(CENT), 300 * TOKEN + 14 * uint96(CENT));
        // Shown after all, it closes.
        makeOpen();
        settle(half, 2, 2);
        closedInFull(half);
    }

    /// @dev Known, but as good as withheld: no transaction is large enough to show it (EIP-7825: 2^24 gas).
    function test_a_leaf_too_large_for_a_transaction_stays_open_and_stops_no_neighbour() public {
        Books memory before = books();
        add(new bytes(1_000_000), TOKEN);
        addViews(catalogue, 5);
        uint32 batch = postAll();
        leave();
        bytes memory list = packed(0, 1);
        bytes memory proof = tree().prove(0, 1);
        vm.expectRevert();
        royalty.settle{gas: 2 ** 24}(HOSTILE, batch, 0, list, proof);
        settle(batch, 1, 1);
        unmoved(before, 5 * uint96(CENT), 0);
        vm.assertEq(unsettled(batch), TOKEN, "the large one waits");
        everybodyIsPaid(5 * uint96(CENT), TOKEN);
    }

    // --- Beyond the list ---

    function test_a_node_told_as_a_leaf_is_returned_and_opens_no_other_way() public {
        Books memory before = books();
        makeOpen();
        PlainTree.Node[] memory nodes = tree();
        PlainTree.Node[] memory level = nodes.above();
        // The honest tree under fewer leaves than it has: its inner nodes stand where leaves should.
        uint32 batch = postRoot(level.root().hash, 2, 17 * uint96(CENT));
        leave();
        vm.expectRevert();
        settle(batch, 0, 4);
        for (uint24 index; index < 2; ++index) {
            bytes memory inner = PlainTree.preimage(nodes[2 * index], nodes[2 * index + 1]);
            bytes memory proof = PlainTree.pack(level[1 - index]);
            bytes memory list = abi.encodePacked(
                uint24(inner.length - 13),
                uint96(level[index].sum),
                cutFront(inner, 13)
            );
            vm.expectPartialRevert(IRoyalty.ProofMismatch.selector);
            royalty.settle(HOSTILE, batch, index, list, proof);
            close(batch, 0, index, uint96(level[index].sum), inner, proof);
        }
        closedInFull(batch);
        unmoved(before, 0, 0);
        // Under more leaves than it has, its leaves stand where nodes should.
        fund(HOSTILE, USD);
        batch = postRoot(level.root().hash, 8, 17 * uint96(CENT));
        vm.expectRevert();
        settle(batch, 0, 4);
        for (uint24 index; index < 4; ++index) {
            bytes memory leaf = abi.encodePacked(uint8(0), amounts[index], leaves[index]);
            close(batch, 1, index, amounts[index], leaf, nodes.prove(index, 1));
        }
        closedInFull(batch);
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    function test_a_leaf_under_another_tag_is_returned() public {
        Books memory before = books();
        bytes memory preimage = abi.encodePacked(
            uint8(1),
            TOKEN,
            leafOf(catalogue, 1, day(TODAY, 0, 0, 100))
        );
        uint32 batch = postRoot(keccak256(preimage), 1, TOKEN);
        leave();
        close(batch, 0, 0, TOKEN, preimage, "");
        closedInFull(batch);
        unmoved(before, 0, 0);
        everybodyIsPaid(0, 0);
    }

    function test_a_range_that_was_settled_in_part_before_it_lands_still_lands() public {
        Books memory before = books();
        bytes memory list;
        bytes memory proof;
        // The honest range waits to land while the hostile platform settles half of it, then all.
        makeOpen();
        (list, proof) = (packed(0, 4), tree().prove(0, 4));
        vm.prank(HOSTILE);
        royalty.settle(HONEST, OPEN, 3, packed(3, 1), tree().prove(3, 1));
        vm.assertEq(accrued(second, 1), before.second + 8 * uint96(CENT), "paid as honestly as by anybody");
        royalty.settle(HONEST, OPEN, 0, list, proof);
        royalty.settle(HONEST, OPEN, 0, list, proof);
        vm.assertEq(funds(HONEST), before.honest.funds, "funds");
        vm.assertEq(accrued(catalogue, 1), before.first + 6 * uint96(CENT), "once");
        vm.assertEq(accrued(second, 1), before.second + 8 * uint96(CENT), "once as well");
        everybodyIsPaid(0, 0);
    }

    function test_leaves_of_no_length_are_returned_whatever_stands_behind_them() public {
        Books memory before = books();
        add("", 5 * uint96(CENT));
        add("", 5 * uint96(CENT));
        // Six bytes that name a deal, whose groups would be the next leaf's prefix.
        add(abi.encodePacked(catalogue, uint16(1)), 5 * uint96(CENT));
        addViews(catalogue, 5);
        uint32 batch = postAll();
        leave();
        for (uint256 index; index < 3; ++index) voids(batch, index, LeafFault.Malformed);
        settle(batch, 0, 4);
        closedInFull(batch);
        unmoved(before, 5 * uint96(CENT), 0);
        everybodyIsPaid(5 * uint96(CENT), 0);
    }

    function test_places_far_outside_the_tree_are_refused() public {
        Books memory before = books();
        makeOpen();
        uint32 batch = postAll();
        bytes memory list = packed(0, 4);
        uint24[4] memory places = [uint24(4), 256, 2 ** 23, type(uint24).max];
        for (uint256 i; i < places.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IRoyalty.PlaceUnknown.selector, 0, uint256(places[i]) + 3, 4)
            );
            royalty.settle(HOSTILE, batch, places[i], list, "");
        }
        unmoved(before, 0, 0);
        settle(batch, 0, 4);
        closedInFull(batch);
        everybodyIsPaid(17 * uint96(CENT), 0);
    }

    function test_a_reporter_without_limit_takes_a_number_for_nothing_and_can_be_removed() public {
        vm.startPrank(HONEST);
        royalty.setReporter(reporter, true);
        vm.stopPrank();
        Books memory before = books();
        // Ahead of the platform's own batch 4: its key turned hostile, with nothing to spend.
        vm.prank(reporter);
        royalty.post(HONEST, 4, TODAY, "root", 1, 0, 0, 0, "");
        vm.prank(reporter);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, HONEST, 1, 0));
        royalty.post(HONEST, 5, TODAY, "root", 1, 1, 0, 0, "");
        vm.assertEq(funds(HONEST), before.honest.funds, "no money");
        vm.startPrank(HONEST);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 5, 4));
        royalty.report(HONEST, 4, TODAY, 0, CENT, views(catalogue, 1));
        royalty.setReporter(reporter, false);
        royalty.report(HONEST, 5, TODAY, 0, CENT, views(catalogue, 1));
        vm.stopPrank();
        vm.assertEq(funds(HONEST), before.honest.funds - CENT, "goes on under the next number");
    }

    function test_what_is_returned_does_not_let_a_reporter_spend_more_in_a_day() public {
        vm.startPrank(HONEST);
        royalty.setReporter(reporter, true);
        royalty.setLimit(2_000_000);
        vm.stopPrank();
        uint96 before = funds(HONEST);
        add("junk", 2 * TOKEN);
        bytes32 root = tree().root().hash;
        for (uint32 batch = 4; batch < 7; ++batch) {
            vm.prank(reporter);
            if (batch > 4)
                vm.expectRevert(
                    abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, HONEST, 2_000_000, 0)
                );
            royalty.post(HONEST, batch > 4 ? 5 : 4, TODAY, root, 1, 2 * TOKEN, 0, 0, "");
            royalty.settle(HONEST, 4, 0, packed(0, 1), "");
            vm.assertEq(funds(HONEST), before, "all of it is back");
        }
    }

    // --- Helpers: scenes ---

    /// @dev The honest platform's second batch, settled in full.
    function makeClosed() private {
        clear();
        addViews(catalogue, 3);
        addViews(second, 4);
        addViews(catalogue, 5);
    }

    /// @dev The honest platform's third batch, of which the last two leaves are open.
    function makeOpen() private {
        clear();
        addViews(catalogue, 1);
        addViews(second, 2);
        addViews(catalogue, 6);
        addViews(second, 8);
    }

    function addDay(uint16 version, uint16 day_) private {
        add(leafOf(catalogue, version, day(day_, 0, 0, 1)), CENT);
    }

    /// @dev The hostile platform takes out whatever it can and does nothing more.
    function leave() private {
        takeOut(HOSTILE);
        vm.assertEq(funds(HOSTILE) / 1000, 0, "gone");
    }

    function takeOut(address account) private {
        uint256 amount = funds(account) / 1000;
        if (amount == 0) return;
        vm.prank(account);
        royalty.withdrawFunds(amount, account);
    }

    function voids(uint32 batch, uint256 index, LeafFault reason) private {
        uint96 before = funds(HOSTILE);
        vm.expectEmit(address(royalty));
        emit IRoyalty.LeafVoid(HOSTILE, batch, uint24(index), leaves[index], amounts[index], reason);
        settle(batch, index, 1);
        vm.assertEq(funds(HOSTILE), before + amounts[index], "back");
    }

    /// @dev By anybody.
    function close(
        uint32 batch,
        uint8 level,
        uint24 index,
        uint96 sum,
        bytes memory preimage,
        bytes memory proof
    ) private {
        vm.prank(stranger);
        royalty.closeNode(HOSTILE, batch, level, index, sum, preimage, proof);
    }

    function cutFront(bytes memory data, uint256 from) private pure returns (bytes memory rest) {
        rest = new bytes(data.length - from);
        for (uint256 i; i < rest.length; ++i) rest[i] = data[from + i];
    }

    // --- Helpers: books ---

    function books() private view returns (Books memory now_) {
        now_.honest = royalty.platformOf(HONEST);
        (now_.closed, ) = royalty.tallyOf(HONEST, CLOSED);
        (now_.open, ) = royalty.tallyOf(HONEST, OPEN);
        now_.marks = marks();
        now_.first = accrued(catalogue, 1);
        now_.second = accrued(second, 1);
        now_.director = royalty.balanceOfHolder(director);
        now_.composer = royalty.balanceOfHolder(composer);
        ruleOne();
    }

    /// @dev The roots of the honest tallies, with which of their leaves are settled.
    function marks() private view returns (bytes32 all) {
        for (uint32 batch; batch < 5; ++batch) {
            (, bytes32 root) = royalty.tallyOf(HONEST, batch);
            all = keccak256(abi.encode(all, root));
            for (uint24 i; i < 8; ++i) all = keccak256(abi.encode(all, royalty.isSettled(HONEST, batch, i)));
        }
    }

    /// @dev Nothing of the honest platform moved; deals have what the hostile one paid into them with its own money.
    function unmoved(Books memory before, uint96 first, uint96 more) private view {
        Books memory now_ = books();
        vm.assertEq(now_.honest.funds, before.honest.funds, "the honest platform's funds");
        vm.assertEq(keccak256(abi.encode(now_.honest)), keccak256(abi.encode(before.honest)), "its state");
        vm.assertEq(keccak256(abi.encode(now_.closed)), keccak256(abi.encode(before.closed)), "closed tally");
        vm.assertEq(keccak256(abi.encode(now_.open)), keccak256(abi.encode(before.open)), "open tally");
        vm.assertEq(now_.marks, before.marks, "its roots and leaves");
        vm.assertEq(now_.first, before.first + first, "accrued");
        vm.assertEq(now_.second, before.second + more, "accrued, second");
        vm.assertEq(now_.director, before.director, "the director's balance");
        vm.assertEq(now_.composer, before.composer, "the composer's balance");
        uint256 payable_ =
            before.director + ((before.first + first) * 6) / 10 + ((before.second + more) * 6) / 10;
        vm.assertEq(payableOf(director, 600_000), payable_, "payable to the director");
        payable_ = before.composer + ((before.first + first) * 4) / 10 + ((before.second + more) * 4) / 10;
        vm.assertEq(payableOf(composer, 400_000), payable_, "payable to the composer");
    }

    function payableOf(address holder, uint256 ppm) private view returns (uint256) {
        uint256 first = (uint256(accrued(catalogue, 1)) * ppm) / 1_000_000;
        return royalty.balanceOfHolder(holder) + first + (uint256(accrued(second, 1)) * ppm) / 1_000_000;
    }

    /// @dev Tokens held = platforms' funds + posted and unsettled + accrued + holders' balances, exactly.
    function ruleOne() private view {
        uint256 owed = uint256(funds(HONEST)) + funds(HOSTILE);
        owed += locked(HONEST) + locked(HOSTILE);
        owed += uint256(accrued(catalogue, 1)) + accrued(second, 1);
        owed += royalty.balanceOfHolder(director) + royalty.balanceOfHolder(composer);
        vm.assertEq(usd.balanceOf(address(royalty)) * 1000, owed, "rule 1");
    }

    function locked(address account) private view returns (uint256 sum) {
        uint32 batches = royalty.platformOf(account).batches;
        for (uint32 batch = 1; batch <= batches; ++batch) {
            (Tally memory tally, ) = royalty.tallyOf(account, batch);
            sum += tally.total - tally.settled;
        }
    }

    function closedInFull(uint32 batch) private view {
        Tally memory tally = tallyOf(batch);
        vm.assertEq(tally.settled, tally.total, "settled is the total");
        vm.assertEq(tally.settledLeaves, tally.leaves, "all leaves are closed");
    }

    /// @dev The end of a scene: the honest tally closes, holders are paid to the nano-token, platforms take what is
    /// theirs; `stays` is what then is left in the ledger.
    function everybodyIsPaid(uint96 paid, uint256 stays) private {
        makeOpen();
        platform = HONEST;
        settle(OPEN, 2, 2);
        closedInFull(OPEN);
        closedInFull(CLOSED);
        platform = HOSTILE;
        royalty.allocateAndPay(
            bytes.concat(allocation(catalogue, 1, duo()), allocation(second, 1, duo())),
            list(director, composer)
        );
        uint256 all = HONEST_PAYS + HOSTILE_PAYS + paid;
        vm.assertEq(usd.balanceOf(director) * 1000, (all * 6) / 10, "the director has it all");
        vm.assertEq(usd.balanceOf(composer) * 1000, (all * 4) / 10, "the composer has it all");
        vm.assertEq(funds(HONEST), 1000 * TOKEN - HONEST_PAYS, "the honest platform has the rest of its own");
        ruleOne();
        takeOut(HONEST);
        takeOut(HOSTILE);
        vm.assertEq(usd.balanceOf(address(royalty)) * 1000, stays, "nothing else is left");
        vm.assertEq(locked(HOSTILE), stays, "which is the hostile platform's own");
    }
}

/// @notice The hostile platform has a hand in the token as well: what moves tokens calls tallies back.
contract TwoPlatformsTokenTest is Stage {
    HostileToken internal token;
    uint32 internal catalogue;
    bytes internal leaf;

    function setUp() public override {
        super.setUp();
        token = new HostileToken(6);
        royalty = deploy(address(token));
        catalogue = openCatalogue();
        token.mint(platform, 1000 * USD);
        vm.startPrank(platform);
        token.approve(address(royalty), 1000 * USD);
        royalty.deposit(platform, 500 * USD);
        leaf = abi.encodePacked(catalogue, uint16(1), TODAY, uint8(0), uint16(1), uint24(0), uint24(5));
        uint96 amount = 5 * uint96(CENT);
        royalty.post(platform, 1, TODAY, PlainTree.leaf(leaf, amount).hash, 1, amount, 0, 0, "");
        royalty.post(platform, 2, TODAY, keccak256("junk"), 1, TOKEN, 0, 0, "");
        royalty.setReporter(address(token), true);
        vm.stopPrank();
    }

    function test_no_tally_is_touched_while_a_token_moves() public {
        bytes memory list = abi.encodePacked(uint24(leaf.length), 5 * uint96(CENT), leaf);
        refusedWithin(abi.encodeCall(IRoyalty.settle, (platform, 1, 0, list, "")));
        refusedWithin(abi.encodeCall(IRoyalty.closeNode, (platform, 2, 0, 0, TOKEN, "junk", "")));
        refusedWithin(abi.encodeCall(IRoyalty.post, (platform, 3, TODAY, 0, 1, 0, 0, 0, "")));
        vm.assertEq(accrued(catalogue, 1), 0, "nothing accrued");
    }

    function test_a_token_that_reverts_stops_no_settling() public {
        token.setHabit(address(0), HostileToken.Habit.Reverts);
        bytes memory list = abi.encodePacked(uint24(leaf.length), 5 * uint96(CENT), leaf);
        royalty.settle(platform, 1, 0, list, "");
        royalty.closeNode(platform, 2, 0, 0, TOKEN, "junk", "");
        vm.assertEq(accrued(catalogue, 1), 5 * uint96(CENT), "paid");
        vm.assertEq(funds(platform), 500 * TOKEN - 5 * uint96(CENT), "returned");
    }

    /// @dev While a deposit, then while a withdrawal is under way.
    function refusedWithin(bytes memory call) private {
        token.setHabit(address(0), HostileToken.Habit.CallsBack);
        token.setCallback(address(royalty), call);
        for (uint256 i; i < 2; ++i) {
            vm.prank(platform);
            if (i == 0) royalty.deposit(platform, USD);
            else royalty.withdrawFunds(USD, platform);
            vm.assertFalse(token.succeeded(), "called back");
            bytes4 guard = bytes4(keccak256("ReentrancyGuardReentrantCall()"));
            vm.assertEq(token.answer(), abi.encodePacked(guard), "by the guard");
        }
        token.setHabit(address(0), HostileToken.Habit.Honest);
    }
}
