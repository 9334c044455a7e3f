"""`python -m daskmeans` is the command line."""

from daskmeans.edges.cli import main

if __name__ == "__main__":
    main()
