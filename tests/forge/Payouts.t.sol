// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {HostileToken} from "contracts/test/HostileToken.sol";

import {ILedger} from "./lib/ILedger.sol";
import {Stage} from "./lib/Stage.sol";
import {Vm} from "./lib/Vm.sol";

contract AllocateTest is Stage {
    uint32 internal catalogue;

    function setUp() public override {
        super.setUp();
        catalogue = openCatalogue();
    }

    function test_allocate_divides_what_a_deal_has_accrued() public {
        earn(catalogue, 10);
        vm.expectEmit(address(royalty));
        emit IRoyalty.Allocated(catalogue, 1, 10 * CENT, 0);
        vm.prank(stranger);
        royalty.allocate(allocation(catalogue, 1, duo()));
        vm.assertEq(royalty.balanceOfHolder(director), 6 * CENT, "60 %");
        vm.assertEq(royalty.balanceOfHolder(composer), 4 * CENT, "40 %");
        vm.assertEq(accrued(catalogue, 1), 0, "nothing left");
    }

    function test_allocate_adds_to_one_balance_over_many_deals() public {
        uint32 other = openCatalogue(abi.encodePacked(director, uint32(1_000_000)));
        earn(catalogue, 10);
        earn(other, 5);
        royalty.allocate(
            bytes.concat(
                allocation(catalogue, 1, duo()),
                allocation(other, 1, abi.encodePacked(director, uint32(1_000_000)))
            )
        );
        vm.assertEq(royalty.balanceOfHolder(director), 11 * CENT, "of both");
    }

    function test_allocate_leaves_the_remainder_accrued() public {
        bytes memory thirds = crowd(3, 100);
        vm.prank(producer);
        uint32 odd = royalty.open(thirds, Tariff(1, 0, 0), TODAY, "");
        fund(platform, USD);
        report(TODAY, 100, views(odd, 100));
        vm.expectEmit(address(royalty));
        emit IRoyalty.Allocated(odd, 1, 100, 1);
        royalty.allocate(allocation(odd, 1, thirds));
        vm.assertEq(royalty.balanceOfHolder(address(100)), 33, "333,334 ppm of 100");
        vm.assertEq(accrued(odd, 1), 1, "carried");
        report(TODAY, 2, views(odd, 2));
        royalty.allocate(allocation(odd, 1, thirds));
        vm.assertEq(royalty.balanceOfHolder(address(100)), 34, "and paid later");
    }

    function test_allocate_does_nothing_where_there_is_nothing() public {
        vm.recordLogs();
        royalty.allocate("");
        royalty.allocate(allocation(catalogue, 1, duo()));
        vm.assertEq(vm.getRecordedLogs().length, 0, "no event");
        vm.prank(producer);
        uint32 cheap = royalty.open(duo(), Tariff(1, 0, 0), TODAY, "");
        fund(platform, USD);
        report(TODAY, 1, views(cheap, 1));
        vm.recordLogs();
        royalty.allocate(allocation(cheap, 1, duo()));
        vm.assertEq(vm.getRecordedLogs().length, 0, "one nano-token cannot be divided");
        vm.assertEq(accrued(cheap, 1), 1, "and is carried");
    }

    function test_allocate_twice_in_one_call_gives_nothing_twice() public {
        earn(catalogue, 10);
        bytes memory once = allocation(catalogue, 1, duo());
        royalty.allocate(bytes.concat(once, once));
        vm.assertEq(royalty.balanceOfHolder(director), 6 * CENT, "once");
    }

    function test_allocate_reverts_when_the_split_is_another() public {
        bytes memory wrong = pair(director, 1, composer, 999_999);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRoyalty.SplitMismatch.selector,
                catalogue,
                1,
                keccak256(duo()),
                keccak256(wrong)
            )
        );
        royalty.allocate(allocation(catalogue, 1, wrong));
    }

    function test_allocate_reverts_when_the_deal_is_unknown() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.DealUnknown.selector, catalogue, 2));
        royalty.allocate(allocation(catalogue, 2, duo()));
    }

    function test_allocate_reverts_when_groups_are_cut_or_empty() public {
        bytes memory whole = allocation(catalogue, 1, duo());
        for (uint256 length = 1; length < whole.length; ++length) {
            bytes memory cut = new bytes(length);
            for (uint256 i; i < length; ++i) cut[i] = whole[i];
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 0, length));
            royalty.allocate(cut);
            vm.expectRevert(
                abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, whole.length, whole.length + length)
            );
            royalty.allocate(bytes.concat(whole, cut));
        }
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.GroupMalformed.selector, 0, 8));
        royalty.allocate(allocation(catalogue, 1, ""));
    }

    /// @dev sum of parts + remainder == accrued, remainder < holders, each part is the floor of its share.
    function testFuzz_allocate_conserves_every_nano_token(uint256 seed, uint24 views_, uint40 price) public {
        (bytes memory split, address[] memory holders, uint32[] memory ppms) = someSplit(seed);
        vm.prank(producer);
        uint32 fuzzed = royalty.open(split, Tariff(price, 0, 0), TODAY, "");
        uint256 total = uint256(views_) * price;
        fund(platform, total / 1000 + 1);
        report(TODAY, uint96(total), views(fuzzed, views_));
        royalty.allocate(allocation(fuzzed, 1, split));
        uint256 sum = accrued(fuzzed, 1);
        vm.assertLt(sum, holders.length, "remainder < holders");
        for (uint256 i; i < holders.length; ++i) {
            uint256 part = royalty.balanceOfHolder(holders[i]);
            vm.assertEq(part, (total * ppms[i]) / 1_000_000, "floor of the share");
            sum += part;
        }
        vm.assertEq(sum, total, "sum + remainder == accrued");
    }

    function someSplit(
        uint256 seed
    ) private pure returns (bytes memory split, address[] memory holders, uint32[] memory ppms) {
        uint256 count = 1 + (seed % 20);
        holders = new address[](count);
        ppms = new uint32[](count);
        uint32 left = 1_000_000;
        for (uint256 i; i < count; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint32 room = left - uint32(count - 1 - i);
            ppms[i] = i == count - 1 ? left : uint32(1 + (seed % room));
            left -= ppms[i];
            holders[i] = address(uint160(1000 + i));
            split = bytes.concat(split, abi.encodePacked(holders[i], ppms[i]));
        }
    }
}

