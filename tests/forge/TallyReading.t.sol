// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Deal, IRoyalty, LeafFault, Tariff} from "contracts/interfaces/IRoyalty.sol";

import {TallyStage} from "./lib/TallyStage.sol";
import {Vm} from "./lib/Vm.sol";

/// @notice Leaves read by a plain twin: what the ledger does with each must be what the twin says, to the event's bytes.
contract TallyReadingTest is TallyStage {
    uint16 internal constant FROM = TODAY - 30;

    /// @dev The commonest shape, which the ledger sees at a glance, off by a little in any field.
    function testFuzz_settle_reads_leaves_of_one_pair_as_the_twin(
        uint8 kind,
        uint16 day_,
        uint16 count,
        uint24 units,
        uint8 which,
        uint8 tail
    ) public {
        kind = kind < 200 ? kind % 4 : kind;
        day_ = which & 1 == 0 ? uint16(bound(day_, FROM - 2, TODAY + 2)) : day_;
        count = which & 2 == 0 ? 1 : count % 4;
        bytes memory leaf = leafOf(
            which & 4 == 0 ? catalogue : catalogue + 1,
            which & 8 == 0 ? 1 : 2,
            abi.encodePacked(day_, kind, count, uint24(7), units, new bytes(which & 16 == 0 ? 0 : tail % 40))
        );
        check(leaf, uint96(uint256(units) * price(kind) + (which >> 7)));
    }

    /// @dev A deal that is not there at a price of nothing, where only its absence tells.
    function test_settle_voids_a_leaf_of_no_deal_that_costs_nothing() public {
        check(leafOf(catalogue + 1, 1, day(TODAY, 0, 0, 0)), 0);
        check(leafOf(catalogue, 1, day(TODAY, 0, 0, 0)), 0);
    }

    function testFuzz_settle_reads_leaves_of_any_groups_as_the_twin(
        uint256 seed,
        uint8 groups,
        uint8 cut
    ) public {
        bytes memory body;
        uint256 amount;
        for (uint256 i; i < groups % 5; ++i) {
            uint256 noise = uint256(keccak256(abi.encode(seed, i)));
            uint16 day_ = uint16(
                bound(noise, FROM - (noise >> 250 == 0 ? 1 : 0), TODAY + (noise >> 251 == 1 ? 1 : 0))
            );
            uint8 kind = uint8((noise >> 16) % (noise >> 249 == 0 ? 4 : 3));
            uint16 count = uint16((noise >> 32) % 14);
            if (noise >> 252 != 0 && count == 0) count = 1;
            body = abi.encodePacked(body, day_, kind, count);
            for (uint256 pair; pair < count; ++pair) {
                uint24 units = uint24(uint256(keccak256(abi.encode(noise, pair))) % 1000);
                body = abi.encodePacked(body, uint24(pair), units);
                amount += units * price(kind);
            }
        }
        bytes memory leaf = leafOf(catalogue, 1, body);
        if (cut > 230) {
            uint256 shorter = leaf.length > cut % 20 ? leaf.length - (cut % 20) : 0;
            assembly ("memory-safe") {
                mstore(leaf, shorter)
            }
        }
        check(leaf, uint96(amount));
    }

    // --- The twin ---

    function check(bytes memory leaf, uint96 amount) private {
        clear();
        fund(platform, uint256(amount) / 1000 + 1);
        addViews(catalogue, 1);
        add(leaf, amount);
        uint32 batch = postAll();
        uint96 before = funds(platform);
        uint96 had = accrued(catalogue, 1);
        LeafFault fault = faultOf(leaf, amount);
        vm.recordLogs();
        settle(batch, 1, 1);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        vm.assertEq(logs[0].topics[1], bytes32(uint256(uint160(platform))), "platform");
        vm.assertEq(logs[0].topics[2], bytes32(uint256(batch)), "batch");
        if (fault == LeafFault.None) {
            vm.assertEq(logs[0].topics[0], IRoyalty.LeafSettled.selector, "settled");
            vm.assertEq(logs[0].data, abi.encode(uint24(1), leaf, amount), "as solc encodes it");
            vm.assertEq(accrued(catalogue, 1), had + amount, "accrued");
            vm.assertEq(funds(platform), before, "not refunded");
        } else {
            vm.assertEq(logs[0].topics[0], IRoyalty.LeafVoid.selector, "void");
            vm.assertEq(logs[0].data, abi.encode(uint24(1), leaf, amount, fault), "as solc encodes it");
            vm.assertEq(accrued(catalogue, 1), had, "not accrued");
            vm.assertEq(funds(platform), before + amount, "refunded");
        }
    }

    function faultOf(bytes memory leaf, uint96 amount) private view returns (LeafFault) {
        if (leaf.length <= 6) return LeafFault.Malformed;
        (Deal memory deal, ) = royalty.dealOf(uint32(number(leaf, 0, 4)), uint16(number(leaf, 4, 2)));
        if (!deal.exists) return LeafFault.DealUnknown;
        uint256 cost;
        for (uint256 at = 6; at < leaf.length;) {
            if (at + 5 > leaf.length) return LeafFault.Malformed;
            uint256 count = number(leaf, at + 3, 2);
            if (count == 0 || at + 5 + 6 * count > leaf.length) return LeafFault.Malformed;
            if (number(leaf, at + 2, 1) > 2) return LeafFault.KindUnknown;
            uint256 day_ = number(leaf, at, 2);
            if (day_ > TODAY) return LeafFault.DayAfterTally;
            if (day_ < deal.fromDay || (deal.untilDay != 0 && day_ >= deal.untilDay)) {
                return LeafFault.DealNotInForce;
            }
            for (uint256 pair; pair < count; ++pair) {
                cost += number(leaf, at + 8 + 6 * pair, 3) * price(uint8(leaf[at + 2]));
            }
            at += 5 + 6 * count;
        }
        return cost == amount ? LeafFault.None : LeafFault.AmountMismatch;
    }

    function price(uint8 kind) private pure returns (uint256) {
        Tariff memory prices = tariff();
        return
            kind == 0
                ? prices.viewPrice
                : kind == 1
                    ? prices.downloadPrice
                    : kind == 2
                        ? prices.excerptPrice
                        : 1;
    }

    function number(bytes memory data, uint256 at, uint256 length) private pure returns (uint256 value) {
        for (uint256 i = at; i < at + length; ++i) value = (value << 8) | uint8(data[i]);
    }
}
