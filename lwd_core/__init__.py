"""The domain: logs, lake, labels, snapshots, learning, policies, fleet. Knows no orchestrator."""
