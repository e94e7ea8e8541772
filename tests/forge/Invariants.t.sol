// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Amendment, Deal, IRoyalty, Platform, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {HostileToken} from "contracts/test/HostileToken.sol";

import {ILedger} from "./lib/ILedger.sol";
import {Stage} from "./lib/Stage.sol";

/// @notice Whatever producers, platforms, holders and a moody token do, the rules of money hold.
contract InvariantsTest is Stage {
    /// @dev How forge wants to be told what to call.
    struct FuzzSelector {
        address target;
        bytes4[] selectors;
    }

    /// @dev Actions from which on a run is a whole one; foundry.toml has 300.
    uint256 private constant WHOLE_RUN = 200;

    Handler internal handler;

    function setUp() public override {
        super.setUp();
        handler = new Handler();
    }

    function targetContracts() external view returns (address[] memory) {
        return list(address(handler));
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector({target: address(handler), selectors: handler.actions()});
    }

    /// @dev One function, since forge runs a campaign of its own for each.
    function invariant_the_rules_of_money_hold() external view {
        solventToTheNanoToken();
        nothingMadeOrLost();
        platformsApart();
        holdersOwedTheirShares();
    }

    /// @dev Tokens held = platforms' funds + accrued + holders' balances, exactly, plus what was given by mistake.
    function solventToTheNanoToken() private view {
        vm.assertEq(handler.held(), handler.owed() + handler.gifts(), "solvent to the nano-token");
    }

    /// @dev What came in = what went out + what is owed.
    function nothingMadeOrLost() private view {
        vm.assertEq(handler.cameIn(), handler.wentOut() + handler.owed(), "conserved");
    }

    /// @dev Every platform's funds are its own deposits less its own reports and withdrawals; batches count reports.
    function platformsApart() private view {
        for (uint256 i; i < handler.PLATFORMS(); ++i) {
            address one = handler.platformAt(i);
            Platform memory state = handler.ledger().platformOf(one);
            vm.assertEq(state.funds, handler.expectedFunds(one), "funds");
            vm.assertEq(state.batches, handler.expectedBatches(one), "batches");
        }
    }

    /// @dev Every holder has been credited exactly its floors.
    function holdersOwedTheirShares() private view {
        for (uint256 i; i < handler.HOLDERS(); ++i) {
            address one = handler.holderAt(i);
            uint256 has = handler.ledger().balanceOfHolder(one) + handler.paid(one);
            vm.assertEq(has, handler.credited(one), "credited = balance + paid");
        }
    }

    /// @dev Each action has succeeded, or the rules above held of nothing. Then everybody is paid. A failure that forge
    /// has kept is replayed as a short run, in which not every action occurs.
    function afterInvariant() external {
        bool whole = handler.calls() >= WHOLE_RUN;
        for (uint256 i; whole && i < handler.ACTIONS(); ++i) {
            vm.assertGt(
                handler.successes(i),
                0,
                string.concat("action ", vm.toString(i), " never succeeded")
            );
        }
        handler.payEverybody();
        vm.assertEq(handler.held(), handler.owed() + handler.gifts(), "solvent at the end");
        vm.assertLt(handler.owed(), handler.dust(), "only dust is left");
    }
}

