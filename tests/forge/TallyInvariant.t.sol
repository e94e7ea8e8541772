// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Tally} from "contracts/interfaces/IRoyalty.sol";
import {TestUSD} from "contracts/test/TestUSD.sol";

import {ILedger} from "./lib/ILedger.sol";
import {PlainTree} from "./lib/PlainTree.sol";
import {Stage} from "./lib/Stage.sol";

/// @notice Posts and settles for two platforms, of which one does whatever is wrong.
contract TallyHandler is Stage {
    using PlainTree for PlainTree.Node[];

    struct Posted {
        address platform;
        uint32 batch;
        uint96 total;
        bool opaque;
        uint256 broken;
        bytes[] leaves;
        uint96[] amounts;
        PlainTree.Node[] nodes;
    }

    address internal constant HONEST = address(0xA11CE);
    address internal constant HOSTILE = address(0xBAD);

    uint32[] internal catalogues;
    Posted[] internal posted;
    mapping(string action => uint256) public calls;

    /// @dev What the model says, in nano-tokens: all that came in, what is locked in tallies, then each side's money.
    uint96 public deposited;
    uint96 public honestFunds;
    mapping(uint32 id => uint96) public owed;

    constructor(ILedger royalty_, TestUSD usd_) {
        (royalty, usd) = (royalty_, usd_);
        for (uint256 i; i < 4; ++i) catalogues.push(openCatalogue());
        deposit(HONEST, 10_000 * USD);
        deposit(HOSTILE, 10_000 * USD);
        honestFunds = 10_000 * TOKEN;
    }

    /// @dev The stage stands already; the fuzzer may call this as it calls anything.
    function setUp() public override {}

    // --- Actions ---

    function postHonest(uint256 seed) external {
        Posted storage tally = grow(HONEST, seed);
        for (uint256 i; i < tally.leaves.length; ++i) honestFunds -= tally.amounts[i];
        send(tally, tally.nodes.root().hash, uint96(tally.nodes.root().sum));
        ++calls["postHonest"];
    }

    /// @dev Leaves that cannot be paid among those that can; both are debited from the hostile platform alone.
    function postBadLeaves(uint256 seed) external {
        Posted storage tally = grow(HOSTILE, seed);
        uint256 at = seed % tally.leaves.length;
        uint256 how = (seed >> 8) % 6;
        bytes memory leaf = tally.leaves[at];
        if (how == 0) tally.amounts[at] += 1;
        if (how == 1) tally.amounts[at] -= 1;
        if (how == 2) leaf = "junk";
        if (how == 3) leaf = abi.encodePacked(uint32(99), uint16(1), TODAY, uint8(0), uint16(1), uint48(1));
        if (how == 4) leaf[6] = 0xff; // a day far ahead
        if (how == 5) leaf[6] = 0x00; // a day before the deal
        tally.leaves[at] = leaf;
        tally.nodes[at] = PlainTree.leaf(leaf, tally.amounts[at]);
        send(tally, tally.nodes.root().hash, uint96(tally.nodes.root().sum));
        ++calls["postBadLeaves"];
    }

    /// @dev A root over good leaves with another total: too little, too much, or wrapped round.
    function postWrongTotal(uint256 seed) external {
        Posted storage tally = grow(HOSTILE, seed);
        uint96 sum = uint96(tally.nodes.root().sum);
        tally.broken = 1;
        uint256 last = tally.leaves.length - 1;
        if (seed & 256 == 0) {
            send(tally, tally.nodes.root().hash, sum - 1 - uint96(seed % sum));
            ++calls["postTooLittle"];
        } else if (seed & 512 == 0 || last == 0) {
            send(tally, tally.nodes.root().hash, sum + 1 + uint96(seed % TOKEN));
            ++calls["postTooMuch"];
        } else {
            uint96 over = uint96(seed % CENT);
            tally.amounts[last] += type(uint96).max - sum + 1 + over;
            tally.nodes[last] = PlainTree.leaf(tally.leaves[last], tally.amounts[last]);
            send(tally, tally.nodes.root().hash, over);
            ++calls["postWrapped"];
        }
    }

    /// @dev A root that nobody has the preimage of.
    function postOpaque(uint256 seed) external {
        Posted storage tally = grow(HOSTILE, seed);
        tally.opaque = true;
        send(tally, keccak256(abi.encode(seed)), uint96(seed % TOKEN));
        ++calls["postOpaque"];
    }

    /// @dev Any range of any tally, most often one that has been settled in part.
    function settle(uint256 which, uint256 first, uint256 count) external {
        if (posted.length == 0) return;
        Posted storage tally = posted[which % posted.length];
        first %= tally.leaves.length;
        count = 1 + (count % (tally.leaves.length - first));
        settleRange(tally, first, count);
        ++calls["settle"];
    }

    /// @dev One tally's leaves under another's number, or the honest platform's under the hostile one's.
    function settleElsewhere(uint256 which, uint256 other) external {
        if (posted.length < 2) return;
        Posted storage from = posted[which % posted.length];
        Posted storage to = posted[other % posted.length];
        if (from.nodes.root().hash == to.nodes.root().hash) return;
        try royalty.settle(to.platform, to.batch, 0, list(from, 0, 1), from.nodes.prove(0, 1)) {
            revert("settled elsewhere");
        } catch {
            ++calls["settleElsewhere"];
        }
    }

    /// @dev An honest tally's node is never broken, whatever sum is claimed for it.
    function closeSound(uint256 which, uint96 sum) external {
        if (posted.length == 0) return;
        Posted storage tally = posted[which % posted.length];
        if (tally.platform != HONEST) return;
        bytes memory preimage = abi.encodePacked(uint8(0), tally.amounts[0], tally.leaves[0]);
        sum = sum & 1 == 0 ? tally.amounts[0] : sum;
        try royalty.closeNode(HONEST, tally.batch, 0, 0, sum, preimage, tally.nodes.prove(0, 1)) {
            revert("closed a sound node");
        } catch {
            ++calls["closeSound"];
        }
    }

    /// @dev Batch numbers of the two overlap; a number is taken once by each.
    function replay(uint256 which) external {
        if (posted.length == 0) return;
        Posted storage tally = posted[which % posted.length];
        vm.prank(tally.platform);
        try royalty.post(tally.platform, tally.batch, TODAY, 0, 1, 0, 0, 0, "") {
            revert("replayed");
        } catch {
            ++calls["replay"];
        }
    }

    function allocate(uint256 which) external {
        uint32 id = catalogues[which % catalogues.length];
        royalty.allocate(allocation(id, 1, duo()));
        ++calls["allocate"];
    }

    // --- The end ---

    /// @dev Settles whatever can be settled, closes whatever is broken; only what is opaque stays.
    function closeAll() external {
        for (uint256 i; i < posted.length; ++i) {
            Posted storage tally = posted[i];
            settleRange(tally, 0, tally.leaves.length);
            (Tally memory state, ) = royalty.tallyOf(tally.platform, tally.batch);
            if (tally.broken == 0 || state.settledLeaves == state.leaves) continue;
            uint8 level;
            PlainTree.Node[] memory below = tally.nodes;
            PlainTree.Node[] memory nodes = below;
            while (nodes.length > 1) {
                (below, nodes) = (nodes, nodes.above());
                ++level;
            }
            bytes memory preimage =
                level == 0
                    ? abi.encodePacked(uint8(0), tally.amounts[0], tally.leaves[0])
                    : PlainTree.preimage(below[0], below[1]);
            royalty.closeNode(tally.platform, tally.batch, level, 0, tally.total, preimage, "");
            ++calls["close"];
        }
    }

    // --- Asking ---

    function catalogueCount() external view returns (uint256) {
        return catalogues.length;
    }

    function catalogueAt(uint256 i) external view returns (uint32) {
        return catalogues[i];
    }

    /// @dev Debited and not settled, of all tallies or of the opaque ones.
    function locked(bool opaque) external view returns (uint256 sum) {
        for (uint256 i; i < posted.length; ++i) {
            if (opaque && !posted[i].opaque) continue;
            (Tally memory tally, ) = royalty.tallyOf(posted[i].platform, posted[i].batch);
            sum += tally.total - tally.settled;
        }
    }

    function honest() external pure returns (address) {
        return HONEST;
    }

    function hostile() external pure returns (address) {
        return HOSTILE;
    }

    // --- Helpers ---

    /// @dev A tally of one to nine good leaves, some of them alike.
    function grow(address account, uint256 seed) private returns (Posted storage tally) {
        tally = posted.push();
        tally.platform = account;
        uint256 size = 1 + ((seed >> 128) % 9);
        for (uint256 i; i < size; ++i) {
            uint256 noise = uint256(keccak256(abi.encode(seed, i / 2)));
            uint24 units = uint24(1 + (noise % 50));
            uint32 id = catalogues[(noise >> 32) % catalogues.length];
            bytes memory leaf = abi.encodePacked(
                id,
                uint16(1),
                TODAY,
                uint8(0),
                uint16(1),
                uint24(i / 2),
                units
            );
            tally.leaves.push(leaf);
            tally.amounts.push(units * uint96(CENT));
            tally.nodes.push(PlainTree.leaf(leaf, units * uint96(CENT)));
        }
    }

    function send(Posted storage tally, bytes32 root, uint96 total) private {
        tally.batch = royalty.platformOf(tally.platform).batches + 1;
        tally.total = total;
        vm.prank(tally.platform);
        royalty.post(tally.platform, tally.batch, TODAY, root, uint24(tally.leaves.length), total, 0, 0, "");
    }

    function settleRange(Posted storage tally, uint256 first, uint256 count) private {
        bool[] memory open = new bool[](count);
        for (uint256 i; i < count; ++i) {
            open[i] = !royalty.isSettled(tally.platform, tally.batch, uint24(first + i));
        }
        bytes memory proof = tally.nodes.prove(first, count);
        try royalty.settle(tally.platform, tally.batch, uint24(first), list(tally, first, count), proof) {
            require(!tally.opaque && tally.broken == 0, "settled what cannot be proven");
        } catch {
            require(tally.opaque || tally.broken != 0, "did not settle");
            return;
        }
        for (uint256 i; i < count; ++i) {
            if (!open[i] || !good(tally.leaves[first + i], tally.amounts[first + i])) continue;
            owed[uint32(bytes4(tally.leaves[first + i]))] += tally.amounts[first + i];
        }
    }

    function good(bytes memory leaf, uint96 amount) private pure returns (bool) {
        if (leaf.length != 17) return false;
        bytes memory rest = abi.encodePacked(TODAY, uint8(0), uint16(1));
        for (uint256 i; i < 5; ++i) if (leaf[6 + i] != rest[i]) return false;
        uint256 units = (uint256(uint8(leaf[14])) << 16) | (uint256(uint8(leaf[15])) << 8) | uint8(leaf[16]);
        return uint8(leaf[3]) < 99 && units * CENT == amount;
    }

    function list(
        Posted storage tally,
        uint256 first,
        uint256 count
    ) private view returns (bytes memory packed) {
        for (uint256 i = first; i < first + count; ++i) {
            bytes memory leaf = tally.leaves[i];
            packed = bytes.concat(packed, abi.encodePacked(uint24(leaf.length), tally.amounts[i], leaf));
        }
    }

    function deposit(address account, uint256 amount) private {
        fund(account, amount);
        deposited += uint96(amount * 1000);
    }
}