contract WithdrawTest is Stage {
    uint32 internal catalogue;

    function setUp() public override {
        super.setUp();
        catalogue = openCatalogue();
        earn(catalogue, 10);
        royalty.allocate(allocation(catalogue, 1, duo()));
    }

    function test_withdraw_sends_everything_to_the_holder_whoever_calls() public {
        vm.expectEmit(address(royalty));
        emit IRoyalty.Withdrawn(director, director, 60_000);
        vm.prank(stranger);
        uint256 amount = royalty.withdraw(director);
        vm.assertEq(amount, 60_000, "six cents");
        vm.assertEq(usd.balanceOf(director), 60_000, "arrived");
        vm.assertEq(usd.balanceOf(stranger), 0, "with nobody else");
        vm.assertEq(royalty.balanceOfHolder(director), 0, "debited");
    }

    function test_withdraw_rounds_down_and_keeps_the_rest() public {
        vm.prank(producer);
        uint32 cheap = royalty.open(
            abi.encodePacked(director, uint32(1_000_000)),
            Tariff(1, 0, 0),
            TODAY,
            ""
        );
        fund(platform, USD);
        report(TODAY, 1999, views(cheap, 1999));
        royalty.allocate(allocation(cheap, 1, abi.encodePacked(director, uint32(1_000_000))));
        vm.assertEq(royalty.withdraw(director), 60_001, "and one smallest unit");
        vm.assertEq(royalty.balanceOfHolder(director), 999, "the rest stays");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NothingPayable.selector, director));
        royalty.withdraw(director);
        report(TODAY, 1, views(cheap, 1));
        royalty.allocate(allocation(cheap, 1, abi.encodePacked(director, uint32(1_000_000))));
        vm.assertEq(royalty.withdraw(director), 1, "until it makes a whole");
    }

    function test_withdraw_reverts_when_nothing_is_payable() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.NothingPayable.selector, stranger));
        royalty.withdraw(stranger);
    }

    function test_withdraw_sends_to_the_payee_that_the_holder_has_named() public {
        vm.expectEmit(address(royalty));
        emit IRoyalty.PayeeSet(director, stranger);
        vm.prank(director);
        royalty.setPayee(stranger);
        vm.assertEq(royalty.payeeOf(director), stranger, "named");
        vm.assertEq(royalty.payeeOf(composer), composer, "not the others'");
        vm.assertEq(royalty.balanceOfHolder(director), 6 * CENT, "the balance is untouched");
        vm.expectEmit(address(royalty));
        emit IRoyalty.Withdrawn(director, stranger, 60_000);
        royalty.withdraw(director);
        vm.assertEq(usd.balanceOf(stranger), 60_000, "arrived");
        vm.assertEq(royalty.payeeOf(director), stranger, "stays named");
        vm.prank(director);
        royalty.setPayee(address(0));
        vm.assertEq(royalty.payeeOf(director), director, "cleared");
        earn(catalogue, 10);
        royalty.allocate(allocation(catalogue, 1, duo()));
        royalty.withdraw(director);
        vm.assertEq(usd.balanceOf(director), 60_000, "to the holder again");
    }

    function test_setPayee_reverts_when_money_would_be_stuck() public {
        address[2] memory traps = [address(royalty), address(usd)];
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.AddressRefused.selector, traps[i]));
            royalty.setPayee(traps[i]);
        }
    }

    function test_withdrawMany_pays_each_and_passes_over_who_has_nothing() public {
        royalty.withdrawMany(list(director, stranger, composer));
        vm.assertEq(usd.balanceOf(director), 60_000, "director");
        vm.assertEq(usd.balanceOf(composer), 40_000, "composer");
        vm.recordLogs();
        royalty.withdrawMany(list(director, director, composer));
        royalty.withdrawMany(new address[](0));
        vm.assertEq(vm.getRecordedLogs().length, 0, "nothing to do, nothing done");
    }

    function test_withdrawMany_pays_a_holder_named_twice_once() public {
        royalty.withdrawMany(list(director, director));
        vm.assertEq(usd.balanceOf(director), 60_000, "once");
    }

    function test_allocateAndPay_does_both() public {
        earn(catalogue, 10);
        royalty.allocateAndPay(allocation(catalogue, 1, duo()), list(director, composer));
        vm.assertEq(usd.balanceOf(director), 120_000, "of before and of now");
        vm.assertEq(usd.balanceOf(composer), 80_000, "composer");
        royalty.allocateAndPay("", new address[](0));
    }

    function test_push_reverts_for_everybody_but_the_ledger() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.OnlySelf.selector, director));
        vm.prank(director);
        royalty.push(director, 100_000);
    }

    function test_withdraw_works_for_every_number_of_decimals() public {
        for (uint8 decimals; decimals <= 27; ++decimals) {
            HostileToken token = new HostileToken(decimals);
            ILedger ledger = deploy(address(token));
            uint256 one = 10 ** uint256(decimals);
            token.mint(address(this), 5 * one);
            token.approve(address(ledger), 5 * one);
            uint32 own = ledger.open(duo(), tariff(), TODAY, "");
            ledger.deposit(address(this), 3 * one);
            vm.assertEq(ledger.platformOf(address(this)).funds, 3 * TOKEN, "three tokens");
            ledger.pay(own, 2 * one, 0, 0);
            ledger.report(address(this), 1, TODAY, 0, 3 * TOKEN, views(own, 300));
            ledger.allocateAndPay(allocation(own, 1, duo()), list(director, composer));
            uint256 left = ledger.balanceOfHolder(director) + ledger.balanceOfHolder(composer);
            uint256 sent = token.balanceOf(director) + token.balanceOf(composer);
            vm.assertEq(
                decimals == 0 ? sent * TOKEN + left : sent,
                decimals == 0 ? 5 * TOKEN : 5 * one,
                "all of it"
            );
            vm.assertEq(token.balanceOf(address(ledger)), 5 * one - sent, "to the last unit");
        }
    }
}

