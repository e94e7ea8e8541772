// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Deal, IRoyalty, Tariff} from "contracts/interfaces/IRoyalty.sol";
import {ERC721} from "solady/src/tokens/ERC721.sol";

import {IEdgeLedger} from "./lib/ILedger.sol";
import {Stage} from "./lib/Stage.sol";

contract OpenTest is Stage {
    function test_open_stores_the_deal_and_gives_the_catalogue_to_the_sender() public {
        vm.expectEmit(address(royalty));
        emit IRoyalty.CatalogueOpened(1, 1, producer, TODAY - 30, tariff(), duo(), "ipfs://deal");
        uint32 catalogue = openCatalogue();

        vm.assertEq(catalogue, 1, "catalogues are numbered from 1");
        vm.assertEq(royalty.catalogues(), 1, "counted");
        vm.assertEq(royalty.ownerOf(1), producer, "owner");
        (address owner, uint16 version, uint24 works) = royalty.catalogueOf(1);
        vm.assertEq(owner, producer, "owner");
        vm.assertEq(version, 1, "versions are numbered from 1");
        vm.assertEq(works, 0, "no works yet");
        (Deal memory deal, bytes32 hash) = royalty.dealOf(1, 1);
        vm.assertEq(hash, keccak256(duo()), "hash");
        vm.assertEq(deal.accrued, 0, "accrued");
        vm.assertEq(deal.viewPrice, CENT, "view");
        vm.assertEq(deal.downloadPrice, 50 * CENT, "download");
        vm.assertEq(deal.excerptPrice, CENT / 100, "excerpt");
        vm.assertEq(deal.fromDay, TODAY - 30, "from");
        vm.assertEq(deal.untilDay, 0, "open");
        vm.assertTrue(deal.exists, "exists");
    }

    function test_open_takes_today_and_the_first_day_of_all() public {
        vm.startPrank(producer);
        vm.assertEq(royalty.open(duo(), tariff(), TODAY, ""), 1, "today");
        vm.assertEq(royalty.open(duo(), tariff(), 0, ""), 2, "1970-01-01");
        (Deal memory deal, ) = royalty.dealOf(2, 1);
        vm.assertTrue(deal.exists, "a deal from day 0 on exists");
        vm.assertEq(royalty.versionOn(2, 0), 1, "and is in force on it");
    }

    function test_open_takes_every_price_from_free_to_the_highest() public {
        vm.startPrank(producer);
        royalty.open(duo(), Tariff(0, type(uint40).max, 1), TODAY, "");
        (Deal memory deal, ) = royalty.dealOf(1, 1);
        vm.assertEq(deal.viewPrice, 0, "free");
        vm.assertEq(deal.downloadPrice, 1_099_511_627_775, "highest");
        vm.assertEq(deal.excerptPrice, 1, "one nano-token");
        vm.assertEq(deal.accrued, 0, "prices do not run into what accrues");
        vm.assertEq(deal.fromDay, TODAY, "nor into days");
    }

    function test_open_reverts_when_the_first_deal_starts_tomorrow() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.DayOutOfRange.selector, TODAY + 1, 0, TODAY));
        royalty.open(duo(), tariff(), TODAY + 1, "");
    }

    function test_open_takes_1_and_256_holders() public {
        royalty.open(crowd(1, 100), tariff(), TODAY, "");
        royalty.open(crowd(256, 100), tariff(), TODAY, "");
        vm.assertEq(royalty.splitHash(crowd(256, 100)), keccak256(crowd(256, 100)), "hash");
    }

    function test_open_reverts_when_the_split_is_not_1_to_256_whole_holders() public {
        refuse("", abi.encodeWithSelector(IRoyalty.SplitLength.selector, 0));
        refuse(bytes.concat(duo(), hex"00"), abi.encodeWithSelector(IRoyalty.SplitLength.selector, 49));
        refuse(crowd(257, 100), abi.encodeWithSelector(IRoyalty.SplitLength.selector, 257 * 24));
    }

    function test_open_reverts_when_holders_are_not_strictly_ascending() public {
        bytes memory twice = abi.encodePacked(address(5), uint32(500_000), address(5), uint32(500_000));
        refuse(twice, abi.encodeWithSelector(IRoyalty.SplitOrder.selector, 1, address(5)));
        bytes memory falling = abi.encodePacked(address(6), uint32(500_000), address(5), uint32(500_000));
        refuse(falling, abi.encodeWithSelector(IRoyalty.SplitOrder.selector, 1, address(5)));
    }

    function test_open_reverts_when_a_share_is_zero() public {
        bytes memory split = abi.encodePacked(address(5), uint32(1_000_000), address(6), uint32(0));
        refuse(split, abi.encodeWithSelector(IRoyalty.ShareZero.selector, 1, address(6)));
    }

    function test_open_reverts_when_shares_do_not_sum_to_the_whole() public {
        refuse(
            pair(address(5), 1, address(6), 999_998),
            abi.encodeWithSelector(IRoyalty.ShareSum.selector, 999_999)
        );
        refuse(
            pair(address(5), 1, address(6), 1_000_000),
            abi.encodeWithSelector(IRoyalty.ShareSum.selector, 1_000_001)
        );
        uint256 wrapped = 2 * uint256(type(uint32).max);
        refuse(
            pair(address(5), type(uint32).max, address(6), type(uint32).max),
            abi.encodeWithSelector(IRoyalty.ShareSum.selector, wrapped)
        );
    }

    function test_open_reverts_when_money_would_be_stuck_with_a_holder() public {
        address[3] memory traps = [address(0), address(royalty), address(usd)];
        for (uint256 i; i < 3; ++i) {
            refuse(
                pair(traps[i], 500_000, director, 500_000),
                abi.encodeWithSelector(IRoyalty.AddressRefused.selector, traps[i])
            );
        }
    }

    function test_splitHash_reverts_where_open_would() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.ShareSum.selector, 999_999));
        royalty.splitHash(pair(address(5), 1, address(6), 999_998));
    }

    function test_a_catalogue_that_does_not_exist_reads_as_nothing() public {
        (address owner, uint16 version, uint24 works) = royalty.catalogueOf(9);
        vm.assertEq(owner, address(0), "owner");
        vm.assertEq(version, 0, "version");
        vm.assertEq(works, 0, "works");
        (Deal memory deal, bytes32 hash) = royalty.dealOf(9, 1);
        vm.assertFalse(deal.exists, "deal");
        vm.assertEq(hash, bytes32(0), "hash");
        vm.assertEq(royalty.versionOn(9, TODAY), 0, "none in force");
    }

    function test_a_catalogue_is_a_token_that_takes_no_ether() public {
        openCatalogue();
        vm.assertEq(royalty.name(), "Royalty Catalogue", "name");
        vm.assertEq(royalty.symbol(), "ROYALTY", "symbol");
        vm.assertEq(royalty.tokenURI(1), "", "what describes it stands in events");
        vm.assertEq(royalty.balanceOf(producer), 1, "balance");
        vm.assertTrue(royalty.supportsInterface(0x80ac58cd), "ERC-721");
        vm.deal(producer, 1 ether);
        vm.startPrank(producer);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.ValueRefused.selector, 1));
        royalty.transferFrom{value: 1}(producer, stranger, 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.ValueRefused.selector, 2));
        royalty.safeTransferFrom{value: 2}(producer, stranger, 1);
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.ValueRefused.selector, 3));
        royalty.approve{value: 3}(stranger, 1);
        royalty.approve(stranger, 1);
        royalty.transferFrom(producer, stranger, 1);
        vm.assertEq(royalty.ownerOf(1), stranger, "moved");
        (, uint16 version, ) = royalty.catalogueOf(1);
        vm.assertEq(version, 1, "what is kept beside the owner stays");
    }

    function test_tokenURI_reverts_when_there_is_no_such_catalogue() public {
        vm.expectRevert(ERC721.TokenDoesNotExist.selector);
        royalty.tokenURI(1);
    }

    function refuse(bytes memory split, bytes memory reason) private {
        vm.expectRevert(reason);
        royalty.open(split, tariff(), TODAY, "");
    }
}

