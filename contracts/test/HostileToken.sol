// SPDX-License-Identifier: MIT
// Tokens and wallets that misbehave do what the linter warns of.
// solhint-disable one-contract-per-file, gas-custom-errors, no-empty-blocks, avoid-low-level-calls
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A test token that misbehaves on demand, towards everybody or towards one receiver.
contract HostileToken is ERC20 {
    enum Habit {
        Honest,
        ReturnsNothing,
        CallsBack,
        TakesFee,
        MovesLess,
        MovesMore,
        MovesNothing,
        ReturnsFalse,
        MovesButReturnsFalse,
        Reverts,
        RevertsHugely,
        ReturnsHugely,
        SpendsGas,
        BurnsAllGas
    }

    uint8 private immutable _decimals;

    /// @notice How transfers to a receiver go; those to the zero address stand for everybody without a habit.
    mapping(address receiver => Habit) public habits;

    /// @notice What a transfer that calls back calls, then what came of it.
    address public target;
    bytes public data;
    bool public succeeded;
    bytes public answer;

    /// @notice Gas that a transfer that spends gas spends.
    uint256 public spends;

    constructor(uint8 decimals_) ERC20("Hostile Token", "HOSTILE") {
        _decimals = decimals_;
    }

    /// @notice Gives `amount` that is worth nothing.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice Sets how transfers to a receiver go.
    function setHabit(address receiver, Habit habit) external {
        habits[receiver] = habit;
    }

    /// @notice Sets what transfers that call back call.
    function setCallback(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    /// @notice Sets what transfers that spend gas spend.
    function setSpends(uint256 gasSpent) external {
        spends = gasSpent;
    }

    /// @inheritdoc ERC20
    function transfer(address to, uint256 value) public override returns (bool) {
        return _misbehave(msg.sender, to, value);
    }

    /// @inheritdoc ERC20
    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        _spendAllowance(from, msg.sender, value);
        return _misbehave(from, to, value);
    }

    /// @inheritdoc ERC20
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function _misbehave(address from, address to, uint256 value) private returns (bool) {
        Habit habit = habits[to] == Habit.Honest ? habits[address(0)] : habits[to];
        if (habit == Habit.Reverts) revert("no");
        if (habit == Habit.RevertsHugely) _end(false, 1_000_000);
        if (habit == Habit.BurnsAllGas) while (true) {}
        if (habit == Habit.ReturnsFalse) return false;
        if (habit == Habit.MovesNothing) return true;
        if (habit == Habit.SpendsGas) _spendGas();
        _transfer(
            from,
            to,
            habit == Habit.MovesLess
                ? value - 1
                : habit == Habit.MovesMore
                    ? value + 1
                    : value
        );
        if (habit == Habit.TakesFee) _burn(to, 1);
        if (habit == Habit.CallsBack) (succeeded, answer) = target.call(data);
        if (habit == Habit.ReturnsNothing) _end(true, 0);
        if (habit == Habit.ReturnsHugely) _end(true, 1_000_000);
        return habit != Habit.MovesButReturnsFalse;
    }

    function _spendGas() private view {
        uint256 until = gasleft() - spends;
        while (gasleft() > until) {}
    }

    function _end(bool well, uint256 length) private pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, 1)
            switch well
            case 0 {
                revert(start, length)
            }
            default {
                return(start, length)
            }
        }
    }
}

/// @notice A test token that answers with anything when asked for its decimals.
contract OddDecimals {
    bytes private _answer;

    constructor(bytes memory answer_) {
        _answer = answer_;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return _answer;
    }
}
