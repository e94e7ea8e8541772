// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Amendment, IRoyalty, Platform, Tariff} from "contracts/interfaces/IRoyalty.sol";

import {Stage} from "./lib/Stage.sol";

contract ReportTest is Stage {
    uint32 internal catalogue;

    function setUp() public override {
        super.setUp();
        catalogue = openCatalogue();
        fund(platform, 100 * USD);
    }

    // --- What it does ---

    function test_report_moves_the_total_from_the_platform_to_the_deals() public {
        uint32 other = openCatalogue();
        bytes memory usage = bytes.concat(
            group(
                catalogue,
                1,
                0,
                2,
                hex"000000000003"
                hex"000007000004"
            ),
            group(other, 1, 1, 1, hex"000001000002"),
            group(catalogue, 1, 2, 1, hex"000000000064")
        );
        uint96 total = 7 * uint96(CENT) + 100 * uint96(CENT) + CENT;
        vm.expectEmit(address(royalty));
        emit IRoyalty.UsageReported(platform, 1, TODAY, platform, keccak256("evidence"), total, usage);
        report(TODAY, total, usage);
        vm.assertEq(accrued(catalogue, 1), 8 * uint96(CENT), "views and excerpt");
        vm.assertEq(accrued(other, 1), 100 * uint96(CENT), "downloads");
        vm.assertEq(funds(platform), 100 * TOKEN - total, "funds");
        vm.assertEq(royalty.platformOf(platform).batches, 1, "batches");
    }

    function test_report_carries_prices_below_one_smallest_unit() public {
        vm.prank(producer);
        uint32 cheap = royalty.open(duo(), Tariff(1, 0, 0), TODAY, "");
        report(TODAY, 3, views(cheap, 3));
        vm.assertEq(accrued(cheap, 1), 3, "three nano-tokens");
        vm.assertEq(funds(platform), 100 * TOKEN - 3, "debited to the nano-token");
    }

    function test_report_takes_free_kinds_at_zero() public {
        vm.prank(producer);
        uint32 free = royalty.open(duo(), Tariff(0, 0, 0), TODAY, "");
        report(TODAY, 0, views(free, 9));
        vm.assertEq(royalty.platformOf(platform).batches, 1, "landed");
        vm.assertEq(funds(platform), 100 * TOKEN, "for nothing");
    }

    function test_report_takes_zero_units() public {
        report(TODAY, 0, views(catalogue, 0));
        vm.assertEq(royalty.platformOf(platform).batches, 1, "landed");
    }

    function test_report_leaves_what_the_platform_keeps_beside_its_funds() public {
        vm.startPrank(platform);
        royalty.setLimit(12_345);
        royalty.setReporter(reporter, true);
        vm.stopPrank();
        reportAs(reporter, TODAY, CENT, views(catalogue, 1));
        report(TODAY, CENT, views(catalogue, 1));
        Platform memory state = royalty.platformOf(platform);
        vm.assertEq(state.limit, 12_345, "limit");
        vm.assertEq(state.spent, 10_000, "spent");
        vm.assertEq(state.spentDay, TODAY, "day");
        vm.assertEq(state.batches, 2, "batches");
    }

    function test_report_takes_the_largest_group() public {
        uint256 pairs = 65_535;
        bytes memory usage = new bytes(9 + pairs * 6);
        bytes memory head = group(catalogue, 1, 0, uint16(pairs), "");
        for (uint256 i; i < usage.length; ++i) usage[i] = i < 9 ? head[i] : bytes1(0xff);
        uint256 total = pairs * type(uint24).max * CENT;
        fund(platform, total / 1000 + 1);
        report(TODAY, uint96(total), usage);
        vm.assertEq(accrued(catalogue, 1), total, "no lane runs into its neighbour");
    }

    // --- The batch check ---

    function test_report_lands_once_whatever_is_resent() public {
        report(TODAY, CENT, views(catalogue, 1));
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 2, 1));
        vm.prank(platform);
        royalty.report(platform, 1, TODAY, keccak256("evidence"), CENT, views(catalogue, 1));
        vm.assertEq(accrued(catalogue, 1), CENT, "paid once");
    }

    function test_report_reverts_when_a_number_is_left_out() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 1, 0));
        vm.prank(platform);
        royalty.report(platform, 0, TODAY, 0, CENT, views(catalogue, 1));
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 1, 2));
        vm.prank(platform);
        royalty.report(platform, 2, TODAY, 0, CENT, views(catalogue, 1));
    }

    function test_a_report_that_fails_takes_no_number() public {
        vm.expectRevert();
        vm.prank(platform);
        royalty.report(platform, 1, TODAY, 0, CENT + 1, views(catalogue, 1));
        report(TODAY, CENT, views(catalogue, 1));
        vm.assertEq(royalty.platformOf(platform).batches, 1, "the first");
    }

    // --- The day check ---

    function test_report_reverts_when_the_day_has_not_begun() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.DayInFuture.selector, TODAY + 1, TODAY));
        vm.prank(platform);
        royalty.report(platform, 1, TODAY + 1, 0, CENT, views(catalogue, 1));
        vm.warp(uint256(TODAY + 1) * 1 days - 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.DayInFuture.selector, TODAY + 1, TODAY));
        vm.prank(platform);
        royalty.report(platform, 1, TODAY + 1, 0, CENT, views(catalogue, 1));
        vm.warp(uint256(TODAY + 1) * 1 days);
        report(TODAY + 1, CENT, views(catalogue, 1));
    }

    function test_report_reverts_when_the_deal_is_not_in_force_on_the_day() public {
        bytes4 selector = IRoyalty.DealNotInForce.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, catalogue, 1, TODAY - 31, TODAY - 30, 0));
        vm.prank(platform);
        royalty.report(platform, 1, TODAY - 31, 0, CENT, views(catalogue, 1));
        report(TODAY - 30, CENT, views(catalogue, 1));

        vm.prank(producer);
        royalty.amend(Amendment(catalogue, TODAY + 1, tariff(), NOON), duo(), duo(), new bytes[](2), "");
        bytes memory second = group(catalogue, 2, 0, 1, hex"000000000001");
        vm.expectRevert(abi.encodeWithSelector(selector, catalogue, 2, TODAY, TODAY + 1, 0));
        vm.prank(platform);
        royalty.report(platform, 2, TODAY, 0, CENT, second);
        report(TODAY, CENT, views(catalogue, 1));

        vm.warp(NOON + 1 days);
        vm.expectRevert(abi.encodeWithSelector(selector, catalogue, 1, TODAY + 1, TODAY - 30, TODAY + 1));
        vm.prank(platform);
        royalty.report(platform, 3, TODAY + 1, 0, CENT, views(catalogue, 1));
        report(TODAY + 1, CENT, second);
    }

    // --- What it refuses ---

    function test_report_reverts_for_everybody_but_the_platform_and_its_reporters() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NotReporter.selector, platform, stranger));
        vm.prank(stranger);
        royalty.report(platform, 1, TODAY, 0, CENT, views(catalogue, 1));
        vm.prank(stranger);
        royalty.setReporter(stranger, true);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NotReporter.selector, platform, stranger));
        vm.prank(stranger);
        royalty.report(platform, 1, TODAY, 0, CENT, views(catalogue, 1));
    }

    function test_report_reverts_when_the_deal_is_unknown() public {
        refuse(CENT, views(77, 1), abi.encodeWithSelector(IRoyalty.DealUnknown.selector, 77, 1));
        refuse(
            CENT,
            group(catalogue, 2, 0, 1, hex"000000000001"),
            abi.encodeWithSelector(IRoyalty.DealUnknown.selector, catalogue, 2)
        );
        refuse(
            CENT,
            group(catalogue, 0, 0, 1, hex"000000000001"),
            abi.encodeWithSelector(IRoyalty.DealUnknown.selector, catalogue, 0)
        );
    }

    function test_report_reverts_when_the_kind_is_unknown() public {
        refuse(
            CENT,
            group(catalogue, 1, 3, 1, hex"000000000001"),
            abi.encodeWithSelector(IRoyalty.KindUnknown.selector, 3)
        );
        refuse(
            CENT,
            group(catalogue, 1, 255, 1, hex"000000000001"),
            abi.encodeWithSelector(IRoyalty.KindUnknown.selector, 255)
        );
    }

    function test_report_reverts_when_the_total_is_not_the_price() public {
        refuse(
            CENT - 1,
            views(catalogue, 1),
            abi.encodeWithSelector(IRoyalty.TotalMismatch.selector, CENT, CENT - 1)
        );
        refuse(
            CENT + 1,
            views(catalogue, 1),
            abi.encodeWithSelector(IRoyalty.TotalMismatch.selector, CENT, CENT + 1)
        );
    }

    function test_report_reverts_when_the_funds_do_not_suffice() public {
        uint96 total = 10_001 * uint96(CENT);
        refuse(
            total,
            views(catalogue, 10_001),
            abi.encodeWithSelector(IRoyalty.FundsInsufficient.selector, platform, total, 100 * TOKEN)
        );
    }

    function test_report_pays_from_nobody_elses_funds() public {
        fund(stranger, 500 * USD);
        test_report_reverts_when_the_funds_do_not_suffice();
        vm.assertEq(funds(stranger), 500 * TOKEN, "untouched");
    }

    function test_report_reverts_when_groups_are_cut_or_empty() public {
        bytes memory whole = views(catalogue, 1);
        for (uint256 length; length < whole.length; ++length) {
            bytes memory cut = new bytes(length);
            for (uint256 i; i < length; ++i) cut[i] = whole[i];
            refuse(CENT, cut, abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 0, length));
            if (length == 0) continue;
            refuse(
                CENT,
                bytes.concat(whole, cut),
                abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 15, 15 + length)
            );
        }
        refuse(
            0,
            group(catalogue, 1, 0, 0, ""),
            abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 0, 9)
        );
    }

    function test_report_reads_nothing_behind_its_usage() public {
        // The calldata goes on behind the usage with what would be another pair, had the count been true.
        bytes memory usage = group(catalogue, 1, 0, 2, hex"000000000001");
        bytes memory call = abi.encodeCall(royalty.report, (platform, 1, TODAY, 0, 2 * CENT, usage));
        vm.prank(platform);
        (bool well, bytes memory reason) = address(royalty).call(bytes.concat(call, hex"000000000001"));
        vm.assertFalse(well, "refused");
        vm.assertEq(reason, abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 0, 15), "cut");
    }

    function refuse(uint96 total, bytes memory usage, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(platform);
        royalty.report(platform, 1, TODAY, 0, total, usage);
    }
}

