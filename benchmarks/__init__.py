"""
What we claim about speed, measured side by side with others' implementations.

C{python -m benchmarks} runs the same scenarios with ethp2p, with EthereumJS's devp2p library and with
go-ethereum's p2p package, in two processes on loopback, one on each of two cores.  Every run has all of them in
turn, so that what else the machine does hurts them alike; trust the ratios.

In RLPx each implementation speaks with itself.  All three do the same work: TCP, the RLPx handshake in its EIP-8 form
and Hello both ways; then messages of a capability C{bench/1}, compressed with snappy, the same random bytes each time,
acknowledged once at the end.

In discovery one program, made of go-ethereum's wire packages, asks ethp2p, go-ethereum, EthereumJS (discovery v4) and
ChainSafe's library (discovery v5): from sixteen nodes at once, and each question must be answered in full.  Handshakes
are with nodes that were never seen before and whose records do not say where they are, so that only the handshake
and its one ping are measured; a full answer to findnode has sixteen nodes.

The household is measured alone: what a node does with a thousand peers, and with two thousand callers in ten seconds.
What it is held to there are limits, and not others.
"""
