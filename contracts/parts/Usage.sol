// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty, Platform} from "../interfaces/IRoyalty.sol";
import {DealWord} from "../libraries/DealWords.sol";
import {UsageGroups} from "../libraries/UsageGroups.sol";
import {Catalogues} from "./Catalogues.sol";
import {Platforms} from "./Platforms.sol";

/// @notice Turns usage into what deals have accrued.
abstract contract Usage is Catalogues, Platforms {
    /// @dev Usage in readable form, one row a pair.
    struct Rows {
        uint32[] catalogueIds;
        uint16[] versions;
        uint8[] kinds;
        uint24[] indexes;
        uint24[] units;
    }

    /// @inheritdoc IRoyalty
    function report(
        address platform,
        uint32 batch,
        uint16 day,
        bytes32 evidence,
        uint96 total,
        bytes calldata usage
    ) external nonReentrant {
        (Platform memory state, uint256 today) = _nextBatch(platform, batch, day);
        // Effect: credit the deals, debit the platform by exactly as much.
        uint256 computed = _accrueAll(usage, day);
        if (computed != total) revert TotalMismatch({computed: computed, given: total});
        _spend(state, platform, total, today);
        _platforms[platform] = state;
        emit UsageReported(platform, batch, day, msg.sender, evidence, total, usage);
    }

    /// @inheritdoc IRoyalty
    function pay(uint32 catalogue, uint256 amount, bytes32 reason, bytes32 memo) external nonReentrant {
        // Check: where it goes, how much it is.
        uint16 version = _versionOn(catalogue, _today());
        if (version == 0) revert CatalogueUnknown(catalogue);
        uint96 nano = _toNano(amount);
        // Interaction: first, since only what has come in is credited; the guard keeps everything else out meanwhile.
        _pull(amount);
        // Effect: credit the deal of today.
        StoredDeal storage deal = _deals[_dealId(catalogue, version)];
        deal.word = deal.word.plus(nano);
        emit Paid(catalogue, version, msg.sender, nano, reason, memo);
    }

    /// @inheritdoc IRoyalty
    function decodeUsage(
        bytes calldata usage
    )
        external
        pure
        returns (
            uint32[] memory catalogueIds,
            uint16[] memory versions,
            uint8[] memory kinds,
            uint24[] memory indexes,
            uint24[] memory units
        )
    {
        Rows memory rows = _newRows(_countPairs(usage));
        uint256 row;
        for (uint256 offset; offset < usage.length;) {
            (uint48 dealId, uint256 kind, bytes calldata pairs, uint256 next) = UsageGroups.groupAt(
                usage,
                offset
            );
            row = _fill(rows, row, dealId, uint8(kind), pairs);
            offset = next;
        }
        return (rows.catalogueIds, rows.versions, rows.kinds, rows.indexes, rows.units);
    }

    /// @dev Credits every group's deal; returns the price of it all in nano-tokens.
    function _accrueAll(bytes calldata usage, uint16 day) private returns (uint256 total) {
        if (usage.length == 0) revert GroupMalformed({offset: 0, length: 0});
        for (uint256 offset; offset < usage.length;) {
            (uint48 dealId, uint256 kind, bytes calldata pairs, uint256 next) = UsageGroups.groupAt(
                usage,
                offset
            );
            StoredDeal storage deal = _deals[dealId];
            DealWord word = deal.word;
            _requireInForce(word, dealId, day);
            // Units are under 2^40, as is the price; under 2^32 groups fit any calldata: nothing here can overflow.
            unchecked {
                uint256 nano = UsageGroups.cost(pairs, word, kind);
                deal.word = word.plus(nano);
                total += nano;
            }
            offset = next;
        }
    }

    function _requireInForce(DealWord deal, uint48 dealId, uint16 day) private pure {
        (uint32 catalogue, uint16 version) = (_catalogueOf(dealId), _versionOf(dealId));
        if (!deal.exists()) revert DealUnknown(catalogue, version);
        if (!deal.inForceOn(day))
            revert DealNotInForce(catalogue, version, day, deal.fromDay(), deal.untilDay());
    }

    function _countPairs(bytes calldata usage) private pure returns (uint256 count) {
        if (usage.length == 0) revert GroupMalformed({offset: 0, length: 0});
        for (uint256 offset; offset < usage.length;) {
            (, , bytes calldata pairs, uint256 next) = UsageGroups.groupAt(usage, offset);
            count += pairs.length / UsageGroups.PAIR;
            offset = next;
        }
    }

    function _newRows(uint256 count) private pure returns (Rows memory) {
        return
            Rows({
                catalogueIds: new uint32[](count),
                versions: new uint16[](count),
                kinds: new uint8[](count),
                indexes: new uint24[](count),
                units: new uint24[](count)
            });
    }

    /// @dev Fills in a group's rows from `row` on; returns where the next group's rows start.
    function _fill(
        Rows memory rows,
        uint256 row,
        uint48 dealId,
        uint8 kind,
        bytes calldata pairs
    ) private pure returns (uint256) {
        for (uint256 i; i < pairs.length / UsageGroups.PAIR; ++i) {
            rows.catalogueIds[row] = _catalogueOf(dealId);
            rows.versions[row] = _versionOf(dealId);
            rows.kinds[row] = kind;
            (rows.indexes[row], rows.units[row]) = UsageGroups.pairAt(pairs, i);
            ++row;
        }
        return row;
    }
}
