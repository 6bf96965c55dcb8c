"""`python -m noble_net` is `noble-net`."""

from noble_net.cli import main

if __name__ == "__main__":
    main()
