// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "contracts/interfaces/IRoyalty.sol";

import {PlainTree} from "./lib/PlainTree.sol";
import {TallyStage} from "./lib/TallyStage.sol";

/// @notice Trees that are wrong somewhere: what is under the fault can be closed, what is not cannot.
contract CloseNodeTest is TallyStage {
    using PlainTree for PlainTree.Node[];

    // --- What it does ---

    function test_closeNode_returns_a_root_whose_sum_is_not_the_total() public {
        addMany(3);
        PlainTree.Node[] memory level = tree().above();
        PlainTree.Node memory root = tree().root();
        uint32 batch = postRoot(root.hash, 3, 10 * TOKEN);
        bytes memory preimage = PlainTree.preimage(level[0], level[1]);
        vm.expectEmit(address(royalty));
        emit IRoyalty.NodeVoid(platform, batch, 2, 0, 10 * TOKEN);
        vm.prank(stranger);
        royalty.closeNode(platform, batch, 2, 0, 10 * TOKEN, preimage, "");
        closedInFull(batch, 3);
        vm.assertEq(funds(platform), 1000 * TOKEN, "all back");
    }

    function test_closeNode_returns_a_root_whose_sums_wrap_round() public {
        addViews(catalogue, 1);
        add("junk", type(uint96).max - CENT + 2);
        PlainTree.Node[] memory nodes = tree();
        uint32 batch = postRoot(tree().root().hash, 2, 1);
        royalty.closeNode(platform, batch, 1, 0, 1, PlainTree.preimage(nodes[0], nodes[1]), "");
        closedInFull(batch, 2);
    }

    function test_closeNode_returns_an_inner_node_with_a_wrong_sum_beside_good_leaves() public {
        addMany(7);
        PlainTree.Node[] memory nodes = tree();
        PlainTree.Node[] memory level = nodes.above();
        // The root commits to a nano-token more for the parent of leaves 2 and 3 than they have.
        level[1].sum += 1;
        PlainTree.Node memory root = level.root();
        uint32 batch = postRoot(root.hash, 7, uint96(root.sum));
        bytes memory stuck = packed(2, 2);
        bytes memory proof = bytes.concat(PlainTree.pack(level[0]), PlainTree.pack(level.above()[1]));
        vm.expectRevert();
        royalty.settle(platform, batch, 2, stuck, proof);
        royalty.closeNode(
            platform,
            batch,
            1,
            1,
            uint96(level[1].sum),
            PlainTree.preimage(nodes[2], nodes[3]),
            level.prove(1, 1)
        );
        vm.assertEq(tallyOf(batch).settledLeaves, 2, "two leaves with it");
        royalty.settle(platform, batch, 0, packed(0, 2), level.prove(0, 1));
        royalty.settle(platform, batch, 4, packed(4, 3), level.prove(2, 2));
        closedInFull(batch, 7);
        vm.assertEq(funds(platform), 1000 * TOKEN - (1 + 2 + 5 + 6 + 7) * uint96(CENT), "the rest was paid");
    }

    function test_closeNode_returns_leaves_that_are_none() public {
        brokenLeaf(hex"02", TOKEN);
        brokenLeaf("", TOKEN);
        brokenLeaf(hex"00", TOKEN);
        // The amount that the leaf claims is not the one that its parent commits to.
        brokenLeaf(abi.encodePacked(uint8(0), uint96(TOKEN - 1), "leaf"), TOKEN);
        // A node where a leaf should be.
        PlainTree.Node memory some = PlainTree.leaf("some", TOKEN / 2);
        brokenLeaf(PlainTree.preimage(some, some), TOKEN);
    }

    function test_closeNode_returns_nodes_that_are_none() public {
        brokenRoot(abi.encodePacked(uint8(0), TOKEN, "a leaf for a node"));
        brokenRoot(hex"01");
        brokenRoot("");
        PlainTree.Node memory some = PlainTree.leaf("some", TOKEN / 2);
        bytes memory good = PlainTree.preimage(some, some);
        brokenRoot(bytes.concat(good, hex"00"));
        good[0] = hex"02";
        brokenRoot(good);
    }

    // --- What it refuses ---

    function test_closeNode_reverts_for_every_place_of_a_sound_tree() public {
        addMany(7);
        PlainTree.Node[] memory nodes = tree();
        uint32 batch = postAll();
        for (uint24 i; i < 7; ++i) {
            bytes memory leaf = abi.encodePacked(uint8(0), amounts[i], leaves[i]);
            sound(batch, 0, i, nodes[i], leaf, nodes.prove(i, 1));
        }
        PlainTree.Node[] memory below = nodes;
        uint8 level = 1;
        for (PlainTree.Node[] memory at = nodes.above(); ; at = at.above()) {
            for (uint24 i; i < below.length / 2; ++i) {
                bytes memory preimage = PlainTree.preimage(below[2 * i], below[2 * i + 1]);
                sound(batch, level, i, at[i], preimage, at.prove(i, 1));
            }
            if (at.length == 1) break;
            below = at;
            ++level;
        }
    }

    function test_closeNode_reverts_when_the_place_holds_no_node_of_its_own() public {
        addMany(5);
        uint32 batch = postAll();
        // The fifth leaf is carried up to be the root's right child.
        outside(batch, 1, 2);
        outside(batch, 2, 1);
        outside(batch, 0, 5);
        outside(batch, 1, 3);
        outside(batch, 3, 1);
        outside(batch, 4, 0);
        outside(batch, 255, 0);
        outside(batch, 3, type(uint24).max);
    }

    function test_closeNode_reverts_the_second_time() public {
        uint32 batch = brokenLeaf(hex"02", TOKEN);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NodeNotBroken.selector, 0, 0));
        royalty.closeNode(platform, batch, 0, 0, TOKEN, hex"02", "");
        batch = brokenRoot(hex"01");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NodeNotBroken.selector, 1, 0));
        royalty.closeNode(platform, batch, 1, 0, TOKEN, hex"01", "");
    }

    function test_closeNode_reverts_for_what_the_tally_does_not_commit_to() public {
        addMany(4);
        PlainTree.Node[] memory nodes = tree();
        uint32 batch = postAll();
        bytes memory proof = nodes.prove(1, 1);
        vm.expectRevert();
        royalty.closeNode(platform, batch, 0, 1, amounts[1], "another preimage", proof);
        bytes memory leaf = abi.encodePacked(uint8(0), amounts[1], leaves[1]);
        // A sum that its parent does not commit to would make any leaf look broken.
        vm.expectRevert();
        royalty.closeNode(platform, batch, 0, 1, amounts[1] + 1, leaf, proof);
        vm.expectRevert();
        royalty.closeNode(platform, batch, 0, 0, amounts[1], leaf, proof);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.TallyUnknown.selector, stranger, batch));
        royalty.closeNode(stranger, batch, 0, 1, amounts[1], leaf, proof);
    }

    function test_closeNode_finds_nothing_broken_in_a_settled_leaf() public {
        addMany(2);
        uint32 batch = postAll();
        settle(batch, 0, 2);
        bytes memory leaf = abi.encodePacked(uint8(0), amounts[0], leaves[0]);
        sound(batch, 0, 0, tree()[0], leaf, tree().prove(0, 1));
    }

    function testFuzz_closeNode_never_closes_what_settle_can(
        uint256 seed,
        bytes memory leaf,
        uint96 amount
    ) public {
        uint256 size = bound(seed, 1, 40);
        amount %= TOKEN;
        for (uint256 i; i < size; ++i) add(bytes.concat(leaf, bytes32(i)), amount);
        uint32 batch = postAll();
        uint24 index = uint24(bound(seed >> 64, 0, size - 1));
        PlainTree.Node[] memory nodes = tree();
        bytes memory preimage = abi.encodePacked(uint8(0), amount, leaves[index]);
        sound(batch, 0, index, nodes[index], preimage, nodes.prove(index, 1));
        settle(batch, index, 1);
    }

    // --- Helpers ---

    function brokenLeaf(bytes memory preimage, uint96 sum) private returns (uint32 batch) {
        clear();
        addViews(catalogue, 3);
        PlainTree.Node memory bad = PlainTree.Node(keccak256(preimage), sum);
        PlainTree.Node memory root = PlainTree.join(bad, tree()[0]);
        uint32 alone = postRoot(bad.hash, 1, sum);
        royalty.closeNode(platform, alone, 0, 0, sum, preimage, "");
        closedInFull(alone, 1);
        vm.assertTrue(royalty.isSettled(platform, alone, 0), "closed");
        batch = postRoot(root.hash, 2, uint96(root.sum));
        uint96 before = funds(platform);
        royalty.closeNode(platform, batch, 0, 0, sum, preimage, PlainTree.pack(tree()[0]));
        vm.assertEq(funds(platform), before + sum, "back");
        royalty.settle(platform, batch, 1, packed(0, 1), PlainTree.pack(bad));
        closedInFull(batch, 2);
        return alone;
    }

    function brokenRoot(bytes memory preimage) private returns (uint32 batch) {
        batch = postRoot(keccak256(preimage), 2, TOKEN);
        royalty.closeNode(platform, batch, 1, 0, TOKEN, preimage, "");
        closedInFull(batch, 2);
    }

    function closedInFull(uint32 batch, uint24 count) private view {
        vm.assertEq(unsettled(batch), 0, "nothing is left");
        vm.assertEq(tallyOf(batch).settledLeaves, count, "all leaves");
    }

    function sound(
        uint32 batch,
        uint8 level,
        uint24 index,
        PlainTree.Node memory node,
        bytes memory preimage,
        bytes memory proof
    ) private {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NodeNotBroken.selector, level, index));
        royalty.closeNode(platform, batch, level, index, uint96(node.sum), preimage, proof);
    }

    function outside(uint32 batch, uint8 level, uint24 index) private {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.PlaceUnknown.selector, level, index, 5));
        royalty.closeNode(platform, batch, level, index, 0, "", "");
    }
}
