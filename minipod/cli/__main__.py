"""`python -m minipod.cli`: the same as the `minipod` command."""

from minipod.cli.main import main

main()
