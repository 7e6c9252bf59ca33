"""The policy server: robots elsewhere send what they see over a websocket and get chunks of actions."""
