"""Tests of L{ethp2p.dnsdisc}."""
