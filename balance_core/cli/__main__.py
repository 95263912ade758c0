"""`python -m balance_core.cli`: the command line, where the program is not on the path."""

from balance_core.cli import main

main()
