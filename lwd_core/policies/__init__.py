"""Deployable policies: bundle, registry, release channels, inference."""
