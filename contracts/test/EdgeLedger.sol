// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Royalty} from "../Royalty.sol";

/// @notice A test ledger whose counters can be set near their end.
contract EdgeLedger is Royalty {
    constructor(address token_) Royalty(token_) {}

    /// @notice Makes a catalogue of one version hold so many works.
    function setWorks(uint32 catalogue, uint24 works) external {
        _setExtraData(catalogue, (uint96(works) << 16) | 1);
    }

    /// @notice Gives a catalogue the last version that it can have, a copy of its first.
    function skipToLastVersion(uint32 catalogue) external {
        _deals[_dealId(catalogue, type(uint16).max)] = _deals[_dealId(catalogue, 1)];
        _setExtraData(catalogue, type(uint16).max);
    }
}
