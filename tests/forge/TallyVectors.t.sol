// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {LeafFault, Tariff} from "contracts/interfaces/IRoyalty.sol";

import {PlainTree} from "./lib/PlainTree.sol";
import {TallyStage} from "./lib/TallyStage.sol";

/// @notice tests/vectors/tally.json, which Python reads as well.
contract TallyVectorsTest is TallyStage {
    string internal json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("tests/vectors/tally.json");
    }

    function test_trees_of_the_vectors_settle() public {
        uint256[] memory sizes = vm.parseJsonUintArray(json, ".trees.sizes");
        uint256[] memory firsts = vm.parseJsonUintArray(json, ".trees.firsts");
        uint256[] memory counts = vm.parseJsonUintArray(json, ".trees.counts");
        uint256[] memory totals = vm.parseJsonUintArray(json, ".trees.totals");
        bytes[] memory lists = vm.parseJsonBytesArray(json, ".trees.leaves");
        bytes[] memory proofs = vm.parseJsonBytesArray(json, ".trees.proofs");
        bytes[] memory roots = vm.parseJsonBytesArray(json, ".trees.roots");
        vm.assertGt(sizes.length, 100, "there are some");
        for (uint256 i; i < sizes.length; ++i) {
            uint32 batch = postRoot(bytes32(roots[i]), uint24(sizes[i]), uint96(totals[i]));
            royalty.settle(platform, batch, uint24(firsts[i]), lists[i], proofs[i]);
            vm.assertEq(tallyOf(batch).settledLeaves, counts[i], "settled");
        }
    }

    function test_leaves_of_the_vectors_have_their_hashes() public {
        bytes[] memory packed_ = vm.parseJsonBytesArray(json, ".leaves.packed");
        bytes[] memory hashes = vm.parseJsonBytesArray(json, ".leaves.hashes");
        uint256[] memory amounts_ = vm.parseJsonUintArray(json, ".leaves.amounts");
        usd.mint(platform, type(uint96).max);
        for (uint256 i; i < packed_.length; ++i) {
            vm.assertEq(PlainTree.leaf(packed_[i], uint96(amounts_[i])).hash, bytes32(hashes[i]), "plain");
            if (amounts_[i] > 1000 * TOKEN) continue;
            uint32 batch = postRoot(bytes32(hashes[i]), 1, uint96(amounts_[i]));
            bytes memory list = abi.encodePacked(uint24(packed_[i].length), uint96(amounts_[i]), packed_[i]);
            royalty.settle(platform, batch, 0, list, "");
        }
    }

    function test_leaves_of_the_vectors_are_void_for_their_reasons() public {
        bytes[] memory packed_ = vm.parseJsonBytesArray(json, ".faults.packed");
        uint256[] memory amounts_ = vm.parseJsonUintArray(json, ".faults.amounts");
        uint256[] memory reasons = vm.parseJsonUintArray(json, ".faults.reasons");
        vm.warp(150 days);
        royalty = deploy(address(usd));
        vm.prank(producer);
        royalty.open(duo(), Tariff(10, 20, 30), 100, "");
        endDeal(200);
        fund(platform, uint256(type(uint96).max) / 1000);
        vm.warp(210 days);
        for (uint256 i; i < packed_.length; ++i) {
            uint32 batch = royalty.platformOf(platform).batches + 1;
            uint96 amount = uint96(amounts_[i]);
            vm.prank(platform);
            royalty.post(platform, batch, 210, PlainTree.leaf(packed_[i], amount).hash, 1, amount, 0, 0, "");
            vm.recordLogs();
            royalty.settle(
                platform,
                batch,
                0,
                abi.encodePacked(uint24(packed_[i].length), amount, packed_[i]),
                ""
            );
            bytes memory data = vm.getRecordedLogs()[0].data;
            if (reasons[i] == 0) {
                (, , uint96 paid) = abi.decode(data, (uint24, bytes, uint96));
                vm.assertEq(paid, amount, "paid");
            } else {
                (, , , LeafFault reason) = abi.decode(data, (uint24, bytes, uint96, LeafFault));
                vm.assertEq(uint256(reason), reasons[i], "reason");
            }
        }
    }

    /// @dev The first catalogue's first deal ends on a day, as an amendment would have it: until-day stands at bit 232.
    function endDeal(uint256 day_) private {
        for (uint256 position; position < 64; ++position) {
            bytes32 slot = keccak256(abi.encode((uint256(1) << 16) | 1, position));
            uint256 word = uint256(vm.load(address(royalty), slot));
            if (word >> 248 != 1) continue;
            vm.store(address(royalty), slot, bytes32(word | (day_ << 232)));
            return;
        }
        revert("no such deal");
    }
}
