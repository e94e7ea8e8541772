// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ledger} from "./parts/Ledger.sol";
import {Payouts} from "./parts/Payouts.sol";
import {Tallies} from "./parts/Tallies.sol";
import {Usage} from "./parts/Usage.sol";

/// @notice Pays the rights holders of catalogues of works per usage, in one token, under rules that nobody can change.
/// @dev Joins the parts: `Catalogues`, `Platforms`, `Usage`, `Tallies`, `Payouts`, over the books of `Ledger`.
contract Royalty is Usage, Tallies, Payouts {
    constructor(address token_) Ledger(token_) {}
}
