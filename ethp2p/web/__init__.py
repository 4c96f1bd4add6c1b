"""
Windows into a node: JSON-RPC 2.0 over HTTP, WebSocket and a unix socket; numbers for Prometheus; health.

Speaks JSON-RPC 2.0 (jsonrpc.org) with the method names and JSON shapes of geth's C{admin}, C{net}, C{rpc} and C{web3}
namespaces, and C{ethp2p} for what only we have; C{geth attach} works over all three.  It sees the node through
L{INodeFacade} only.  Floor 6.

Where others differ:

 - A notification, or a batch of them, is answered 204 with no body; geth answers 200 with none.
 - Parameters may also be given by name, as JSON-RPC allows; geth refuses that.
 - An address that cannot be one is -32602, invalid params; geth gives -32000.
 - Calls over one connection are answered in their order; geth answers the quickest first.
 - A subscriber that does not read loses events, and is told how many; geth closes its connection.
 - C{admin_peerEvents} has C{add} and C{drop} alone.
 - A unix socket on which somebody listens is left to him; geth takes it away.
"""

from ethp2p.web.facade import Finding, INodeFacade, IPeerInfo, Sample
from ethp2p.web.ipc import IPCService
from ethp2p.web.registry import Registry
from ethp2p.web.service import WebService

__all__ = ["Finding", "INodeFacade", "IPCService", "IPeerInfo", "Registry", "Sample", "WebService"]
