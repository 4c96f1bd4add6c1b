package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/discover/v4wire"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
	"github.com/ethereum/go-ethereum/rlp"
)

const (
	// A packet of discovery v4 is a hash, a signature, the kind and the data.
	hashSize4 = 32
	kindAt4   = hashSize4 + 65
	// goodFor is for how long packets are good: they are signed long before they are sent.
	goodFor = time.Hour
	// checkEach is how many answers come for one whose signature is checked.
	checkEach = 1000
)

// asker4 speaks discovery v4.  Its requests are signed beforehand, and of few answers it checks the signature, so that
// the server is what is measured.
type asker4 struct {
	*port[[]byte]
	key      *ecdsa.PrivateKey
	server   v4wire.Endpoint
	record   *enr.Record
	request  func() []byte
	prepared [][]byte
	pings    uint64
	answers  int
}

func newAsker4(server *enode.Node, request string) asker {
	key, err := crypto.GenerateKey()
	must(err)
	endpoint, _ := server.UDPEndpoint()
	a := &asker4{port: newPort[[]byte](server), key: key, server: v4wire.NewEndpoint(endpoint, endpoint.Port())}
	a.record = new(enr.Record)
	a.record.Set(enr.IP(a.addr().IP))
	a.record.Set(enr.UDP(a.addr().Port))
	a.record.Set(enr.TCP(a.addr().Port))
	a.record.SetSeq(1)
	must(enode.SignV4(a.record, key))
	a.request = map[string]func() []byte{"ping": a.ping, "findnode": a.findnode}[request]
	return a
}

func (a *asker4) node() *enode.Node {
	node, err := enode.New(enode.ValidSchemes, a.record)
	must(err)
	return node
}

func (a *asker4) listen() { a.hear(a.receive) }

func (a *asker4) encode(packet v4wire.Packet) []byte {
	encoded, _, err := v4wire.Encode(a.key, packet)
	must(err)
	return encoded
}

func expiration() uint64 { return uint64(time.Now().Add(goodFor).Unix()) }

// ping has a number at its end, where EIP-8 allows anything: else all of one second were the same.
func (a *asker4) ping() []byte {
	addr := a.addr().AddrPort()
	a.pings++
	number, err := rlp.EncodeToBytes(a.pings)
	must(err)
	return a.encode(&v4wire.Ping{
		Version:    4,
		From:       v4wire.NewEndpoint(addr, addr.Port()),
		To:         a.server,
		Expiration: expiration(),
		ENRSeq:     a.record.Seq(),
		Rest:       []rlp.RawValue{number},
	})
}

func (a *asker4) findnode() []byte {
	packet := &v4wire.Findnode{Expiration: expiration()}
	rand.Read(packet.Target[:])
	return a.encode(packet)
}

// receive answers what a node has to answer.
func (a *asker4) receive(packet []byte) ([]byte, bool) {
	if len(packet) <= kindAt4 {
		return nil, false
	}
	hash := packet[:hashSize4]
	switch packet[kindAt4] {
	case v4wire.PingPacket:
		a.send(a.encode(&v4wire.Pong{To: a.server, ReplyTok: hash, Expiration: expiration(), ENRSeq: a.record.Seq()}))
	case v4wire.FindnodePacket:
		neighbors := &v4wire.Neighbors{Expiration: expiration()}
		for _, node := range everybody[:v4wire.MaxNeighbors] {
			key := v4wire.EncodePubkey(node.Pubkey())
			port := uint16(node.UDP())
			neighbors.Nodes = append(neighbors.Nodes, v4wire.Node{IP: node.IP(), UDP: port, TCP: port, ID: key})
		}
		a.send(a.encode(neighbors))
	case v4wire.ENRRequestPacket:
		a.send(a.encode(&v4wire.ENRResponse{ReplyTok: hash, Record: *a.record}))
	default:
		return packet, true
	}
	return nil, false
}

func (a *asker4) greet() { a.answered(a.ping()) }

func (a *asker4) prepare(count int) {
	for i := 0; i < count; i++ {
		a.prepared = append(a.prepared, a.request())
	}
}

func (a *asker4) ask() {
	request := a.prepared[0]
	a.prepared = a.prepared[1:]
	a.answered(request)
}

// answered returns once a request is answered.  An answer to FindNode does not say to which; it is full at 16 nodes.
func (a *asker4) answered(request []byte) {
	left := fullAnswer
	a.exchange(func() []byte { return request }, func(packet []byte) bool {
		if request[kindAt4] == v4wire.PingPacket {
			return packet[kindAt4] == v4wire.PongPacket && bytes.Contains(packet, request[:hashSize4]) && a.check(packet)
		}
		if packet[kindAt4] == v4wire.NeighborsPacket && a.check(packet) {
			left -= count4(packet)
		}
		return left <= 0
	})
}

func (a *asker4) check(packet []byte) bool {
	if a.answers++; a.answers%checkEach == 1 {
		_, _, _, err := v4wire.Decode(packet)
		must(err)
	}
	return true
}

// count4 is how many nodes a Neighbors packet names.
func count4(packet []byte) int {
	data, _, err := rlp.SplitList(packet[kindAt4+1:])
	must(err)
	nodes, _, err := rlp.SplitList(data)
	must(err)
	count, err := rlp.CountValues(nodes)
	must(err)
	return count
}

func (a *asker4) told() int {
	a.send(a.findnode())
	for count := 0; ; {
		select {
		case packet := <-a.replies:
			if packet[kindAt4] == v4wire.NeighborsPacket {
				count += count4(packet)
			}
		case <-time.After(settling / 4):
			return count
		}
	}
}