contract HostileTokenTest is Stage {
    HostileToken internal token;
    ILedger internal ledger;
    uint32 internal catalogue;

    function setUp() public override {
        super.setUp();
        token = new HostileToken(6);
        ledger = deploy(address(token));
        catalogue = ledger.open(duo(), tariff(), TODAY - 30, "");
        token.mint(address(this), 1000 * USD);
        token.approve(address(ledger), type(uint256).max);
    }

    // --- Coming in ---

    function test_deposit_and_pay_take_a_token_that_returns_nothing() public {
        habit(HostileToken.Habit.ReturnsNothing);
        ledger.deposit(platform, USD);
        ledger.pay(catalogue, USD, 0, 0);
        vm.assertEq(ledger.platformOf(platform).funds, TOKEN, "credited");
    }

    function test_deposit_and_pay_refuse_whatever_moves_another_amount() public {
        inexact(HostileToken.Habit.TakesFee, USD - 1);
        inexact(HostileToken.Habit.MovesLess, USD - 1);
        inexact(HostileToken.Habit.MovesMore, USD + 1);
        inexact(HostileToken.Habit.MovesNothing, 0);
    }

    function test_deposit_and_pay_refuse_whatever_returns_false_or_reverts() public {
        HostileToken.Habit[5] memory habits_ = [
            HostileToken.Habit.ReturnsFalse,
            HostileToken.Habit.MovesButReturnsFalse,
            HostileToken.Habit.Reverts,
            HostileToken.Habit.RevertsHugely,
            HostileToken.Habit.BurnsAllGas
        ];
        for (uint256 i; i < habits_.length; ++i) {
            habit(habits_[i]);
            vm.expectRevert();
            ledger.deposit{gas: 5_000_000}(platform, USD);
            vm.expectRevert();
            ledger.pay{gas: 5_000_000}(catalogue, USD, 0, 0);
        }
        vm.assertEq(ledger.platformOf(platform).funds, 0, "nothing came");
    }

    // --- Going out ---

    function test_withdraw_refuses_whatever_moves_another_amount() public {
        settle();
        uint256 before = token.balanceOf(address(ledger));
        bytes4 selector = IRoyalty.TransferNotExact.selector;
        habit(HostileToken.Habit.MovesLess);
        vm.expectRevert(abi.encodeWithSelector(selector, 6 * USD, 6 * USD - 1));
        ledger.withdraw(director);
        habit(HostileToken.Habit.MovesMore);
        vm.expectRevert(abi.encodeWithSelector(selector, 6 * USD, 6 * USD + 1));
        ledger.withdraw(director);
        habit(HostileToken.Habit.MovesNothing);
        vm.expectRevert(abi.encodeWithSelector(selector, 6 * USD, 0));
        ledger.withdraw(director);
        vm.expectRevert(abi.encodeWithSelector(selector, USD, 0));
        vm.prank(platform);
        ledger.withdrawFunds(USD, platform);
        vm.assertEq(token.balanceOf(address(ledger)), before, "nothing moved");
        vm.assertEq(ledger.balanceOfHolder(director), 6 * TOKEN, "kept");
    }

    function test_no_receiver_blocks_another() public {
        for (
            uint256 bad = uint256(HostileToken.Habit.MovesLess);
            bad <= uint256(HostileToken.Habit.BurnsAllGas);
            ++bad
        ) {
            if (
                bad == uint256(HostileToken.Habit.SpendsGas) ||
                bad == uint256(HostileToken.Habit.ReturnsHugely)
            ) continue;
            setUp();
            settle();
            token.setHabit(director, HostileToken.Habit(bad));
            vm.expectEmit(address(ledger));
            emit IRoyalty.PayoutSkipped(director, director, 6 * USD);
            ledger.withdrawMany(list(director, composer, director));
            vm.assertEq(token.balanceOf(composer), 4 * USD, "the other is paid");
            vm.assertEq(ledger.balanceOfHolder(director), 6 * TOKEN, "the balance stays");
            vm.assertEq(token.balanceOf(address(ledger)), 96 * USD, "to the unit");
            token.setHabit(director, HostileToken.Habit.Honest);
            ledger.withdrawMany(list(director));
            vm.assertEq(token.balanceOf(director), 6 * USD, "and is paid when it can be");
        }
    }

    function test_a_skipped_payout_costs_no_more_than_its_stipend() public {
        HostileToken.Habit[3] memory habits_ = [
            HostileToken.Habit.RevertsHugely,
            HostileToken.Habit.ReturnsHugely,
            HostileToken.Habit.BurnsAllGas
        ];
        for (uint256 i; i < habits_.length; ++i) {
            setUp();
            settle();
            token.setHabit(director, habits_[i]);
            uint256 before = gasleft();
            ledger.withdrawMany(list(director));
            vm.assertLt(before - gasleft(), 340_000, "bounded");
        }
    }

    function test_a_payee_that_is_blocked_is_named_in_the_event() public {
        settle();
        vm.prank(director);
        ledger.setPayee(stranger);
        token.setHabit(stranger, HostileToken.Habit.Reverts);
        vm.expectEmit(address(ledger));
        emit IRoyalty.PayoutSkipped(director, stranger, 6 * USD);
        ledger.withdrawMany(list(director));
    }

    function test_allocateAndPay_allocates_even_where_every_transfer_fails() public {
        ledger.pay(catalogue, 10 * USD, 0, 0);
        habit(HostileToken.Habit.Reverts);
        ledger.allocateAndPay(allocation(catalogue, 1, duo()), list(director, composer));
        vm.assertEq(ledger.balanceOfHolder(director), 6 * TOKEN, "kept");
        vm.assertEq(ledger.balanceOfHolder(composer), 4 * TOKEN, "kept");
    }

    /// @dev Whatever gas the caller sends, nobody's payout is skipped for lack of it.
    function testFuzz_little_gas_never_skips_a_payout(uint256 gasSent, uint256 spends) public {
        settle();
        token.setSpends(bound(spends, 1_000, 200_000));
        habit(HostileToken.Habit.SpendsGas);
        vm.recordLogs();
        try ledger.withdrawMany{gas: bound(gasSent, 30_000, 1_200_000)}(list(director, composer)) {
            vm.assertEq(token.balanceOf(director), 6 * USD, "paid");
            vm.assertEq(token.balanceOf(composer), 4 * USD, "paid");
        } catch {
            vm.assertEq(token.balanceOf(director), 0, "all or nothing");
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            vm.assertTrue(logs[i].topics[0] != IRoyalty.PayoutSkipped.selector, "nobody is skipped");
        }
    }

    function test_withdrawMany_reverts_when_too_little_gas_is_left_for_a_full_stipend() public {
        settle();
        (bool well, bytes memory reason) = address(ledger).call{gas: 300_000}(
            abi.encodeCall(ledger.withdrawMany, (list(director)))
        );
        vm.assertFalse(well, "refused");
        vm.assertEq(bytes32(bytes4(reason)), bytes32(IRoyalty.GasTooLow.selector), "why");
        (uint256 needed, uint256 available) = abi.decode(slice(reason), (uint256, uint256));
        vm.assertEq(needed, 307_761, "stipend, what a call keeps back, what preparing it costs");
        vm.assertLt(available, needed, "less than that");
    }

    // --- Reentrancy ---

    function test_a_token_that_calls_back_reaches_nothing_that_moves_money() public {
        bytes[] memory doors = guarded();
        for (uint256 i; i < doors.length; ++i) {
            setUp();
            settle();
            token.setCallback(address(ledger), doors[i]);
            token.setHabit(director, HostileToken.Habit.CallsBack);
            ledger.withdraw(director);
            vm.assertFalse(token.succeeded(), "refused");
            vm.assertEq(bytes32(bytes4(token.answer())), refusal(i, doors.length), "by the guard");
            vm.assertEq(token.balanceOf(address(ledger)), 94 * USD, "nothing else moved");
        }
    }

    function test_a_token_that_calls_back_from_a_push_reaches_nothing_either() public {
        bytes[] memory doors = guarded();
        for (uint256 i; i < doors.length; ++i) {
            setUp();
            settle();
            token.setCallback(address(ledger), doors[i]);
            token.setHabit(director, HostileToken.Habit.CallsBack);
            ledger.withdrawMany(list(director, composer));
            vm.assertFalse(token.succeeded(), "refused");
            vm.assertEq(token.balanceOf(address(ledger)), 90 * USD, "nothing else moved");
        }
    }

    function test_a_token_that_calls_back_from_a_deposit_reaches_nothing_either() public {
        bytes[] memory doors = guarded();
        for (uint256 i; i < doors.length; ++i) {
            setUp();
            settle();
            token.setCallback(address(ledger), doors[i]);
            habit(HostileToken.Habit.CallsBack);
            ledger.deposit(platform, USD);
            vm.assertFalse(token.succeeded(), "refused");
            ledger.pay(catalogue, USD, 0, 0);
            vm.assertFalse(token.succeeded(), "refused");
        }
    }

    function test_a_holder_that_changes_its_payee_while_it_is_paid_changes_only_the_next_payout() public {
        Turncoat turncoat = new Turncoat(ledger, stranger);
        bytes memory split = pair(address(turncoat), 600_000, composer, 400_000);
        uint32 own = ledger.open(split, tariff(), TODAY, "");
        ledger.pay(own, 10 * USD, 0, 0);
        ledger.allocate(allocation(own, 1, split));
        token.setCallback(address(turncoat), abi.encodeCall(turncoat.turn, ()));
        token.setHabit(address(turncoat), HostileToken.Habit.CallsBack);
        ledger.withdraw(address(turncoat));
        vm.assertTrue(token.succeeded(), "named");
        vm.assertEq(token.balanceOf(address(turncoat)), 6 * USD, "this one went to the holder");
        vm.assertEq(ledger.payeeOf(address(turncoat)), stranger, "the next goes to the payee");
        vm.assertEq(ledger.balanceOfHolder(address(turncoat)), 0, "debited once");
    }

    function test_a_gift_in_the_middle_of_a_payout_only_skips_that_payout() public {
        settle();
        token.mint(address(token), USD);
        token.setCallback(address(token), abi.encodeCall(token.mint, (address(ledger), 1)));
        token.setHabit(director, HostileToken.Habit.CallsBack);
        ledger.withdrawMany(list(director, composer));
        vm.assertEq(ledger.balanceOfHolder(director), 6 * TOKEN, "kept");
        vm.assertEq(token.balanceOf(composer), 4 * USD, "the other is paid");
        vm.assertEq(token.balanceOf(address(ledger)), 96 * USD, "the gift is undone");
    }

    // --- Helpers ---

    /// @dev 90 USD of the platform's funds, 10 allocated to director and composer.
    function settle() private {
        ledger.deposit(platform, 90 * USD);
        ledger.pay(catalogue, 10 * USD, 0, 0);
        ledger.allocate(allocation(catalogue, 1, duo()));
    }

    function habit(HostileToken.Habit all) private {
        token.setHabit(address(0), all);
    }

    function inexact(HostileToken.Habit all, uint256 moved) private {
        habit(all);
        bytes memory reason = abi.encodeWithSelector(IRoyalty.TransferNotExact.selector, USD, moved);
        vm.expectRevert(reason);
        ledger.deposit(platform, USD);
        vm.expectRevert(reason);
        ledger.pay(catalogue, USD, 0, 0);
    }

    /// @dev Every function that moves tokens or credits; the last is kept by its own check.
    function guarded() private view returns (bytes[] memory doors) {
        doors = new bytes[](9);
        doors[0] = abi.encodeCall(ledger.withdraw, (composer));
        doors[1] = abi.encodeCall(ledger.withdrawMany, (list(composer)));
        doors[2] = abi.encodeCall(ledger.allocate, (allocation(catalogue, 1, duo())));
        doors[3] = abi.encodeCall(ledger.allocateAndPay, ("", list(composer)));
        doors[4] = abi.encodeCall(ledger.deposit, (platform, 1));
        doors[5] = abi.encodeCall(ledger.withdrawFunds, (1, stranger));
        doors[6] = abi.encodeCall(ledger.pay, (catalogue, 1, 0, 0));
        doors[7] = abi.encodeCall(ledger.report, (address(token), 1, TODAY, 0, 0, views(catalogue, 0)));
        doors[8] = abi.encodeCall(ledger.push, (composer, 0));
    }

    function refusal(uint256 door, uint256 doors) private pure returns (bytes32) {
        if (door == doors - 1) return bytes32(IRoyalty.OnlySelf.selector);
        return bytes32(bytes4(keccak256("ReentrancyGuardReentrantCall()")));
    }

    function slice(bytes memory reason) private pure returns (bytes memory rest) {
        rest = new bytes(reason.length - 4);
        for (uint256 i; i < rest.length; ++i) rest[i] = reason[i + 4];
    }
}

/// @notice A holder that names another payee whenever it is told to.
contract Turncoat {
    ILedger private immutable _ledger;
    address private immutable _payee;

    constructor(ILedger ledger, address payee) {
        (_ledger, _payee) = (ledger, payee);
    }

    function turn() external {
        _ledger.setPayee(_payee);
    }
}
