// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {Amendment, Deal, IRoyalty, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {BadWallet, GoodWallet} from "contracts/test/Wallets.sol";

import {IEdgeLedger, ILedger} from "./lib/ILedger.sol";
import {Stage} from "./lib/Stage.sol";

contract AmendTest is Stage {
    uint32 internal catalogue;

    function setUp() public override {
        super.setUp();
        catalogue = openCatalogue();
    }

    // --- What it does ---

    function test_amend_ends_the_deal_and_stores_the_next() public {
        Amendment memory amendment = dearer(TODAY + 10);
        vm.expectEmit(address(royalty));
        emit IRoyalty.DealAmended(catalogue, 2, producer, TODAY + 10, amendment.tariff, duo(), "ipfs://new");
        vm.prank(producer);
        uint16 version = royalty.amend(amendment, duo(), duo(), none(), "ipfs://new");

        vm.assertEq(version, 2, "version");
        (Deal memory old, ) = royalty.dealOf(catalogue, 1);
        (Deal memory fresh, bytes32 hash) = royalty.dealOf(catalogue, 2);
        vm.assertEq(old.untilDay, TODAY + 10, "the old ends");
        vm.assertEq(fresh.fromDay, TODAY + 10, "the new starts");
        vm.assertEq(fresh.untilDay, 0, "and is open");
        vm.assertEq(fresh.viewPrice, 2 * CENT, "price");
        vm.assertEq(hash, keccak256(duo()), "split");
        (, uint16 newest, ) = royalty.catalogueOf(catalogue);
        vm.assertEq(newest, 2, "newest");
        vm.assertEq(royalty.versionOn(catalogue, TODAY + 9), 1, "the day before");
        vm.assertEq(royalty.versionOn(catalogue, TODAY + 10), 2, "the day itself");
        vm.assertEq(royalty.versionOn(catalogue, TODAY - 31), 0, "before the first");
    }

    function test_amend_leaves_what_was_earned_with_the_deal_of_its_day() public {
        earn(catalogue, 10);
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
        vm.warp(NOON + 5 days);
        fund(platform, USD);
        report(TODAY, 5 * CENT, views(catalogue, 5));
        vm.assertEq(accrued(catalogue, 1), 15 * CENT, "a late report is paid at the old price");
        vm.assertEq(accrued(catalogue, 2), 0, "the new deal earns nothing of it");
        report(TODAY + 1, 10 * CENT, group(catalogue, 2, 0, 1, abi.encodePacked(uint24(0), uint24(5))));
        vm.assertEq(accrued(catalogue, 2), 10 * CENT, "from its day on it does");
    }

    function test_amend_takes_tomorrow_and_366_days_ahead() public {
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
        vm.warp(NOON + 1 days);
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 367), duo(), duo(), none(), "");
        vm.assertEq(royalty.versionOn(catalogue, TODAY + 366), 2, "the day before the furthest");
    }

    function test_amend_keeps_the_number_of_works() public {
        bytes32[] memory prints = new bytes32[](3);
        vm.startPrank(producer);
        royalty.register(catalogue, prints, 0, "");
        royalty.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
        (, , uint24 works) = royalty.catalogueOf(catalogue);
        vm.assertEq(works, 3, "works");
    }

    // --- Who consents ---

    function test_amend_needs_nobody_where_nobody_loses() public {
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
    }

    function test_amend_needs_the_holder_whose_share_falls() public {
        bytes memory split = pair(director, 500_000, composer, 500_000);
        submitFails(dearer(TODAY + 1), split, none(), missing(director));
        submit(dearer(TODAY + 1), split, director);
    }

    function test_amend_needs_the_holder_whose_share_ends() public {
        bytes memory split = abi.encodePacked(composer, uint32(1_000_000));
        submitFails(dearer(TODAY + 1), split, none(), missing(director));
        submit(dearer(TODAY + 1), split, director);
    }

    function test_amend_needs_every_holder_where_a_price_falls() public {
        for (uint256 kind; kind < 3; ++kind) {
            Amendment memory amendment = dearer(TODAY + 1);
            if (kind == 0) amendment.tariff.viewPrice = CENT - 1;
            if (kind == 1) amendment.tariff.downloadPrice = 50 * CENT - 1;
            if (kind == 2) amendment.tariff.excerptPrice = CENT / 100 - 1;
            address first = director < composer ? director : composer;
            address second = director < composer ? composer : director;
            submitFails(amendment, duo(), none(), missing(first));
            submitFails(amendment, duo(), signed(amendment, duo(), first), missing(second));
        }
        Amendment memory cheaper = dearer(TODAY + 1);
        cheaper.tariff.viewPrice = 0;
        bytes[] memory all = signed(cheaper, duo(), director);
        bytes[] memory other = signed(cheaper, duo(), composer);
        for (uint256 i; i < 2; ++i) if (all[i].length == 0) all[i] = other[i];
        vm.prank(producer);
        royalty.amend(cheaper, duo(), duo(), all, "");
    }

    function test_amend_takes_the_owners_own_transaction_as_its_consent() public {
        vm.prank(producer);
        uint32 own = royalty.open(pair(producer, 600_000, composer, 400_000), tariff(), TODAY, "");
        Amendment memory amendment = dearer(TODAY + 1);
        amendment.catalogue = own;
        vm.prank(producer);
        royalty.amend(
            amendment,
            pair(producer, 600_000, composer, 400_000),
            abi.encodePacked(composer, uint32(1_000_000)),
            none(),
            ""
        );
        vm.assertEq(royalty.versionOn(own, TODAY + 1), 2, "the producer gave its share away alone");
    }

    function test_amend_takes_a_wallet_contract_that_consents() public {
        GoodWallet wallet = new GoodWallet(director);
        (uint32 own, bytes memory split, Amendment memory amendment) = walletDeal(address(wallet));
        bytes memory all = abi.encodePacked(composer, uint32(1_000_000));
        bytes32 digest = royalty.amendmentDigest(amendment, all);
        bytes[] memory signatures = none();
        signatures[position(split, address(wallet))] = sign(COMPOSER_KEY, digest);
        vm.expectRevert(missing(address(wallet)));
        vm.prank(producer);
        royalty.amend(amendment, split, all, signatures, "");

        signatures[position(split, address(wallet))] = sign(DIRECTOR_KEY, digest);
        vm.prank(producer);
        royalty.amend(amendment, split, all, signatures, "");
        vm.assertEq(royalty.versionOn(own, TODAY + 1), 2, "amended");
    }

    function test_amend_refuses_wallet_contracts_that_answer_wrongly() public {
        for (uint256 habit; habit < 6; ++habit) {
            BadWallet wallet = new BadWallet(BadWallet.Habit(habit));
            (, bytes memory split, Amendment memory amendment) = walletDeal(address(wallet));
            bytes memory all = abi.encodePacked(composer, uint32(1_000_000));
            vm.expectRevert(missing(address(wallet)));
            vm.prank(producer);
            royalty.amend{gas: 3_000_000}(amendment, split, all, none(), "");
        }
    }

    function test_amend_takes_the_key_of_an_account_that_has_code() public {
        // As EIP-7702 leaves it: code at the address, and the key still signs for it.
        vm.etch(director, address(new BadWallet(BadWallet.Habit.Refuses)).code);
        submit(dearer(TODAY + 1), pair(director, 500_000, composer, 500_000), director);
    }

    // --- What is signed ---

    function test_amend_refuses_a_signature_for_anything_else() public {
        bytes memory split = pair(director, 500_000, composer, 500_000);
        Amendment memory amendment = dearer(TODAY + 1);
        bytes[] memory signatures = signed(amendment, split, director);

        Amendment memory other = copy(amendment);
        other.fromDay += 1;
        submitFails(other, split, signatures, missing(director));
        other = copy(amendment);
        other.tariff.viewPrice += 1;
        submitFails(other, split, signatures, missing(director));
        other = copy(amendment);
        other.tariff.downloadPrice += 1;
        submitFails(other, split, signatures, missing(director));
        other = copy(amendment);
        other.tariff.excerptPrice += 1;
        submitFails(other, split, signatures, missing(director));
        other = copy(amendment);
        other.deadline += 1;
        submitFails(other, split, signatures, missing(director));
        submitFails(amendment, pair(director, 499_999, composer, 500_001), signatures, missing(director));
    }

    function test_amend_refuses_a_signature_for_another_catalogue() public {
        uint32 twin = openCatalogue();
        bytes memory split = pair(director, 500_000, composer, 500_000);
        bytes[] memory signatures = signed(dearer(TODAY + 1), split, director);
        Amendment memory amendment = dearer(TODAY + 1);
        amendment.catalogue = twin;
        submitFails(amendment, split, signatures, missing(director));
    }

    function test_amend_refuses_a_signature_for_another_producer() public {
        bytes memory split = pair(director, 500_000, composer, 500_000);
        Amendment memory amendment = dearer(TODAY + 1);
        bytes[] memory signatures = signed(amendment, split, director);
        vm.prank(producer);
        royalty.transferFrom(producer, stranger, catalogue);
        vm.expectRevert(missing(director));
        vm.prank(stranger);
        royalty.amend(amendment, duo(), split, signatures, "");
    }

    function test_amend_refuses_a_signature_for_another_version() public {
        bytes memory split = pair(director, 500_000, composer, 500_000);
        Amendment memory amendment = dearer(TODAY + 3);
        bytes[] memory signatures = signed(amendment, split, director);
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
        vm.warp(NOON + 1 days);
        submitFails(amendment, split, signatures, missing(director));
    }

    function test_amend_refuses_a_signature_for_another_chain_or_contract() public {
        bytes memory split = pair(director, 500_000, composer, 500_000);
        Amendment memory amendment = dearer(TODAY + 1);
        bytes[] memory signatures = signed(amendment, split, director);
        vm.chainId(999);
        submitFails(amendment, split, signatures, missing(director));
        vm.chainId(31337);
        ILedger other = deploy(address(usd));
        vm.startPrank(producer);
        other.open(duo(), tariff(), TODAY - 30, "");
        vm.expectRevert(missing(director));
        other.amend(amendment, duo(), split, signatures, "");
    }

    function test_amend_refuses_a_malleable_or_broken_signature() public {
        bytes memory split = pair(director, 500_000, composer, 500_000);
        Amendment memory amendment = dearer(TODAY + 1);
        bytes32 digest = royalty.amendmentDigest(amendment, split);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(DIRECTOR_KEY, digest);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes[3] memory broken = [
            abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27)),
            abi.encodePacked(r, s, uint8(v - 27)),
            abi.encodePacked(r, s)
        ];
        for (uint256 i; i < 3; ++i) {
            bytes[] memory signatures = none();
            signatures[position(duo(), director)] = broken[i];
            submitFails(amendment, split, signatures, missing(director));
        }
    }

    function test_amendmentDigest_reverts_when_the_catalogue_is_unknown_or_the_split_is_not_valid() public {
        Amendment memory amendment = dearer(TODAY + 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.SplitLength.selector, 0));
        royalty.amendmentDigest(amendment, "");
        amendment.catalogue = 77;
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.CatalogueUnknown.selector, 77));
        royalty.amendmentDigest(amendment, duo());
    }

    // --- What it refuses ---

    function test_amend_reverts_for_everybody_but_the_owner() public {
        vm.prank(producer);
        royalty.approve(stranger, catalogue);
        vm.expectRevert(
            abi.encodeWithSelector(IRoyalty.NotCatalogueOwner.selector, catalogue, stranger, producer)
        );
        vm.prank(stranger);
        royalty.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
    }

    function test_amend_reverts_when_the_catalogue_is_unknown() public {
        Amendment memory amendment = dearer(TODAY + 1);
        amendment.catalogue = 77;
        submitFails(amendment, duo(), none(), abi.encodeWithSelector(IRoyalty.CatalogueUnknown.selector, 77));
    }

    function test_amend_reverts_when_the_deadline_has_passed() public {
        Amendment memory amendment = dearer(TODAY + 1);
        amendment.deadline = NOON;
        vm.warp(NOON + 1);
        submitFails(
            amendment,
            duo(),
            none(),
            abi.encodeWithSelector(IRoyalty.DeadlinePassed.selector, NOON, NOON + 1)
        );
        vm.warp(NOON);
        vm.prank(producer);
        royalty.amend(amendment, duo(), duo(), none(), "");
    }

    function test_amend_reverts_when_the_day_is_not_1_to_366_days_ahead() public {
        bytes4 selector = IRoyalty.DayOutOfRange.selector;
        uint16[3] memory days_ = [TODAY - 1, TODAY, TODAY + 367];
        for (uint256 i; i < 3; ++i) {
            submitFails(
                dearer(days_[i]),
                duo(),
                none(),
                abi.encodeWithSelector(selector, days_[i], TODAY + 1, TODAY + 366)
            );
        }
    }

    function test_amend_reverts_while_another_waits() public {
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 2), duo(), duo(), none(), "");
        bytes memory reason = abi.encodeWithSelector(
            IRoyalty.AmendmentPending.selector,
            catalogue,
            2,
            TODAY + 2
        );
        submitFails(dearer(TODAY + 3), duo(), none(), reason);
        vm.warp(NOON + 1 days);
        submitFails(dearer(TODAY + 3), duo(), none(), reason);
        vm.warp(NOON + 2 days);
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 3), duo(), duo(), none(), "");
    }

    function test_amend_reverts_when_the_current_split_is_another() public {
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
        vm.prank(producer);
        royalty.amend(dearer(TODAY + 1), wrong, duo(), none(), "");
    }

    function test_amend_reverts_when_the_new_split_is_not_valid() public {
        submitFails(
            dearer(TODAY + 1),
            pair(director, 1, address(royalty), 999_999),
            none(),
            abi.encodeWithSelector(IRoyalty.AddressRefused.selector, address(royalty))
        );
    }

    function test_amend_reverts_when_signatures_are_not_as_many_as_holders() public {
        submitFails(
            dearer(TODAY + 1),
            duo(),
            new bytes[](1),
            abi.encodeWithSelector(IRoyalty.SignatureCount.selector, 2, 1)
        );
    }

    function test_amend_reverts_when_the_versions_are_used_up() public {
        IEdgeLedger house = edge();
        vm.startPrank(producer);
        house.open(duo(), tariff(), TODAY, "");
        house.skipToLastVersion(1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.CatalogueFull.selector, 1));
        house.amend(dearer(TODAY + 1), duo(), duo(), none(), "");
    }

    /// @dev Whatever two splits say, exactly those who lose by the change are asked.
    function testFuzz_amend_asks_exactly_those_who_lose(uint256 seed) public {
        (bytes memory current, bytes memory next) = twoSplits(seed);
        vm.prank(producer);
        uint32 fuzzed = royalty.open(current, tariff(), TODAY, "");
        Amendment memory amendment = dearer(TODAY + 1);
        amendment.catalogue = fuzzed;
        address loser = firstLoser(current, next);
        if (loser != address(0)) vm.expectRevert(missing(loser));
        vm.prank(producer);
        royalty.amend(amendment, current, next, new bytes[](current.length / 24), "");
    }

    // --- Helpers ---

    function dearer(uint16 fromDay) private view returns (Amendment memory) {
        Tariff memory prices = tariff();
        prices.viewPrice = 2 * CENT;
        return Amendment({catalogue: catalogue, fromDay: fromDay, tariff: prices, deadline: NOON + 30 days});
    }

    function copy(Amendment memory amendment) private pure returns (Amendment memory) {
        return abi.decode(abi.encode(amendment), (Amendment));
    }

    function none() private pure returns (bytes[] memory) {
        return new bytes[](2);
    }

    function missing(address holder) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRoyalty.ConsentMissing.selector, holder);
    }

    function position(bytes memory split, address holder) private pure returns (uint256 index) {
        while (holderAt(split, index) != holder) ++index;
    }

    function holderAt(bytes memory split, uint256 index) private pure returns (address holder) {
        bytes memory cut = new bytes(20);
        for (uint256 i; i < 20; ++i) cut[i] = split[index * 24 + i];
        return address(bytes20(cut));
    }

    function ppmAt(bytes memory split, uint256 index) private pure returns (uint32 ppm) {
        for (uint256 i = 20; i < 24; ++i) ppm = (ppm << 8) | uint8(split[index * 24 + i]);
    }

    function signed(
        Amendment memory amendment,
        bytes memory split,
        address holder
    ) private view returns (bytes[] memory signatures) {
        uint256 key = holder == director ? DIRECTOR_KEY : COMPOSER_KEY;
        signatures = none();
        signatures[position(duo(), holder)] = sign(key, royalty.amendmentDigest(amendment, split));
    }

    function submit(Amendment memory amendment, bytes memory split, address holder) private {
        bytes[] memory signatures = signed(amendment, split, holder);
        vm.prank(producer);
        royalty.amend(amendment, duo(), split, signatures, "");
        vm.assertEq(royalty.versionOn(catalogue, amendment.fromDay), 2, "amended");
    }

    function submitFails(
        Amendment memory amendment,
        bytes memory split,
        bytes[] memory signatures,
        bytes memory reason
    ) private {
        vm.expectRevert(reason);
        vm.prank(producer);
        royalty.amend(amendment, duo(), split, signatures, "");
    }

    function walletDeal(
        address wallet
    ) private returns (uint32 own, bytes memory split, Amendment memory amendment) {
        split = pair(wallet, 600_000, composer, 400_000);
        own = openCatalogue(split);
        amendment = dearer(TODAY + 1);
        amendment.catalogue = own;
    }

    function twoSplits(uint256 seed) private pure returns (bytes memory current, bytes memory next) {
        return (someSplit(seed), someSplit(uint256(keccak256(abi.encode(seed)))));
    }

    /// @dev Some of the addresses 100 to 107, with shares that sum to the whole.
    function someSplit(uint256 seed) private pure returns (bytes memory split) {
        uint256 chosen = (seed & 0xff) | 1;
        uint32 left = 1_000_000;
        for (uint160 place = 8; place > 0; --place) {
            uint160 i = place - 1;
            if ((chosen >> i) & 1 == 0) continue;
            uint32 ppm = i == 0 ? left : uint32(1 + ((seed >> (8 + 20 * i)) % 120_000));
            left -= ppm;
            split = bytes.concat(abi.encodePacked(address(100 + i), ppm), split);
        }
    }

    function firstLoser(bytes memory current, bytes memory next) private pure returns (address) {
        for (uint256 i; i < current.length / 24; ++i) {
            address holder = holderAt(current, i);
            uint32 later;
            for (uint256 j; j < next.length / 24; ++j) {
                if (holderAt(next, j) == holder) later = ppmAt(next, j);
            }
            if (later < ppmAt(current, i)) return holder;
        }
        return address(0);
    }
}