contract DecodeUsageTest is Stage {
    function test_decodeUsage_lists_one_entry_a_pair() public view {
        bytes memory usage = bytes.concat(
            group(
                7,
                2,
                1,
                2,
                hex"000001000002"
                hex"ffffffffffff"
            ),
            group(type(uint32).max, type(uint16).max, 2, 1, hex"000000000000")
        );
        (
            uint32[] memory ids,
            uint16[] memory versions,
            uint8[] memory kinds,
            uint24[] memory indexes,
            uint24[] memory units
        ) = royalty.decodeUsage(usage);
        vm.assertEq(ids.length, 3, "three pairs");
        vm.assertEq(ids[0], 7, "catalogue");
        vm.assertEq(ids[2], type(uint32).max, "catalogue");
        vm.assertEq(versions[1], 2, "version");
        vm.assertEq(versions[2], type(uint16).max, "version");
        vm.assertEq(kinds[1], 1, "kind");
        vm.assertEq(kinds[2], 2, "kind");
        vm.assertEq(indexes[0], 1, "index");
        vm.assertEq(indexes[1], type(uint24).max, "index");
        vm.assertEq(units[0], 2, "units");
        vm.assertEq(units[1], type(uint24).max, "units");
        vm.assertEq(units[2], 0, "units");
    }

    function test_decodeUsage_reverts_where_report_would() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 0, 0));
        royalty.decodeUsage("");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 15, 16));
        royalty.decodeUsage(bytes.concat(views(1, 1), hex"00"));
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.KindUnknown.selector, 9));
        royalty.decodeUsage(group(1, 1, 9, 1, hex"000000000001"));
    }
}

