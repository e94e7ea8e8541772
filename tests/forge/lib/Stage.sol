// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Deal, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {TestUSD} from "contracts/test/TestUSD.sol";

import {IEdgeLedger, ILedger} from "./ILedger.sol";
import {Vm} from "./Vm.sol";

/// @notice The actors, the ledger that they meet on, plus their ways of writing splits and usage.
abstract contract Stage {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev 2026-09-30 12:00 UTC.
    uint256 internal constant NOON = 1_790_769_600;
    uint16 internal constant TODAY = uint16(NOON / 1 days);

    /// @dev One token and one cent, in nano-tokens; one token in its smallest unit.
    uint96 internal constant TOKEN = 1e9;
    uint40 internal constant CENT = 1e7;
    uint256 internal constant USD = 1e6;

    uint256 internal constant DIRECTOR_KEY = 0xD1;
    uint256 internal constant COMPOSER_KEY = 0xC0;
    uint256 internal constant PRODUCER_KEY = 0xAB;

    address internal director = vm.addr(DIRECTOR_KEY);
    address internal composer = vm.addr(COMPOSER_KEY);
    address internal producer = vm.addr(PRODUCER_KEY);
    address internal platform = address(0x1111);
    address internal reporter = address(0x2222);
    address internal stranger = address(0x3333);

    TestUSD internal usd;
    ILedger internal royalty;

    function setUp() public virtual {
        vm.warp(NOON);
        usd = new TestUSD();
        royalty = deploy(address(usd));
    }

    // --- Doing ---

    /// @dev By its artifact, since `new` would have the compiler optimize the ledger once more for every test contract.
    function deploy(address token) internal returns (ILedger) {
        return ILedger(vm.deployCode("Royalty.sol:Royalty", abi.encode(token)));
    }

    /// @dev The same with counters that can be set.
    function edge() internal returns (IEdgeLedger) {
        return IEdgeLedger(vm.deployCode("EdgeLedger.sol:EdgeLedger", abi.encode(address(usd))));
    }

    /// @dev A catalogue of the producer: director 60 %, composer 40 %, from 30 days ago on.
    function openCatalogue() internal returns (uint32) {
        return openCatalogue(duo());
    }

    function openCatalogue(bytes memory split) internal returns (uint32) {
        vm.prank(producer);
        return royalty.open(split, tariff(), TODAY - 30, "ipfs://deal");
    }

    function fund(address account, uint256 amount) internal {
        usd.mint(account, amount);
        vm.startPrank(account);
        usd.approve(address(royalty), amount);
        royalty.deposit(account, amount);
        vm.stopPrank();
    }

    function report(uint16 day, uint96 total, bytes memory usage) internal {
        reportAs(platform, day, total, usage);
    }

    function reportAs(address sender, uint16 day, uint96 total, bytes memory usage) internal {
        uint32 batch = royalty.platformOf(platform).batches + 1;
        vm.prank(sender);
        royalty.report(platform, batch, day, keccak256("evidence"), total, usage);
    }

    /// @dev Funds the platform and has it report views at one cent each.
    function earn(uint32 catalogue, uint24 count) internal {
        uint256 nano = uint256(count) * CENT;
        fund(platform, nano / 1000 + 1);
        report(TODAY, uint96(nano), views(catalogue, count));
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    // --- Writing ---

    /// @dev A view one cent, a download half a token, a second of excerpt 0.0001 token.
    function tariff() internal pure returns (Tariff memory) {
        return Tariff({viewPrice: CENT, downloadPrice: 50 * CENT, excerptPrice: CENT / 100});
    }

    function duo() internal view returns (bytes memory) {
        return pair(director, 600_000, composer, 400_000);
    }

    /// @dev A split of two holders, in the order of their addresses.
    function pair(address one, uint32 ppm, address two, uint32 rest) internal pure returns (bytes memory) {
        bytes memory first = abi.encodePacked(one, ppm);
        bytes memory second = abi.encodePacked(two, rest);
        return one < two ? bytes.concat(first, second) : bytes.concat(second, first);
    }

    /// @dev A split of so many holders, numbered from `start` on; the first takes what is left over.
    function crowd(uint256 holders, uint160 start) internal pure returns (bytes memory split) {
        uint32 equal = uint32(1_000_000 / holders);
        for (uint160 i; i < holders; ++i) {
            uint32 ppm = i == 0 ? uint32(1_000_000 - equal * (holders - 1)) : equal;
            split = bytes.concat(split, abi.encodePacked(address(start + i), ppm));
        }
    }

    function group(
        uint32 catalogue,
        uint16 version,
        uint8 kind,
        uint16 count,
        bytes memory pairs
    ) internal pure returns (bytes memory) {
        return abi.encodePacked(catalogue, version, kind, count, pairs);
    }

    function views(uint32 catalogue, uint24 count) internal pure returns (bytes memory) {
        return group(catalogue, 1, 0, 1, abi.encodePacked(uint24(0), count));
    }

    function allocation(
        uint32 catalogue,
        uint16 version,
        bytes memory split
    ) internal pure returns (bytes memory) {
        return abi.encodePacked(catalogue, version, uint16(split.length / 24), split);
    }

    function list(address one) internal pure returns (address[] memory holders) {
        holders = new address[](1);
        holders[0] = one;
    }

    function list(address one, address two) internal pure returns (address[] memory holders) {
        holders = new address[](2);
        (holders[0], holders[1]) = (one, two);
    }

    function list(address one, address two, address three) internal pure returns (address[] memory holders) {
        holders = new address[](3);
        (holders[0], holders[1], holders[2]) = (one, two, three);
    }

    // --- Asking ---

    function accrued(uint32 catalogue, uint16 version) internal view returns (uint96) {
        (Deal memory deal, ) = royalty.dealOf(catalogue, version);
        return deal.accrued;
    }

    function funds(address account) internal view returns (uint96) {
        return royalty.platformOf(account).funds;
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + (value % (high - low + 1));
    }
}
