"""
eth: what Ethereum's nodes tell and ask each other about the chain.

Speaks eth/66 to eth/69 (devp2p caps/eth.md; EIP-2481, EIP-4938, EIP-5793, EIP-7642, and EIP-2124 in Status).
Floor 4: a capability over any L{ethp2p.interfaces.IChannel}, serving any L{ethp2p.interfaces.IChain}.

  - C{messages}: what can be said.
  - C{wire}: how each version says it, as data.
  - C{state}: what may be said when, and to whom.
  - C{serve}: answers to what peers ask.
  - C{verify}: whether their answers are what we asked for.
  - C{observer}: who hears what peers say.
  - C{protocol}: the Twisted shell and its factory.

Known discrepancies with the specification, and between clients:

  - There is no pool and no state here: GetPooledTransactions and GetNodeData get empty answers, as is allowed.
  - The specification does not say what happens to too long lists; here what no client sends is refused.
  - Answers end at the first block that is not here, as EIP-7975 says; some clients leave out that one only.
    Their answers are taken up to the gap.
  - NewBlock and NewBlockHashes are never sent, and only counted when they come: geth disconnects.
  - Block ranges with a zero hash are refused, as geth does; the specification speaks of the order only.
  - Bodies or receipts over the 10 MiB that the specification allows fail the request and are no offence: the
    receipts of one full block can be more, and up to eth/69 there is no other way to send them.
  - What BNB Smart Chain adds to eth/68 (UpgradeStatus; sidecars in blocks) is not spoken.
"""

from ethp2p.eth.observer import IEthObserver, SilentObserver
from ethp2p.eth.protocol import MAX_ASKED, AnswerTooLarge, EthFactory, EthProtocol

__all__ = ["MAX_ASKED", "AnswerTooLarge", "EthFactory", "EthProtocol", "IEthObserver", "SilentObserver"]