contract PayTest is Stage {
    uint32 internal catalogue;

    function setUp() public override {
        super.setUp();
        catalogue = openCatalogue();
        usd.mint(stranger, 10 * USD);
        vm.prank(stranger);
        usd.approve(address(royalty), 10 * USD);
    }

    function test_pay_credits_the_deal_of_today() public {
        vm.expectEmit(address(royalty));
        emit IRoyalty.Paid(catalogue, 1, stranger, 3 * TOKEN, "advertising", "memo");
        vm.prank(stranger);
        royalty.pay(catalogue, 3 * USD, "advertising", "memo");
        vm.assertEq(accrued(catalogue, 1), 3 * TOKEN, "accrued");
        vm.assertEq(usd.balanceOf(address(royalty)), 3 * USD, "pulled");
    }

    function test_pay_leaves_a_pending_deal_alone() public {
        vm.prank(producer);
        royalty.amend(Amendment(catalogue, TODAY + 1, tariff(), NOON), duo(), duo(), new bytes[](2), "");
        vm.startPrank(stranger);
        royalty.pay(catalogue, USD, 0, 0);
        vm.assertEq(accrued(catalogue, 1), TOKEN, "the deal of today");
        vm.assertEq(accrued(catalogue, 2), 0, "not that of tomorrow");
        vm.warp(NOON + 1 days);
        royalty.pay(catalogue, USD, 0, 0);
        vm.assertEq(accrued(catalogue, 2), TOKEN, "tomorrow it is");
    }

    function test_pay_reverts_when_the_catalogue_is_unknown() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.CatalogueUnknown.selector, 77));
        royalty.pay(77, USD, 0, 0);
    }

    function test_pay_reverts_when_nothing_is_given() public {
        vm.expectRevert(IRoyalty.ZeroAmount.selector);
        royalty.pay(catalogue, 0, 0, 0);
    }

    function test_pay_reverts_when_the_deal_cannot_keep_as_much() public {
        uint256 most = uint256(type(uint96).max) / 1000;
        usd.mint(stranger, most);
        vm.startPrank(stranger);
        usd.approve(address(royalty), type(uint256).max);
        royalty.pay(catalogue, most, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, most * 1000 + 1000));
        royalty.pay(catalogue, 1, 0, 0);
        // Anybody makes room again.
        royalty.allocate(allocation(catalogue, 1, duo()));
        royalty.pay(catalogue, 1, 0, 0);
    }
}
