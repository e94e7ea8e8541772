// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty, Platform, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {HostileToken, OddDecimals} from "contracts/test/HostileToken.sol";

import {ILedger} from "./lib/ILedger.sol";
import {Stage} from "./lib/Stage.sol";

contract DeploymentTest is Stage {
    function test_the_ledger_reads_the_decimals_of_its_token_once() public {
        uint8[6] memory some = [0, 6, 9, 10, 18, 27];
        for (uint256 i; i < some.length; ++i) {
            HostileToken token = new HostileToken(some[i]);
            address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
            vm.expectEmit(next);
            emit IRoyalty.Deployed(address(token), some[i]);
            ILedger ledger = create(address(token));
            vm.assertEq(ledger.tokenDecimals(), some[i], "decimals");
            vm.assertEq(ledger.token(), address(token), "token");
        }
    }

    function test_the_ledger_refuses_a_token_whose_decimals_are_above_27() public {
        HostileToken token = new HostileToken(28);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.DecimalsUnsupported.selector, 28));
        create(address(token));
    }

    function test_the_ledger_refuses_a_token_whose_decimals_cannot_be_read() public {
        bytes memory reason = abi.encodeWithSelector(
            IRoyalty.DecimalsUnsupported.selector,
            type(uint256).max
        );
        address[3] memory odd = [
            address(new OddDecimals("")),
            address(new OddDecimals(abi.encode(256))),
            address(0xdead)
        ];
        for (uint256 i; i < odd.length; ++i) {
            vm.expectRevert(reason);
            create(odd[i]);
        }
    }

    function test_the_deployed_code_fits_a_block_explorer_and_the_chain() public view {
        vm.assertLt(address(royalty).code.length, 24_576, "EIP-170");
    }

    /// @dev With the opcode itself, since a cheatcode's failure cannot be expected.
    function create(address token) private returns (ILedger ledger) {
        bytes memory code = bytes.concat(vm.getCode("Royalty.sol:Royalty"), abi.encode(token));
        assembly ("memory-safe") {
            ledger := create(0, add(code, 0x20), mload(code))
        }
    }
}

