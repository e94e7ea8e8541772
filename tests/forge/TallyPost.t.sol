// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty, Platform, Tally} from "contracts/interfaces/IRoyalty.sol";

import {TallyStage} from "./lib/TallyStage.sol";

contract PostTest is TallyStage {
    bytes32 internal constant ROOT = keccak256("root");

    // --- What it does ---

    function test_post_debits_the_total_in_full_and_keeps_the_root() public {
        vm.expectEmit(address(royalty));
        emit IRoyalty.TallyPosted(
            platform,
            1,
            platform,
            ROOT,
            1_000_000,
            12 * TOKEN,
            TODAY,
            "evidence",
            "data",
            "ipfs://tally"
        );
        postRoot(ROOT, 1_000_000, 12 * TOKEN);
        vm.assertEq(funds(platform), 988 * TOKEN, "funds");
        (Tally memory tally, bytes32 root) = royalty.tallyOf(platform, 1);
        vm.assertEq(root, ROOT, "root");
        vm.assertEq(tally.total, 12 * TOKEN, "total");
        vm.assertEq(tally.leaves, 1_000_000, "leaves");
        vm.assertEq(tally.day, TODAY, "day");
        vm.assertEq(tally.settled, 0, "nothing settled");
        vm.assertEq(tally.settledLeaves, 0, "no leaf settled");
        vm.assertFalse(royalty.isSettled(platform, 1, 0), "the first is open");
    }

    function test_post_shares_its_numbers_with_reports() public {
        report(TODAY, CENT, views(catalogue, 1));
        vm.assertEq(postRoot(ROOT, 1, 1), 2, "behind a report");
        report(TODAY, CENT, views(catalogue, 1));
        vm.assertEq(royalty.platformOf(platform).batches, 3, "and before one");
    }

    function test_post_takes_a_day_of_the_past_as_well_as_a_total_of_nothing() public {
        vm.prank(platform);
        royalty.post(platform, 1, 0, ROOT, 1, 0, 0, 0, "");
        vm.assertEq(royalty.platformOf(platform).batches, 1, "landed");
        vm.assertEq(funds(platform), 1000 * TOKEN, "for nothing");
    }

    function test_post_counts_against_the_reporters_limit_alone() public {
        vm.startPrank(platform);
        royalty.setReporter(reporter, true);
        royalty.setLimit(1_000_000);
        vm.stopPrank();
        vm.prank(reporter);
        royalty.post(platform, 1, TODAY, ROOT, 1, TOKEN - 999, 0, 0, "");
        Platform memory state = royalty.platformOf(platform);
        vm.assertEq(state.spent, 1_000_000, "rounded up");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, platform, 1, 0));
        vm.prank(reporter);
        royalty.post(platform, 2, TODAY, ROOT, 1, 1, 0, 0, "");
        vm.prank(platform);
        royalty.post(platform, 2, TODAY, ROOT, 1, 500 * TOKEN, 0, 0, "");
        vm.assertEq(royalty.platformOf(platform).spent, 1_000_000, "the platform is not limited");
    }

    // --- What it refuses ---

    function test_post_reverts_for_everybody_but_the_platform_and_its_reporters() public {
        refuse(
            stranger,
            1,
            TODAY,
            1,
            1,
            abi.encodeWithSelector(IRoyalty.NotReporter.selector, platform, stranger)
        );
        refuse(
            producer,
            1,
            TODAY,
            1,
            1,
            abi.encodeWithSelector(IRoyalty.NotReporter.selector, platform, producer)
        );
        vm.prank(platform);
        royalty.setReporter(reporter, true);
        vm.prank(platform);
        royalty.setReporter(reporter, false);
        refuse(
            reporter,
            1,
            TODAY,
            1,
            1,
            abi.encodeWithSelector(IRoyalty.NotReporter.selector, platform, reporter)
        );
    }

    function test_post_reverts_when_the_batch_is_not_the_next() public {
        refuse(platform, 0, TODAY, 1, 1, abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 1, 0));
        refuse(platform, 2, TODAY, 1, 1, abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 1, 2));
        postRoot(ROOT, 1, 1);
        refuse(platform, 1, TODAY, 1, 1, abi.encodeWithSelector(IRoyalty.BatchNotNext.selector, 2, 1));
    }

    function test_post_reverts_when_the_day_lies_ahead() public {
        bytes memory reason = abi.encodeWithSelector(IRoyalty.DayInFuture.selector, TODAY + 1, TODAY);
        refuse(platform, 1, TODAY + 1, 1, 1, reason);
    }

    function test_post_reverts_when_there_is_no_leaf() public {
        refuse(platform, 1, TODAY, 0, 1, abi.encodeWithSelector(IRoyalty.TallyEmpty.selector));
    }

    function test_post_reverts_when_the_funds_do_not_suffice_whoever_else_has_some() public {
        fund(stranger, 500 * USD);
        uint96 total = 1000 * TOKEN + 1;
        bytes memory reason = abi.encodeWithSelector(
            IRoyalty.FundsInsufficient.selector,
            platform,
            total,
            1000 * TOKEN
        );
        refuse(platform, 1, TODAY, 1, total, reason);
        vm.assertEq(funds(stranger), 500 * TOKEN, "untouched");
    }

    function refuse(
        address sender,
        uint32 batch,
        uint16 day_,
        uint24 count,
        uint96 total,
        bytes memory reason
    ) private {
        vm.expectRevert(reason);
        vm.prank(sender);
        royalty.post(platform, batch, day_, ROOT, count, total, 0, 0, "");
    }
}
