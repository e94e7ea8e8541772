// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Amendment, Deal, IRoyalty, Tariff} from "contracts/interfaces/IRoyalty.sol";

import {ILedger} from "./lib/ILedger.sol";
import {Stage} from "./lib/Stage.sol";

/// @notice The vectors of tests/vectors, which Python's tests read as well.
contract VectorsTest is Stage {
    function test_splits_hash_and_divide_as_the_vectors_say() public {
        string memory json = vm.readFile("tests/vectors/splits.json");
        uint256 cases;
        for (; vm.keyExistsJson(json, at("cases", cases, "")); ++cases) {
            bytes memory split = vm.parseJsonBytes(json, at("cases", cases, ".packed"));
            address[] memory holders = vm.parseJsonAddressArray(json, at("cases", cases, ".holders"));
            uint256[] memory ppm = vm.parseJsonUintArray(json, at("cases", cases, ".ppm"));
            bytes memory packed;
            for (uint256 i; i < holders.length; ++i) {
                packed = bytes.concat(packed, abi.encodePacked(holders[i], uint32(ppm[i])));
            }
            vm.assertEq(packed, split, "packed");
            vm.assertEq(
                royalty.splitHash(split),
                vm.parseJsonBytes32(json, at("cases", cases, ".hash")),
                "hash"
            );
            divide(json, at("cases", cases, ".divisions"), split, holders);
        }
        vm.assertEq(cases, 7, "every case");
    }

    function test_usage_costs_what_the_vectors_say() public {
        string memory json = vm.readFile("tests/vectors/usage.json");
        fund(platform, type(uint96).max / 1000);
        uint256 cases;
        for (; vm.keyExistsJson(json, at("cases", cases, "")); ++cases) {
            readable(json, at("cases", cases, ""));
            uint256[] memory prices = vm.parseJsonUintArray(json, at("cases", cases, ".tariff"));
            uint96 total = uint96(vm.parseJsonUint(json, at("cases", cases, ".total")));
            bytes memory usage = vm.parseJsonBytes(json, at("cases", cases, ".packed"));
            ILedger fresh = deploy(address(usd));
            Tariff memory given = Tariff(uint40(prices[0]), uint40(prices[1]), uint40(prices[2]));
            fresh.open(duo(), given, TODAY, "");
            fresh.open(duo(), given, TODAY, "");
            usd.mint(address(this), total / 1000 + 1);
            usd.approve(address(fresh), total / 1000 + 1);
            fresh.deposit(address(this), total / 1000 + 1);
            vm.expectRevert(abi.encodeWithSelector(IRoyalty.TotalMismatch.selector, total, total + 1));
            fresh.report(address(this), 1, TODAY, 0, total + 1, usage);
            fresh.report(address(this), 1, TODAY, 0, total, usage);
        }
        vm.assertEq(cases, 10, "every case");
        readable(json, at("readable_only", 0, ""));
    }

    function test_malformed_usage_is_refused_as_the_vectors_say() public {
        string memory json = vm.readFile("tests/vectors/usage.json");
        openCatalogue();
        uint256 cases;
        for (; vm.keyExistsJson(json, at("malformed", cases, "")); ++cases) {
            bytes memory usage = vm.parseJsonBytes(json, at("malformed", cases, ".packed"));
            bytes memory reason = abi.encodeWithSelector(
                IRoyalty.GroupMalformed.selector,
                vm.parseJsonUint(json, at("malformed", cases, ".offset")),
                vm.parseJsonUint(json, at("malformed", cases, ".length"))
            );
            vm.expectRevert(reason);
            royalty.decodeUsage(usage);
            vm.expectRevert(reason);
            vm.prank(platform);
            royalty.report(platform, 1, TODAY, 0, 0, usage);
        }
        vm.assertEq(cases, 6, "every case");
    }

    function test_an_amendment_is_signed_as_the_vector_says() public {
        string memory json = vm.readFile("tests/vectors/amendment.json");
        vm.chainId(vm.parseJsonUint(json, ".chain_id"));
        vm.warp(vm.parseJsonUint(json, ".time"));
        ILedger ledger = ILedger(vm.parseJsonAddress(json, ".contract"));
        vm.etch(address(ledger), address(royalty).code);
        address owner = vm.parseJsonAddress(json, ".producer");
        uint256[] memory prices = vm.parseJsonUintArray(json, ".tariff");
        bytes memory current = vm.parseJsonBytes(json, ".current_split.packed");
        bytes memory next = vm.parseJsonBytes(json, ".new_split.packed");
        Amendment memory amendment = Amendment({
            catalogue: uint32(vm.parseJsonUint(json, ".catalogue")),
            fromDay: uint16(vm.parseJsonUint(json, ".from_day")),
            tariff: Tariff(uint40(prices[0]), uint40(prices[1]), uint40(prices[2])),
            deadline: vm.parseJsonUint(json, ".deadline")
        });
        vm.startPrank(owner);
        ledger.open(current, amendment.tariff, uint16(vm.parseJsonUint(json, ".opened_from_day")), "");
        vm.assertEq(ledger.amendmentDigest(amendment, next), vm.parseJsonBytes32(json, ".digest"), "digest");

        address[] memory holders = vm.parseJsonAddressArray(json, ".current_split.holders");
        bytes[] memory signatures = new bytes[](holders.length);
        for (uint256 i; i < holders.length; ++i) {
            if (holders[i] == vm.parseJsonAddress(json, ".signer")) {
                signatures[i] = vm.parseJsonBytes(json, ".signature");
            }
        }
        vm.assertEq(ledger.amend(amendment, current, next, signatures, ""), 2, "consented");
    }

    function divide(
        string memory json,
        string memory path,
        bytes memory split,
        address[] memory holders
    ) private {
        for (uint256 i; vm.keyExistsJson(json, entry(path, i)); ++i) {
            uint256 accrued_ = vm.parseJsonUint(json, string.concat(entry(path, i), ".accrued"));
            uint256[] memory parts = vm.parseJsonUintArray(json, string.concat(entry(path, i), ".parts"));
            ILedger fresh = deploy(address(usd));
            uint32 catalogue = fresh.open(split, Tariff(1, 0, 0), TODAY, "");
            accrue(fresh, accrued_);
            fresh.allocate(allocation(catalogue, 1, split));
            for (uint256 j; j < holders.length; ++j) {
                vm.assertEq(fresh.balanceOfHolder(holders[j]), parts[j], "part");
            }
            (Deal memory deal, ) = fresh.dealOf(catalogue, 1);
            vm.assertEq(
                deal.accrued,
                vm.parseJsonUint(json, string.concat(entry(path, i), ".remainder")),
                "remainder"
            );
        }
    }

    /// @dev Pays what is whole, then reports the rest at one nano-token a view.
    function accrue(ILedger ledger, uint256 nano) private {
        uint256 amount = nano / 1000;
        uint24 rest = uint24(nano % 1000);
        usd.mint(address(this), amount + 1);
        usd.approve(address(ledger), amount + 1);
        if (amount != 0) ledger.pay(1, amount, 0, 0);
        ledger.deposit(address(this), 1);
        ledger.report(address(this), 1, TODAY, 0, rest, views(1, rest));
    }

    function readable(string memory json, string memory path) private view {
        uint256[] memory expected = vm.parseJsonUintArray(json, string.concat(path, ".units"));
        uint256[][4] memory rest = [
            vm.parseJsonUintArray(json, string.concat(path, ".catalogues")),
            vm.parseJsonUintArray(json, string.concat(path, ".versions")),
            vm.parseJsonUintArray(json, string.concat(path, ".kinds")),
            vm.parseJsonUintArray(json, string.concat(path, ".indexes"))
        ];
        (
            uint32[] memory ids,
            uint16[] memory versions,
            uint8[] memory kinds,
            uint24[] memory indexes,
            uint24[] memory units
        ) = royalty.decodeUsage(vm.parseJsonBytes(json, string.concat(path, ".packed")));
        vm.assertEq(units.length, expected.length, "pairs");
        for (uint256 i; i < units.length; ++i) {
            vm.assertEq(units[i], expected[i], "units");
            vm.assertEq(ids[i], rest[0][i], "catalogue");
            vm.assertEq(versions[i], rest[1][i], "version");
            vm.assertEq(kinds[i], rest[2][i], "kind");
            vm.assertEq(indexes[i], rest[3][i], "index");
        }
    }

    function at(
        string memory list_,
        uint256 index,
        string memory member
    ) private pure returns (string memory) {
        return string.concat(entry(string.concat(".", list_), index), member);
    }

    function entry(string memory path, uint256 index) private pure returns (string memory) {
        return string.concat(path, "[", vm.toString(index), "]");
    }
}