/// @notice Whatever the hostile platform posts, the honest one's funds and the holders' money are what the model says.
contract TallyInvariantTest is Stage {
    TallyHandler internal handler;

    function setUp() public override {
        super.setUp();
        handler = new TallyHandler(royalty, usd);
    }

    function targetContracts() public view returns (address[] memory) {
        return list(address(handler));
    }

    function invariant_every_nano_token_is_somewhere_and_where_the_model_says() public view {
        uint256 platforms = uint256(funds(handler.honest())) + funds(handler.hostile());
        uint256 holders;
        for (uint256 i; i < handler.catalogueCount(); ++i) {
            holders += accrued(handler.catalogueAt(i), 1);
        }
        uint256 balances = royalty.balanceOfHolder(director) + royalty.balanceOfHolder(composer);
        uint256 owed;
        for (uint256 i; i < handler.catalogueCount(); ++i) owed += handler.owed(handler.catalogueAt(i));
        vm.assertEq(platforms + handler.locked(false) + holders + balances, handler.deposited(), "rule 1");
        vm.assertEq(usd.balanceOf(address(royalty)) * 1000, handler.deposited(), "tokens held");
        vm.assertEq(holders + balances, owed, "what holders have");
        vm.assertEq(funds(handler.honest()), handler.honestFunds(), "the honest platform's funds");
    }

    /// @dev What the invariant says is worth something only where every action can succeed.
    function test_every_action_of_the_handler_succeeds() public {
        handler.postHonest(7 << 128);
        for (uint256 how; how < 6; ++how) handler.postBadLeaves((7 << 128) | (how << 8));
        handler.postWrongTotal(7 << 128);
        handler.postWrongTotal((7 << 128) | 256);
        handler.postWrongTotal((7 << 128) | 768);
        handler.postOpaque(1);
        handler.settle(0, 1, 2);
        handler.settle(1, 0, 8);
        handler.settleElsewhere(0, 1);
        handler.closeSound(0, 0);
        handler.closeSound(0, 1);
        handler.replay(0);
        handler.allocate(0);
        afterInvariant();
        string[11] memory actions = [
            "postHonest",
            "postBadLeaves",
            "postTooLittle",
            "postTooMuch",
            "postWrapped",
            "postOpaque",
            "settle",
            "settleElsewhere",
            "closeSound",
            "replay",
            "close"
        ];
        for (uint256 i; i < actions.length; ++i) vm.assertGt(handler.calls(actions[i]), 0, actions[i]);
    }

    function afterInvariant() public {
        handler.closeAll();
        vm.assertEq(handler.locked(false), handler.locked(true), "only what nobody can open stays");
        invariant_every_nano_token_is_somewhere_and_where_the_model_says();
    }
}
