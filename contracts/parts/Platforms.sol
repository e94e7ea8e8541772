// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IRoyalty, Platform} from "../interfaces/IRoyalty.sol";
import {NanoTokens} from "../libraries/NanoTokens.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Holds what platforms have prepaid, under their own rules of who may spend it.
abstract contract Platforms is Ledger {
    mapping(address platform => mapping(address reporter => bool allowed)) private _reporters;

    /// @inheritdoc IRoyalty
    function deposit(address platform, uint256 amount) external nonReentrant {
        // Check: where it goes, how much it is.
        _requireReachable(platform);
        uint96 nano = _toNano(amount);
        // Interaction: first, since only what has come in is credited; the guard keeps everything else out meanwhile.
        _pull(amount);
        // Effect: credit the platform.
        Platform storage state = _platforms[platform];
        state.funds = NanoTokens.narrow(uint256(state.funds) + nano);
        emit Deposited({platform: platform, payer: msg.sender, nano: nano});
    }

    /// @inheritdoc IRoyalty
    function withdrawFunds(uint256 amount, address to) external nonReentrant {
        // Check: where it goes, how much it is.
        _requireReachable(to);
        uint96 nano = _toNano(amount);
        // Effect: debit the platform.
        Platform storage state = _platforms[msg.sender];
        state.funds = _fundsLess({platform: msg.sender, funds: state.funds, nano: nano});
        emit FundsWithdrawn({platform: msg.sender, to: to, nano: nano});
        // Interaction: send it.
        _send({to: to, amount: amount, before: _held()});
    }

    /// @inheritdoc IRoyalty
    function setReporter(address reporter, bool allowed) external {
        _reporters[msg.sender][reporter] = allowed;
        emit ReporterSet({platform: msg.sender, reporter: reporter, allowed: allowed});
    }

    /// @inheritdoc IRoyalty
    function setLimit(uint56 limit) external {
        _platforms[msg.sender].limit = limit;
        emit LimitSet({platform: msg.sender, limit: limit});
    }

    /// @inheritdoc IRoyalty
    function platformOf(address platform) external view returns (Platform memory) {
        return _platforms[platform];
    }

    /// @inheritdoc IRoyalty
    function isReporter(address platform, address reporter) public view returns (bool) {
        return _reporters[platform][reporter];
    }

    /// @dev Check: who reports, which batch, which day; returns the platform with that batch counted, for the caller to
    /// store.
    function _nextBatch(
        address platform,
        uint32 batch,
        uint16 day
    ) internal view returns (Platform memory state, uint256 today) {
        if (msg.sender != platform && !isReporter(platform, msg.sender))
            revert NotReporter(platform, msg.sender);
        state = _platforms[platform];
        uint32 next = state.batches + 1;
        if (batch != next) revert BatchNotNext({expected: next, given: batch});
        today = _today();
        if (day > today) revert DayInFuture({day: day, today: today});
        state.batches = batch;
    }

    /// @dev Pays `nano` out of a platform's state in memory: funds always, the day's limit where the sender is not the
    /// platform itself.
    function _spend(Platform memory state, address platform, uint96 nano, uint256 today) internal view {
        state.funds = _fundsLess({platform: platform, funds: state.funds, nano: nano});
        if (msg.sender != platform) _countAgainstLimit(state, platform, nano, today);
    }

    /// @dev Counts `nano` as spent on `today`, in micro-tokens rounded up.
    function _countAgainstLimit(
        Platform memory state,
        address platform,
        uint96 nano,
        uint256 today
    ) private pure {
        uint256 spent = state.spentDay == today ? state.spent : 0;
        uint256 left = state.limit > spent ? state.limit - spent : 0;
        uint256 needed = NanoTokens.toMicro(nano);
        if (needed > left) revert LimitExceeded({platform: platform, needed: needed, left: left});
        // What is spent stays within the limit, which is 56 bits wide.
        state.spent = uint56(spent + needed);
        state.spentDay = SafeCast.toUint16(today);
    }

    function _fundsLess(address platform, uint96 funds, uint96 nano) private pure returns (uint96) {
        if (nano > funds) revert FundsInsufficient({platform: platform, needed: nano, available: funds});
        return funds - nano;
    }
}
