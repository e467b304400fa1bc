"""``python -m masksolve``, the same as the ``masksolve`` command."""

from .cli import main

if __name__ == "__main__":
    main()
