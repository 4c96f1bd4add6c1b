package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

const (
	// patience is how long an answer may take; then the same is asked again.
	patience = time.Second
	// tries is how often the same is asked.
	tries = 10
	// fullAnswer is how many nodes a server tells of at most; one may leave out who asks after it has chosen them.
	fullAnswer = 16
	enough     = fullAnswer - 1
	// extras are nodes beside those that ask, so that a server that does not tell of the asker has enough.
	extras = 8
	// filling is how long it may take until a server tells of so many.
	filling = 120 * time.Second
	// settling is for what a server does about new nodes.
	settling = time.Second
	// greetings is how often a node makes itself known again; a server may leave one alone that has just been heard.
	greetings = 15 * time.Second
)

// lost counts answers that did not come in time.
var lost atomic.Int64

// everybody is all askers: a node that never knows anybody is soon forgotten.
var everybody []*enode.Node

// An asker is a node on a UDP port of its own that asks the server one thing at a time, and answers what it is asked.
type asker interface {
	// node is who it is, and where.
	node() *enode.Node
	// listen begins to answer.
	listen()
	// greet makes itself known to the server.
	greet()
	// prepare makes so many requests ready, so that asking costs little.
	prepare(count int)
	// ask asks what was prepared next, and returns when the whole answer is there.
	ask()
	// told asks the server for nodes, and says how many it names.
	told() int
}

// ask puts load on a server.  A unit is a question that is answered in full.
func ask(t task) {
	server := enode.MustParse(t.Node)
	var askers []asker
	for i := 0; i < t.Parallel+extras; i++ {
		if t.Protocol == "discv4" {
			askers = append(askers, newAsker4(server, t.Request))
		} else {
			askers = append(askers, newAsker5(server, t.Request, i))
		}
	}
	for _, one := range askers {
		everybody = append(everybody, one.node())
	}
	for _, one := range askers {
		go one.listen()
	}
	introduce(askers, t.Request == "findnode")
	askers = askers[:t.Parallel]
	each := func(count int, do func(asker, int)) {
		var all sync.WaitGroup
		for i, one := range askers {
			all.Add(1)
			go func() {
				defer all.Done()
				do(one, (count+i)/len(askers))
			}()
		}
		all.Wait()
	}
	phase := func(one asker, share int) {
		for i := 0; i < share; i++ {
			one.ask()
		}
	}
	each(t.Warmup, asker.prepare)
	each(t.Count, asker.prepare)
	each(t.Warmup, phase)
	lost.Store(0)
	run(t, func() { each(t.Count, phase) })
}

// introduce makes all known to the server, if need be so well that it tells others of them.
func introduce(askers []asker, well bool) {
	deadline, greeted := time.Now().Add(filling), time.Time{}
	for {
		if time.Since(greeted) > greetings {
			for _, one := range askers {
				one.greet()
			}
			greeted = time.Now()
		}
		time.Sleep(settling)
		if !well {
			return
		}
		told := askers[0].told()
		if told >= enough {
			return
		}
		if time.Now().After(deadline) {
			must(fmt.Errorf("the server tells of %d nodes only", told))
		}
	}
}

// A port is the UDP side of an asker: a socket, and the replies that have come.
type port[reply any] struct {
	conn    *net.UDPConn
	replies chan reply
}

func newPort[reply any](server *enode.Node) *port[reply] {
	endpoint, ok := server.UDPEndpoint()
	if !ok {
		must(errors.New("the server has no UDP port"))
	}
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(endpoint))
	must(err)
	return &port[reply]{conn: conn, replies: make(chan reply, 64)}
}

// hear hands every packet to receive, which makes a reply of it, or deals with it and says false.
func (p *port[reply]) hear(receive func(packet []byte) (reply, bool)) {
	for {
		packet := make([]byte, 2048) // EthereumJS sends more than the 1280 bytes that are allowed
		n, err := p.conn.Read(packet)
		if err != nil {
			continue // an ICMP message about an earlier packet
		}
		if r, ok := receive(packet[:n]); ok {
			select {
			case p.replies <- r:
			default: // nobody waits
			}
		}
	}
}

// send sends; what is lost is asked again.
func (p *port[reply]) send(packet []byte) { p.conn.Write(packet) }

// exchange sends a request until take says that it has the whole answer.
func (p *port[reply]) exchange(request func() []byte, take func(reply) bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for try := 0; try < tries; try++ {
		p.send(request())
		timer.Reset(patience)
		for waiting := true; waiting; {
			select {
			case r := <-p.replies:
				if take(r) {
					return
				}
			case <-timer.C:
				lost.Add(1)
				waiting = false
			}
		}
	}
	must(errors.New("no answer"))
}

// addr is where it is.
func (p *port[reply]) addr() *net.UDPAddr { return p.conn.LocalAddr().(*net.UDPAddr) }
