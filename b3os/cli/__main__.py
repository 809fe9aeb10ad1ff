"""`python -m b3os.cli`: the same as `b3os`."""

from b3os.cli.commands import main

main()
