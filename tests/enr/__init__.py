"""Tests of L{ethp2p.enr}."""