contract PlatformsTest is Stage {
    // --- deposit ---

    function test_deposit_raises_the_funds_of_the_platform_named() public {
        usd.mint(stranger, 3 * USD);
        vm.startPrank(stranger);
        usd.approve(address(royalty), 3 * USD);
        vm.expectEmit(address(royalty));
        emit IRoyalty.Deposited(platform, stranger, 2 * TOKEN);
        royalty.deposit(platform, 2 * USD);
        vm.assertEq(funds(platform), 2 * TOKEN, "in nano-tokens");
        vm.assertEq(funds(stranger), 0, "not the payer's");
        royalty.deposit(platform, 1);
        vm.assertEq(funds(platform), 2 * TOKEN + 1000, "one smallest unit is 1,000 nano-tokens");
    }

    function test_deposit_reverts_when_nothing_is_given() public {
        vm.expectRevert(IRoyalty.ZeroAmount.selector);
        royalty.deposit(platform, 0);
    }

    function test_deposit_reverts_when_the_platform_cannot_use_it() public {
        address[3] memory traps = [address(0), address(royalty), address(usd)];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.AddressRefused.selector, traps[i]));
            royalty.deposit(traps[i], 1);
        }
    }

    function test_deposit_reverts_when_the_ledger_cannot_keep_as_much() public {
        uint256 most = uint256(type(uint96).max) / 1000;
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, (most + 1) * 1000));
        royalty.deposit(platform, most + 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, type(uint256).max));
        royalty.deposit(platform, type(uint256).max);
        fund(platform, most);
        usd.mint(stranger, 1);
        vm.startPrank(stranger);
        usd.approve(address(royalty), 1);
        uint256 over = most * 1000 + 1000;
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountTooLarge.selector, over));
        royalty.deposit(platform, 1);
    }

    function test_deposit_reverts_when_the_amount_is_not_a_whole_number_of_nano_tokens() public {
        HostileToken token = new HostileToken(18);
        ILedger ledger = deploy(address(token));
        token.mint(address(this), 1e18);
        token.approve(address(ledger), 1e18);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.AmountNotWholeNano.selector, 1e9 + 1, 1e9));
        ledger.deposit(platform, 1e9 + 1);
        ledger.deposit(platform, 1e9);
        vm.assertEq(ledger.platformOf(platform).funds, 1, "one nano-token");
    }

    // --- withdrawFunds ---

    function test_withdrawFunds_sends_the_platforms_own_money() public {
        fund(platform, 5 * USD);
        vm.expectEmit(address(royalty));
        emit IRoyalty.FundsWithdrawn(platform, stranger, 2 * TOKEN);
        vm.prank(platform);
        royalty.withdrawFunds(2 * USD, stranger);
        vm.assertEq(usd.balanceOf(stranger), 2 * USD, "arrived");
        vm.assertEq(funds(platform), 3 * TOKEN, "debited");
        vm.prank(platform);
        royalty.withdrawFunds(3 * USD, platform);
        vm.assertEq(funds(platform), 0, "to the last");
    }

    function test_withdrawFunds_reverts_for_everybody_elses_money() public {
        fund(platform, 5 * USD);
        vm.prank(platform);
        royalty.setReporter(reporter, true);
        bytes4 selector = IRoyalty.FundsInsufficient.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, reporter, TOKEN, 0));
        vm.prank(reporter);
        royalty.withdrawFunds(USD, reporter);
    }

    function test_withdrawFunds_reverts_when_there_is_less() public {
        fund(platform, USD);
        vm.expectRevert(
            abi.encodeWithSelector(IRoyalty.FundsInsufficient.selector, platform, TOKEN + 1000, TOKEN)
        );
        vm.prank(platform);
        royalty.withdrawFunds(USD + 1, platform);
    }

    function test_withdrawFunds_reverts_when_nothing_or_nowhere_is_given() public {
        fund(platform, USD);
        vm.startPrank(platform);
        vm.expectRevert(IRoyalty.ZeroAmount.selector);
        royalty.withdrawFunds(0, platform);
        address[3] memory traps = [address(0), address(royalty), address(usd)];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.AddressRefused.selector, traps[i]));
            royalty.withdrawFunds(1, traps[i]);
        }
    }

    // --- reporters and limits ---

    function test_a_platform_sets_its_own_reporters_and_limit() public {
        vm.startPrank(platform);
        vm.expectEmit(address(royalty));
        emit IRoyalty.ReporterSet(platform, reporter, true);
        royalty.setReporter(reporter, true);
        vm.assertTrue(royalty.isReporter(platform, reporter), "its reporter");
        vm.assertFalse(royalty.isReporter(reporter, platform), "not the other way round");
        vm.assertFalse(royalty.isReporter(stranger, reporter), "nobody else's");
        vm.expectEmit(address(royalty));
        emit IRoyalty.LimitSet(platform, 5);
        royalty.setLimit(5);
        vm.assertEq(royalty.platformOf(platform).limit, 5, "limit");
        vm.expectEmit(address(royalty));
        emit IRoyalty.ReporterSet(platform, reporter, false);
        royalty.setReporter(reporter, false);
        vm.assertFalse(royalty.isReporter(platform, reporter), "no longer");
    }

    function test_a_reporter_reports_nothing_that_costs_until_a_limit_is_set() public {
        uint32 catalogue = allowReporter(0);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, platform, 10_000, 0));
        vm.prank(reporter);
        royalty.report(platform, 1, TODAY, 0, CENT, views(catalogue, 1));
    }

    function test_reporters_spend_up_to_the_limit_of_a_day_together() public {
        uint32 catalogue = allowReporter(20_000);
        vm.prank(platform);
        royalty.setReporter(stranger, true);
        reportAs(reporter, TODAY, CENT, views(catalogue, 1));
        reportAs(stranger, TODAY - 1, CENT, views(catalogue, 1));
        Platform memory state = royalty.platformOf(platform);
        vm.assertEq(state.spent, 20_000, "micro-tokens");
        vm.assertEq(state.spentDay, TODAY, "of the block's day, whatever the day of the usage");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, platform, 10_000, 0));
        vm.prank(reporter);
        royalty.report(platform, 3, TODAY, 0, CENT, views(catalogue, 1));
        vm.warp(NOON + 1 days);
        reportAs(reporter, TODAY, 2 * CENT, views(catalogue, 2));
        vm.assertEq(royalty.platformOf(platform).spent, 20_000, "a new day starts at nothing");
    }

    function test_a_limit_counts_micro_tokens_rounded_up() public {
        uint32 catalogue = allowReporter(1);
        bytes memory nano = group(catalogue, 1, 2, 1, abi.encodePacked(uint24(0), uint24(1)));
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, platform, 100, 1));
        vm.prank(reporter);
        royalty.report(platform, 1, TODAY, 0, CENT / 100, nano);
        vm.prank(producer);
        uint32 cheap = royalty.open(duo(), cheapTariff(), TODAY, "");
        reportAs(reporter, TODAY, 1, group(cheap, 1, 0, 1, abi.encodePacked(uint24(0), uint24(1))));
        vm.assertEq(royalty.platformOf(platform).spent, 1, "one nano-token counts as a micro-token");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, platform, 1, 0));
        vm.prank(reporter);
        royalty.report(
            platform,
            2,
            TODAY,
            0,
            1,
            group(cheap, 1, 0, 1, abi.encodePacked(uint24(0), uint24(1)))
        );
    }

    function test_a_limit_below_what_is_spent_leaves_nothing() public {
        uint32 catalogue = allowReporter(20_000);
        reportAs(reporter, TODAY, 2 * CENT, views(catalogue, 2));
        vm.prank(platform);
        royalty.setLimit(5);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.LimitExceeded.selector, platform, 10_000, 0));
        vm.prank(reporter);
        royalty.report(platform, 2, TODAY, 0, CENT, views(catalogue, 1));
    }

    function test_the_platform_itself_is_not_limited() public {
        uint32 catalogue = allowReporter(0);
        report(TODAY, 50 * CENT, views(catalogue, 50));
        vm.assertEq(royalty.platformOf(platform).spent, 0, "nor counted");
    }

    function test_a_reporters_key_loses_at_most_the_limit_of_a_day() public {
        uint32 catalogue = allowReporter(30_000);
        for (uint24 i = 1; i < 8; ++i) {
            vm.prank(reporter);
            try
                royalty.report(
                    platform,
                    royalty.platformOf(platform).batches + 1,
                    TODAY,
                    0,
                    i * CENT,
                    views(catalogue, i)
                )
            {} catch {}
        }
        vm.assertLe(100 * TOKEN - funds(platform), 3 * uint256(CENT), "three cents");
    }

    function allowReporter(uint56 limit) private returns (uint32 catalogue) {
        catalogue = openCatalogue();
        fund(platform, 100 * USD);
        vm.startPrank(platform);
        royalty.setReporter(reporter, true);
        royalty.setLimit(limit);
        vm.stopPrank();
    }

    function cheapTariff() private pure returns (Tariff memory) {
        return Tariff({viewPrice: 1, downloadPrice: 1, excerptPrice: 1});
    }
}
