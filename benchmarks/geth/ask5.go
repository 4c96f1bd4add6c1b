package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common/mclock"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/discover/v5wire"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

// onePacket is how many records certainly fit into a packet.
const onePacket = 3

// firstRequest is the id of the first request.  None begins with a zero byte: ChainSafe leaves that out of its answer.
const firstRequest = 1 << 31

// farthest is the greatest logarithmic distance of two ids.
const farthest = 256

// identity is who speaks, and its sessions.
type identity struct {
	local   *enode.LocalNode
	codec   *v5wire.Codec
	pending v5wire.Packet
	nonce   v5wire.Nonce
}

// newIdentity has a record that says where it is, if it is told.
func newIdentity(records *enode.DB, wanted func(enode.ID) bool, entries ...enr.Entry) *identity {
	for {
		key, err := crypto.GenerateKey()
		must(err)
		if !wanted(enode.PubkeyToIDV4(&key.PublicKey)) {
			continue
		}
		local := enode.NewLocalNode(records, key)
		for _, entry := range entries {
			local.Set(entry)
		}
		local.Node() // is signed now
		return &identity{local: local, codec: v5wire.NewCodec(local, key, mclock.System{}, nil)}
	}
}

// asker5 speaks discovery v5: as one and the same, or in the measurement of handshakes each time as another, who does
// not say where he is, so that no server wants to know him better.
type asker5 struct {
	*port[v5wire.Packet]
	server    *enode.Node
	address   string
	records   *enode.DB
	request   func(id []byte) v5wire.Packet
	strangers bool
	prepared  []*identity
	requests  uint32

	mutex   sync.Mutex
	self    *identity
	current *identity // who asks now
}

func newAsker5(server *enode.Node, request string, number int) asker {
	records, err := enode.OpenDB("")
	must(err)
	endpoint, _ := server.UDPEndpoint()
	a := &asker5{
		port:      newPort[v5wire.Packet](server),
		server:    server,
		address:   endpoint.String(),
		records:   records,
		request:   ping5,
		strangers: request == "handshake",
		requests:  firstRequest,
	}
	if request == "findnode" {
		a.request = findnode5
	}
	// in two of the server's buckets, since one has no room for all
	wanted := func(id enode.ID) bool { return enode.LogDist(server.ID(), id) == farthest-number%2 }
	addr := a.addr()
	a.self = newIdentity(records, wanted, enr.IP(addr.IP), enr.UDP(addr.Port), enr.TCP(addr.Port))
	a.current = a.self
	return a
}

func (a *asker5) node() *enode.Node { return a.self.local.Node() }

func (a *asker5) listen() { a.hear(a.receive) }

func ping5(id []byte) v5wire.Packet { return &v5wire.Ping{ReqID: id, ENRSeq: 1} }

func findnode5(id []byte) v5wire.Packet {
	return &v5wire.Findnode{ReqID: id, Distances: []uint{farthest, farthest - 1}}
}

// encode is called with the mutex held.
func (a *asker5) encode(who *identity, packet v5wire.Packet, challenge *v5wire.Whoareyou) ([]byte, v5wire.Nonce) {
	encoded, nonce, err := who.codec.Encode(a.server.ID(), a.address, packet, challenge)
	must(err)
	return slices.Clone(encoded), nonce
}

// receive answers what a node has to answer.
func (a *asker5) receive(data []byte) (v5wire.Packet, bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	who := a.current
	_, _, packet, err := who.codec.Decode(data, a.address)
	if err != nil && who != a.self {
		who = a.self
		_, _, packet, err = who.codec.Decode(data, a.address)
	}
	if err != nil { // for one who has gone
		return nil, false
	}
	answer := func(packet v5wire.Packet, challenge *v5wire.Whoareyou) {
		encoded, _ := a.encode(who, packet, challenge)
		a.send(encoded)
	}
	switch packet := packet.(type) {
	case *v5wire.Whoareyou:
		if packet.Nonce == who.nonce && who.pending != nil {
			packet.Node = a.server
			answer(who.pending, packet)
			who.pending = nil
		}
	case *v5wire.Unknown:
		challenge := &v5wire.Whoareyou{Nonce: packet.Nonce}
		rand.Read(challenge.IDNonce[:])
		answer(challenge, nil)
	case *v5wire.Ping:
		addr, _ := a.server.UDPEndpoint()
		pong := &v5wire.Pong{ReqID: packet.ReqID, ENRSeq: who.local.Seq(), ToIP: addr.Addr().AsSlice(), ToPort: addr.Port()}
		answer(pong, nil)
	case *v5wire.Findnode:
		nodes := &v5wire.Nodes{ReqID: packet.ReqID, RespCount: 1}
		for _, node := range everybody {
			distance := uint(enode.LogDist(who.local.ID(), node.ID()))
			if slices.Contains(packet.Distances, distance) && len(nodes.Nodes) < onePacket {
				nodes.Nodes = append(nodes.Nodes, node.Record())
			}
		}
		answer(nodes, nil)
	case *v5wire.TalkRequest:
		answer(&v5wire.TalkResponse{ReqID: packet.ReqID}, nil)
	default:
		return packet, true
	}
	return nil, false
}

func (a *asker5) greet() { a.answered(ping5) }

func (a *asker5) prepare(count int) {
	if !a.strangers {
		return
	}
	anybody := func(enode.ID) bool { return true }
	for i := 0; i < count; i++ {
		a.prepared = append(a.prepared, newIdentity(a.records, anybody))
	}
}

func (a *asker5) ask() {
	if a.strangers {
		a.mutex.Lock()
		a.current, a.prepared = a.prepared[0], a.prepared[1:]
		a.mutex.Unlock()
	}
	a.answered(a.request)
}

func (a *asker5) told() int { return a.answered(findnode5) }

// answered returns once a request is answered in full, and says how many nodes were named.
func (a *asker5) answered(request func(id []byte) v5wire.Packet) int {
	a.requests++
	id := binary.BigEndian.AppendUint32(nil, a.requests)
	encode := func() []byte {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		who, packet := a.current, request(id)
		encoded, nonce := a.encode(who, packet, nil)
		who.pending, who.nonce = packet, nonce
		return encoded
	}
	packets, nodes := 0, 0
	a.exchange(encode, func(packet v5wire.Packet) bool {
		if !bytes.Equal(packet.RequestID(), id) {
			return false
		}
		named, ok := packet.(*v5wire.Nodes)
		if !ok {
			return true
		}
		packets++
		nodes += len(named.Nodes)
		return packets == int(named.RespCount)
	})
	return nodes
}
