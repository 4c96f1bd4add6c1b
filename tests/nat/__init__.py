"""Tests of L{ethp2p.nat}."""
