"""
Windows into a node: JSON-RPC 2.0 and health over HTTP.

Speaks JSON-RPC 2.0 (jsonrpc.org) with the method names and JSON shapes of geth's C{admin}, C{net} and C{web3}
namespaces.  It sees the node through L{INodeFacade} only.  Floor 6.

Where others differ:

 - A notification, or a batch of them, is answered 204 with no body; geth answers 200 with none.
 - Parameters may also be given by name, as JSON-RPC allows; geth refuses that.
 - An address that cannot be one is -32602, invalid params; geth gives -32000.
"""

from ethp2p.web.facade import INodeFacade, IPeerInfo
from ethp2p.web.registry import Registry
from ethp2p.web.service import WebService

__all__ = ["INodeFacade", "IPeerInfo", "Registry", "WebService"]
