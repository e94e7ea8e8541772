// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "contracts/interfaces/IRoyalty.sol";

/// @notice The ledger as tests call it, catalogues being tokens included.
/// @dev Tests do not import the contract itself: they are compiled by other settings, and meet it by its artifact.
interface ILedger is IRoyalty {
    function name() external view returns (string memory);
    function symbol() external view returns (string memory);
    function tokenURI(uint256 id) external view returns (string memory);
    function supportsInterface(bytes4 id) external view returns (bool);
    function balanceOf(address owner) external view returns (uint256);
    function ownerOf(uint256 id) external view returns (address);
    function approve(address account, uint256 id) external payable;
    function setApprovalForAll(address operator, bool approved) external;
    function transferFrom(address from, address to, uint256 id) external payable;
    function safeTransferFrom(address from, address to, uint256 id) external payable;
}

/// @notice The ledger whose counters can be set, see contracts/test/EdgeLedger.sol.
interface IEdgeLedger is ILedger {
    function setWorks(uint32 catalogue, uint24 works) external;
    function skipToLastVersion(uint32 catalogue) external;
}