/// @notice Does one thing at a time, always something that can succeed, and keeps books of its own.
contract Handler is Stage {
    uint256 public constant PLATFORMS = 3;
    uint256 public constant HOLDERS = 6;
    uint256 public constant ACTIONS = 13;

    uint256 private constant MAX_CATALOGUES = 5;
    uint256 private constant MAX_VERSIONS = 3;

    ILedger public ledger;
    HostileToken public token;

    uint256 public calls;
    uint256[ACTIONS] public successes;
    uint256 public gifts;
    uint256 public cameIn;
    uint256 public wentOut;
    mapping(address platform => uint256) public expectedFunds;
    mapping(address platform => uint256) public expectedBatches;
    mapping(address holder => uint256) public credited;
    mapping(address holder => uint256) public paid;

    modifier counted() {
        ++calls;
        _;
    }

    /// @dev Splits by catalogue and version.
    mapping(uint32 catalogue => mapping(uint16 version => bytes)) private _splits;

    constructor() {
        vm.warp(NOON);
        token = new HostileToken(6);
        ledger = deploy(address(token));
        for (uint256 i; i < PLATFORMS; ++i) {
            vm.startPrank(platformAt(i));
            ledger.setReporter(reporter, true);
            ledger.setLimit(type(uint56).max);
            token.approve(address(ledger), type(uint256).max);
            vm.stopPrank();
        }
        open(1);
    }

    function actions() external pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](ACTIONS);
        selectors[0] = this.open.selector;
        selectors[1] = this.amend.selector;
        selectors[2] = this.deposit.selector;
        selectors[3] = this.withdrawFunds.selector;
        selectors[4] = this.report.selector;
        selectors[5] = this.reportAgain.selector;
        selectors[6] = this.pay.selector;
        selectors[7] = this.allocate.selector;
        selectors[8] = this.withdraw.selector;
        selectors[9] = this.allocateAndPay.selector;
        selectors[10] = this.setPayee.selector;
        selectors[11] = this.give.selector;
        selectors[12] = this.turn.selector;
    }

    // --- Actions ---

    function open(uint256 seed) public counted {
        if (ledger.catalogues() == MAX_CATALOGUES) return;
        bytes memory split = someSplit(seed);
        vm.prank(producer);
        uint32 catalogue = ledger.open(split, someTariff(seed), today() - 3, "");
        _splits[catalogue][1] = split;
        ++successes[0];
    }

    /// @dev Only ever to the better for everybody, so that nobody has to sign: the same split, higher prices.
    function amend(uint256 seed) external counted {
        uint32 catalogue = someCatalogue(seed);
        (, uint16 newest, ) = ledger.catalogueOf(catalogue);
        (Deal memory deal, ) = ledger.dealOf(catalogue, newest);
        if (newest == MAX_VERSIONS || deal.fromDay > today()) return;
        bytes memory split = _splits[catalogue][newest];
        Tariff memory prices = Tariff(deal.viewPrice + 1, deal.downloadPrice + 7, deal.excerptPrice);
        Amendment memory amendment = Amendment(catalogue, today() + 1, prices, block.timestamp);
        vm.prank(producer);
        uint16 version = ledger.amend(amendment, split, split, new bytes[](split.length / 24), "");
        _splits[catalogue][version] = split;
        ++successes[1];
    }

    function deposit(uint256 seed, uint256 amount) public counted {
        address one = platformAt(seed % PLATFORMS);
        amount = bound(amount, 1, 1e12);
        token.mint(one, amount);
        vm.prank(one);
        ledger.deposit(one, amount);
        expectedFunds[one] += amount * 1000;
        cameIn += amount * 1000;
        ++successes[2];
    }

    function withdrawFunds(uint256 seed, uint256 amount) external counted {
        address one = platformAt(seed % PLATFORMS);
        uint256 most = expectedFunds[one] / 1000;
        if (most == 0) return;
        amount = bound(amount, 1, most);
        vm.prank(one);
        ledger.withdrawFunds(amount, one);
        expectedFunds[one] -= amount * 1000;
        wentOut += amount * 1000;
        ++successes[3];
    }

    function report(uint256 seed, bool byReporter) external counted {
        address one = platformAt(seed % PLATFORMS);
        uint16 day = today() - uint16((seed >> 8) % 4);
        (bytes memory usage, uint256 total) = someUsage(seed, day);
        if (usage.length == 0) return;
        if (total > expectedFunds[one]) deposit(seed, total / 1000 + 1);
        if (total > expectedFunds[one]) return;
        uint32 batch = uint32(expectedBatches[one] + 1);
        vm.prank(byReporter ? reporter : one);
        ledger.report(one, batch, day, bytes32(seed), uint96(total), usage);
        expectedFunds[one] -= total;
        ++expectedBatches[one];
        ++successes[4];
    }

    function reportAgain(uint256 seed) external counted {
        address one = platformAt(seed % PLATFORMS);
        (bytes memory usage, uint256 total) = someUsage(seed, today());
        if (usage.length == 0 || expectedBatches[one] == 0) return;
        uint32 landed = uint32(expectedBatches[one]);
        vm.prank(one);
        try ledger.report(one, landed, today(), 0, uint96(total), usage) {
            revert("a number landed twice");
        } catch {
            ++successes[5];
        }
    }

    function pay(uint256 seed, uint256 amount) external counted {
        amount = bound(amount, 1, 1e12);
        token.mint(address(this), amount);
        token.approve(address(ledger), amount);
        ledger.pay(someCatalogue(seed), amount, 0, 0);
        cameIn += amount * 1000;
        ++successes[6];
    }

    function allocate(uint256 seed) public counted {
        (uint32 catalogue, uint16 version) = someDeal(seed);
        bytes memory split = _splits[catalogue][version];
        noteCredits(catalogue, version, split);
        ledger.allocate(allocation(catalogue, version, split));
        ++successes[7];
    }

    function withdraw(uint256 seed) external counted {
        allocate(seed);
        for (uint256 i; i < HOLDERS; ++i) {
            address holder = holderAt(((seed % HOLDERS) + i) % HOLDERS);
            uint256 amount = ledger.balanceOfHolder(holder) / 1000;
            if (amount == 0 || isBad(ledger.payeeOf(holder))) continue;
            ledger.withdraw(holder);
            notePaid(holder, amount);
            ++successes[8];
            return;
        }
    }

    function allocateAndPay(uint256 seed) external counted {
        (uint32 catalogue, uint16 version) = someDeal(seed);
        bytes memory split = _splits[catalogue][version];
        noteCredits(catalogue, version, split);
        address[] memory holders = everybody();
        uint256[] memory before = balances();
        ledger.allocateAndPay(allocation(catalogue, version, split), holders);
        for (uint256 i; i < HOLDERS; ++i) {
            uint256 now_ = ledger.balanceOfHolder(holders[i]);
            uint256 had = before[i] + credited[holders[i]] - _creditedBefore[holders[i]];
            vm.assertTrue(now_ == had || now_ == had % 1000, "all or nothing");
            vm.assertTrue(
                isBad(ledger.payeeOf(holders[i])) ? now_ == had : now_ == had % 1000,
                "only the bad are skipped"
            );
            notePaid(holders[i], (had - now_) / 1000);
        }
        ++successes[9];
    }

    function setPayee(uint256 seed) external counted {
        address holder = holderAt(seed % HOLDERS);
        vm.prank(holder);
        ledger.setPayee(seed % 2 == 0 ? address(0) : holderAt((seed >> 8) % HOLDERS));
        ++successes[10];
    }

    function give(uint256 amount) external counted {
        amount = bound(amount, 1, 1e9);
        token.mint(address(ledger), amount);
        gifts += amount * 1000;
        ++successes[11];
    }

    /// @dev A receiver falls out with the token or makes up; time goes by.
    function turn(uint256 seed) external counted {
        HostileToken.Habit[5] memory moods = [
            HostileToken.Habit.Honest,
            HostileToken.Habit.Honest,
            HostileToken.Habit.Reverts,
            HostileToken.Habit.MovesLess,
            HostileToken.Habit.ReturnsFalse
        ];
        token.setHabit(holderAt(seed % HOLDERS), moods[(seed >> 8) % 5]);
        if ((seed >> 16) % 3 == 0) vm.warp(block.timestamp + 1 days);
        ++successes[12];
    }

    // --- The end ---

    function payEverybody() external {
        for (uint256 i; i < HOLDERS; ++i) token.setHabit(holderAt(i), HostileToken.Habit.Honest);
        for (uint32 catalogue = 1; catalogue <= ledger.catalogues(); ++catalogue) {
            (, uint16 newest, ) = ledger.catalogueOf(catalogue);
            for (uint16 version = 1; version <= newest; ++version) {
                ledger.allocate(allocation(catalogue, version, _splits[catalogue][version]));
            }
        }
        ledger.withdrawMany(everybody());
        for (uint256 i; i < PLATFORMS; ++i) {
            uint256 left = expectedFunds[platformAt(i)] / 1000;
            if (left == 0) continue;
            vm.prank(platformAt(i));
            ledger.withdrawFunds(left, platformAt(i));
        }
    }

    // --- Asking ---

    function held() external view returns (uint256) {
        return token.balanceOf(address(ledger)) * 1000;
    }

    function owed() external view returns (uint256 nano) {
        for (uint256 i; i < PLATFORMS; ++i) nano += ledger.platformOf(platformAt(i)).funds;
        for (uint256 i; i < HOLDERS; ++i) nano += ledger.balanceOfHolder(holderAt(i));
        for (uint32 catalogue = 1; catalogue <= ledger.catalogues(); ++catalogue) {
            (, uint16 newest, ) = ledger.catalogueOf(catalogue);
            for (uint16 version = 1; version <= newest; ++version) {
                (Deal memory deal, ) = ledger.dealOf(catalogue, version);
                nano += deal.accrued;
            }
        }
    }

    /// @dev Under one smallest unit a holder and platform, under one nano-token a holder of each deal.
    function dust() external view returns (uint256 nano) {
        nano = 1000 * (HOLDERS + PLATFORMS);
        for (uint32 catalogue = 1; catalogue <= ledger.catalogues(); ++catalogue) {
            (, uint16 newest, ) = ledger.catalogueOf(catalogue);
            nano += uint256(newest) * HOLDERS;
        }
    }

    function platformAt(uint256 i) public pure returns (address) {
        return address(uint160(0x1000 + i));
    }

    function holderAt(uint256 i) public pure returns (address) {
        return address(uint160(0x2000 + i));
    }

    // --- Books of its own ---

    mapping(address holder => uint256) private _creditedBefore;

    function noteCredits(uint32 catalogue, uint16 version, bytes memory split) private {
        uint256 nano = accruedOf(catalogue, version);
        for (uint256 i; i < HOLDERS; ++i) _creditedBefore[holderAt(i)] = credited[holderAt(i)];
        for (uint256 i; i < split.length / 24; ++i) {
            (address holder, uint256 ppm) = shareAt(split, i);
            credited[holder] += (nano * ppm) / 1_000_000;
        }
    }

    function notePaid(address holder, uint256 amount) private {
        paid[holder] += amount * 1000;
        wentOut += amount * 1000;
    }

    function accruedOf(uint32 catalogue, uint16 version) private view returns (uint256) {
        (Deal memory deal, ) = ledger.dealOf(catalogue, version);
        return deal.accrued;
    }

    function isBad(address to) private view returns (bool) {
        return token.habits(to) != HostileToken.Habit.Honest;
    }

    function balances() private view returns (uint256[] memory nano) {
        nano = new uint256[](HOLDERS);
        for (uint256 i; i < HOLDERS; ++i) nano[i] = ledger.balanceOfHolder(holderAt(i));
    }

    function everybody() private pure returns (address[] memory holders) {
        holders = new address[](HOLDERS);
        for (uint256 i; i < HOLDERS; ++i) holders[i] = holderAt(i);
    }

    function shareAt(bytes memory split, uint256 i) private pure returns (address holder, uint256 ppm) {
        uint256 entry;
        for (uint256 j; j < 24; ++j) entry = (entry << 8) | uint8(split[i * 24 + j]);
        return (address(uint160(entry >> 32)), uint32(entry));
    }

    // --- Something to do it with ---

    function today() private view returns (uint16) {
        return uint16(block.timestamp / 1 days);
    }

    function someCatalogue(uint256 seed) private view returns (uint32) {
        return uint32(1 + ((seed >> 32) % ledger.catalogues()));
    }

    function someDeal(uint256 seed) private view returns (uint32 catalogue, uint16 version) {
        catalogue = someCatalogue(seed);
        (, uint16 newest, ) = ledger.catalogueOf(catalogue);
        version = uint16(1 + ((seed >> 64) % newest));
    }

    function someTariff(uint256 seed) private pure returns (Tariff memory) {
        return Tariff(uint40(seed % 1e7), uint40((seed >> 40) % 1e9), uint40((seed >> 80) % 1e5));
    }

    function someSplit(uint256 seed) private pure returns (bytes memory split) {
        uint256 chosen = (seed % 64) | 1;
        uint32 left = 1_000_000;
        for (uint256 place = HOLDERS; place > 0; --place) {
            uint256 i = place - 1;
            if ((chosen >> i) & 1 == 0) continue;
            uint32 ppm = i == 0 ? left : uint32(1 + ((seed >> (8 + 20 * i)) % 160_000));
            left -= ppm;
            split = bytes.concat(abi.encodePacked(holderAt(i), ppm), split);
        }
    }

    /// @dev One to three groups of deals in force on the day, with their price.
    function someUsage(uint256 seed, uint16 day) private view returns (bytes memory usage, uint256 total) {
        for (uint256 i; i < 1 + (seed % 3); ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint32 catalogue = someCatalogue(seed);
            uint16 version = ledger.versionOn(catalogue, day);
            if (version == 0) continue;
            (Deal memory deal, ) = ledger.dealOf(catalogue, version);
            uint8 kind = uint8((seed >> 96) % 3);
            uint24 first = uint24(seed % 5000);
            uint24 second = uint24((seed >> 24) % 5000);
            bytes memory pairs = abi.encodePacked(uint24(0), first, uint24(1), second);
            usage = bytes.concat(usage, group(catalogue, version, kind, 2, pairs));
            uint256 price =
                kind == 0
                    ? deal.viewPrice
                    : kind == 1
                        ? deal.downloadPrice
                        : deal.excerptPrice;
            total += price * (uint256(first) + second);
        }
    }
}
