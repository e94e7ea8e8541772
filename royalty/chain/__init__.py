"""All that knows the chain: the only part of the package that imports web3 and eth_account."""
