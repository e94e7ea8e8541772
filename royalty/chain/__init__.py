"""All that knows the chain: alone imports web3, eth_account and eth_abi."""
