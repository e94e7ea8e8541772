// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A test token without any worth: six decimals, minted by anyone to anyone.
contract TestUSD is ERC20 {
    constructor() ERC20("Test USD", "TUSD") {}

    /// @notice Gives `amount` micro-dollars that are worth nothing.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @inheritdoc ERC20
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
