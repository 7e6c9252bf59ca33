def register_third_party_plugins():
    """Nobody's."""
