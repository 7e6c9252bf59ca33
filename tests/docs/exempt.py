"""Lines of the pages that are not run as they stand, each with its reason. Nothing else is left out."""

#: line of a page -> why it is left out
EXEMPT = {
    "source .venv/bin/activate": "the tests run in an environment of their own",
    "make test": "it runs these tests",
    "make audit": "it asks a database of advisories on the network",
    "make docs": "tests/docs/test_site.py builds the site",
}

#: beginnings of lines that start a server: it is started, looked at and ended
SERVERS = ("make ui", "lwd episode view", "lwd studio")
