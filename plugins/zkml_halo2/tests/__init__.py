"""The tests of balance-zkml."""
