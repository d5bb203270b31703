"""`python -m noise2noise`: the command line."""

from noise2noise.cli import main

main()
