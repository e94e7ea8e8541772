// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Deal, IRoyalty, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {AccountWord} from "contracts/libraries/AccountWords.sol";
import {Allocations} from "contracts/libraries/Allocations.sol";
import {Calldata} from "contracts/libraries/Calldata.sol";
import {DealWord, DealWords} from "contracts/libraries/DealWords.sol";
import {NanoTokens} from "contracts/libraries/NanoTokens.sol";
import {Shares} from "contracts/libraries/Shares.sol";
import {UsageGroups} from "contracts/libraries/UsageGroups.sol";

import {Stage} from "./lib/Stage.sol";

/// @notice The pure arithmetic against plain ways of computing the same.
contract LibrariesTest is Stage {
    // --- Fast readers against plain ones ---

    function testFuzz_a_word_of_calldata_is_its_slice(bytes calldata data, uint256 offset) external pure {
        vm.assume(data.length >= 32);
        offset = bound(offset, 0, data.length - 32);
        vm.assertEq(Calldata.word(data, offset), Calldata.wordBySlice(data, offset), "word");
    }

    function testFuzz_units_are_summed_as_one_by_one(uint256 seed, uint16 count) external view {
        bytes memory pairs;
        uint256 expected;
        for (uint256 i; i < count % 40; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint24 units = seed % 5 == 0 ? type(uint24).max : uint24(seed >> 24);
            pairs = bytes.concat(pairs, abi.encodePacked(uint24(seed), units));
            expected += units;
        }
        // Dirt behind the pairs must not count.
        vm.assertEq(this.sumUnits(bytes.concat(pairs, hex"ffffffffffffffff"), pairs.length), expected, "sum");
        vm.assertEq(this.sumPlainly(pairs), expected, "the plain way");
    }

    function testFuzz_a_group_is_read_as_it_is_written(
        uint32 catalogue,
        uint16 version,
        uint8 kind,
        uint8 count,
        uint8 before
    ) external view {
        kind = uint8(bound(kind, 0, 2));
        bytes memory usage = group(catalogue, version, kind, count, new bytes(uint256(count) * 6));
        usage = bytes.concat(new bytes(before), usage, hex"ff");
        bytes memory expected = abi.encode(
            (uint256(catalogue) << 16) | version,
            kind,
            uint256(count) * 6,
            usage.length - 1
        );
        try this.groupAt(usage, before) returns (uint48 dealId, uint256 kind_, uint256 length, uint256 next) {
            vm.assertGt(count, 0, "an empty group is refused");
            vm.assertEq(abi.encode(dealId, kind_, length, next), expected, "deal, kind, pairs, next");
        } catch {
            vm.assertEq(count, 0, "nothing else is");
        }
    }

    function testFuzz_no_cut_of_usage_or_allocations_is_read(
        bytes calldata data,
        uint16 offset
    ) external view {
        offset = uint16(bound(offset, 0, data.length));
        try this.groupAt(data, offset) returns (uint48, uint256, uint256, uint256 next) {
            vm.assertLe(next, data.length, "inside");
        } catch {}
        try this.allocationAt(data, offset) returns (uint48, uint256, uint256 next) {
            vm.assertLe(next, data.length, "inside");
        } catch {}
    }

    // --- Words ---

    function testFuzz_a_deals_word_keeps_its_parts_apart(
        Tariff calldata tariff_,
        uint16 fromDay,
        uint16 untilDay,
        uint96 first,
        uint96 second
    ) external view {
        DealWord word = DealWords.make(tariff_, fromDay);
        same(word, Deal(0, tariff_.viewPrice, tariff_.downloadPrice, tariff_.excerptPrice, fromDay, 0, true));
        word = word.endOn(untilDay).plus(first);
        same(
            word,
            Deal(
                first,
                tariff_.viewPrice,
                tariff_.downloadPrice,
                tariff_.excerptPrice,
                fromDay,
                untilDay,
                true
            )
        );
        same(
            word.withAccrued(second),
            Deal(
                second,
                tariff_.viewPrice,
                tariff_.downloadPrice,
                tariff_.excerptPrice,
                fromDay,
                untilDay,
                true
            )
        );
        uint256 sum = uint256(first) + second;
        try this.plus(word, second) returns (DealWord more) {
            vm.assertEq(more.accrued(), sum, "sum");
            vm.assertTrue(more.withAccrued(first).unpack().accrued == first, "nothing else changed");
        } catch (bytes memory reason) {
            vm.assertGt(sum, type(uint96).max, "only what does not fit is refused");
            vm.assertEq(reason, abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, sum), "why");
        }
    }

    function testFuzz_a_deal_is_in_force_from_its_first_day_until_its_last(
        uint16 fromDay,
        uint16 untilDay,
        uint16 day
    ) external pure {
        // A deal never ends before it begins: an amendment starts on a later day than today, the one before it by today.
        vm.assume(untilDay == 0 || untilDay > fromDay);
        DealWord word = DealWord.wrap((uint256(fromDay) << 216) | (uint256(untilDay) << 232) | (1 << 248));
        bool expected = day >= fromDay && (untilDay == 0 || day < untilDay);
        vm.assertEq(word.inForceOn(day), expected, "in force");
    }

    function testFuzz_an_accounts_word_keeps_its_parts_apart(
        uint96 first,
        uint96 second,
        bool payee
    ) external pure {
        AccountWord word = AccountWord.wrap(0).withPayee(payee).plus(first).plus(second);
        vm.assertEq(word.nano(), uint256(first) + second, "sum");
        vm.assertEq(word.hasPayee(), payee, "payee");
        word = word.withNano(0).withPayee(!payee);
        vm.assertEq(word.nano(), 0, "emptied");
        vm.assertEq(word.hasPayee(), !payee, "turned");
        vm.assertTrue(AccountWord.unwrap(word) != 0, "the slot stays warm");
    }

    // --- Amounts ---

    function testFuzz_amounts_come_back_for_every_number_of_decimals(
        uint96 nano,
        uint8 decimals
    ) external pure {
        decimals = uint8(bound(decimals, 0, 27));
        (uint256 nanoPerUnit, uint256 unitsPerNano) = NanoTokens.scaleOf(decimals);
        vm.assertEq(
            10 ** uint256(decimals) * nanoPerUnit,
            1e9 * unitsPerNano,
            "one token is 1e9 nano-tokens"
        );
        (uint256 amount, uint256 rest) = NanoTokens.toUnits(nano, nanoPerUnit, unitsPerNano);
        vm.assertLt(rest, nanoPerUnit, "the rest is under one smallest unit");
        if (amount == 0) return;
        vm.assertEq(NanoTokens.fromUnits(amount, nanoPerUnit, unitsPerNano) + rest, nano, "nothing is lost");
    }

    function testFuzz_only_whole_nano_tokens_that_fit_come_in(uint256 amount, uint8 decimals) external view {
        decimals = uint8(bound(decimals, 0, 27));
        (uint256 nanoPerUnit, uint256 unitsPerNano) = NanoTokens.scaleOf(decimals);
        uint256 most = type(uint96).max / nanoPerUnit;
        bool fits = amount != 0 && amount % unitsPerNano == 0 && amount / unitsPerNano <= most;
        try this.fromUnits(amount, nanoPerUnit, unitsPerNano) returns (uint96 nano) {
            vm.assertTrue(fits, "refused where it does not fit");
            vm.assertEq(nano, (amount / unitsPerNano) * nanoPerUnit, "amount");
        } catch {
            vm.assertFalse(fits, "taken where it fits");
        }
    }

    function testFuzz_micro_tokens_are_rounded_up(uint96 nano) external pure {
        uint256 micro = NanoTokens.toMicro(nano);
        vm.assertLe(nano, micro * 1000, "enough");
        vm.assertLt(micro * 1000, uint256(nano) + 1000, "and not more");
    }

    function testFuzz_a_part_is_the_floor_of_the_share(uint96 accrued_, uint32 ppm) external pure {
        ppm = uint32(bound(ppm, 0, 1_000_000));
        vm.assertEq(Shares.partOf(accrued_, ppm), (uint256(accrued_) * ppm) / 1_000_000, "floor");
        vm.assertLe(Shares.partOf(accrued_, ppm), accrued_, "never more");
    }

    // --- Doors, so that memory becomes calldata ---

    function sumUnits(bytes calldata data, uint256 length) external pure returns (uint256) {
        return UsageGroups.sumUnits(data[:length]);
    }

    function sumPlainly(bytes calldata pairs) external pure returns (uint256 sum) {
        for (uint256 i; i < pairs.length / UsageGroups.PAIR; ++i) {
            (, uint24 units) = UsageGroups.pairAt(pairs, i);
            sum += units;
        }
    }

    function groupAt(
        bytes calldata usage,
        uint256 offset
    ) external pure returns (uint48, uint256, uint256, uint256) {
        (uint48 dealId, uint256 kind, bytes calldata pairs, uint256 next) = UsageGroups.groupAt(
            usage,
            offset
        );
        return (dealId, kind, pairs.length, next);
    }

    function allocationAt(
        bytes calldata data,
        uint256 offset
    ) external pure returns (uint48, uint256, uint256) {
        (uint48 dealId, bytes calldata split, uint256 next) = Allocations.groupAt(data, offset);
        return (dealId, split.length, next);
    }

    function plus(DealWord word, uint256 nano) external pure returns (DealWord) {
        return word.plus(nano);
    }

    function fromUnits(
        uint256 amount,
        uint256 nanoPerUnit,
        uint256 unitsPerNano
    ) external pure returns (uint96) {
        return NanoTokens.fromUnits(amount, nanoPerUnit, unitsPerNano);
    }

    function same(DealWord word, Deal memory deal) private pure {
        vm.assertEq(abi.encode(word.unpack()), abi.encode(deal), "deal");
    }
}
