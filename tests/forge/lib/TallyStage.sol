// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Tally} from "contracts/interfaces/IRoyalty.sol";

import {PlainTree} from "./PlainTree.sol";
import {Stage} from "./Stage.sol";

/// @notice The stage with a tally in the making: leaves one by one, then the tree over them.
abstract contract TallyStage is Stage {
    using PlainTree for PlainTree.Node[];

    uint32 internal catalogue;

    bytes[] internal leaves;
    uint96[] internal amounts;

    function setUp() public virtual override {
        super.setUp();
        catalogue = openCatalogue();
        fund(platform, 1000 * USD);
    }

    // --- Making ---

    function add(bytes memory leaf, uint96 amount) internal {
        leaves.push(leaf);
        amounts.push(amount);
    }

    /// @dev A leaf of so many views today at one cent each.
    function addViews(uint32 id, uint24 count) internal {
        add(leafOf(id, 1, day(TODAY, 0, 0, count)), uint96(count) * CENT);
    }

    /// @dev Catalogues of their own for so many leaves, the number of views being that of the leaf, from 1.
    function addMany(uint256 count) internal {
        for (uint24 i = 1; i <= count; ++i) addViews(openCatalogue(), i);
    }

    function clear() internal {
        delete leaves;
        delete amounts;
    }

    function leafOf(uint32 id, uint16 version, bytes memory groups) internal pure returns (bytes memory) {
        return abi.encodePacked(id, version, groups);
    }

    /// @dev A group of one pair.
    function day(uint16 day_, uint8 kind, uint24 index, uint24 units) internal pure returns (bytes memory) {
        return abi.encodePacked(day_, kind, uint16(1), index, units);
    }

    function tree() internal view returns (PlainTree.Node[] memory nodes) {
        nodes = new PlainTree.Node[](leaves.length);
        for (uint256 i; i < nodes.length; ++i) nodes[i] = PlainTree.leaf(leaves[i], amounts[i]);
    }

    /// @dev Leaves as `settle` takes them.
    function packed(uint256 first, uint256 count) internal view returns (bytes memory list) {
        for (uint256 i = first; i < first + count; ++i) {
            list = bytes.concat(list, abi.encodePacked(uint24(leaves[i].length), amounts[i], leaves[i]));
        }
    }

    // --- Doing ---

    /// @dev Posts what is in the making; returns its batch.
    function postAll() internal returns (uint32) {
        PlainTree.Node memory root = tree().root();
        return postRoot(root.hash, uint24(leaves.length), uint96(root.sum));
    }

    function postRoot(bytes32 root, uint24 count, uint96 total) internal returns (uint32 batch) {
        batch = royalty.platformOf(platform).batches + 1;
        vm.prank(platform);
        royalty.post(platform, batch, TODAY, root, count, total, "evidence", "data", "ipfs://tally");
    }

    /// @dev By anybody.
    function settle(uint32 batch, uint256 first, uint256 count) internal {
        bytes memory list = packed(first, count);
        bytes memory proof = tree().prove(first, count);
        vm.prank(stranger);
        royalty.settle(platform, batch, uint24(first), list, proof);
    }

    // --- Asking ---

    function tallyOf(uint32 batch) internal view returns (Tally memory tally) {
        (tally, ) = royalty.tallyOf(platform, batch);
    }

    function unsettled(uint32 batch) internal view returns (uint96) {
        Tally memory tally = tallyOf(batch);
        return tally.total - tally.settled;
    }
}