contract RegisterTest is Stage {
    function test_register_numbers_works_from_0_on() public {
        uint32 catalogue = openCatalogue();
        vm.startPrank(producer);
        vm.expectEmit(address(royalty));
        emit IRoyalty.WorksRegistered(catalogue, 0, producer, prints(3), keccak256("meta"), "ipfs://m");
        vm.assertEq(royalty.register(catalogue, prints(3), keccak256("meta"), "ipfs://m"), 0, "first");
        vm.expectEmit(address(royalty));
        emit IRoyalty.WorksRegistered(catalogue, 3, producer, prints(2), 0, "");
        vm.assertEq(royalty.register(catalogue, prints(2), 0, ""), 3, "second");
        (, uint16 version, uint24 works) = royalty.catalogueOf(catalogue);
        vm.assertEq(works, 5, "counted");
        vm.assertEq(version, 1, "the version is untouched");
    }

    function test_register_reverts_for_everybody_but_the_owner() public {
        uint32 catalogue = openCatalogue();
        vm.prank(producer);
        royalty.setApprovalForAll(stranger, true);
        vm.expectRevert(
            abi.encodeWithSelector(IRoyalty.NotCatalogueOwner.selector, catalogue, stranger, producer)
        );
        vm.prank(stranger);
        royalty.register(catalogue, prints(1), 0, "");
    }

    function test_register_follows_the_owner() public {
        uint32 catalogue = openCatalogue();
        vm.prank(producer);
        royalty.transferFrom(producer, stranger, catalogue);
        vm.prank(stranger);
        royalty.register(catalogue, prints(1), 0, "");
        vm.expectRevert(
            abi.encodeWithSelector(IRoyalty.NotCatalogueOwner.selector, catalogue, producer, stranger)
        );
        vm.prank(producer);
        royalty.register(catalogue, prints(1), 0, "");
    }

    function test_register_reverts_when_the_catalogue_is_unknown() public {
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.CatalogueUnknown.selector, 7));
        royalty.register(7, prints(1), 0, "");
    }

    function test_register_reverts_when_nothing_is_given() public {
        uint32 catalogue = openCatalogue();
        vm.prank(producer);
        vm.expectRevert(IRoyalty.NothingToRegister.selector);
        royalty.register(catalogue, new bytes32[](0), 0, "");
    }

    function test_register_fills_a_catalogue_to_its_last_number() public {
        IEdgeLedger house = edge();
        vm.startPrank(producer);
        uint32 catalogue = house.open(duo(), tariff(), TODAY, "");
        house.setWorks(catalogue, type(uint24).max - 1);
        vm.assertEq(house.register(catalogue, prints(1), 0, ""), type(uint24).max - 1, "the last one");
        vm.expectRevert(abi.encodeWithSelector(IRoyalty.CatalogueFull.selector, catalogue));
        house.register(catalogue, prints(1), 0, "");
    }

    function prints(uint256 count) private pure returns (bytes32[] memory fingerprints) {
        fingerprints = new bytes32[](count);
        for (uint256 i; i < count; ++i) fingerprints[i] = keccak256(abi.encode(i));
    }
}
