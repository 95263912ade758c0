"""The `ipfs` storage of Balance: content on IPFS nodes and behind their gateways, none of which is believed."""
