// Command geth-driver plays one side of a benchmark with go-ethereum's p2p.Server or its p2p/discover, and asks in all
// benchmarks of discovery; see benchmarks/drivers.py for the words that it and the harness exchange.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Message codes of the capability bench/1.
const (
	msgData = iota
	msgDone
	msgCodes
)

// dialed is the flag that p2p.Server gives to the connections its own scheduler makes.
const dialed = 1

type task struct {
	Role     string `json:"role"`
	Scenario string `json:"scenario"`
	Port     int    `json:"port"`
	Enode    string `json:"enode"`
	Warmup   int    `json:"warmup"`
	Count    int    `json:"count"`
	Size     int    `json:"size"`
	Parallel int    `json:"parallel"`
	Protocol string `json:"protocol"`
	Request  string `json:"request"`
	Node     string `json:"node"`
}

var input = bufio.NewReader(os.Stdin)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version())
		return
	}
	var t task
	must(json.Unmarshal([]byte(os.Args[1]), &t))
	roles := map[string]func(task){"serve": serve, "dial": dial, "answer": answer, "ask": ask}
	roles[t.Role](t)
}

// version tells how the program was built: without cgo, go-ethereum's curve arithmetic is slower.
func version() string {
	words := runtime.Version()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "CGO_ENABLED" {
				words += ", CGO_ENABLED=" + setting.Value
			}
		}
	}
	return words
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "geth-driver:", err)
		os.Exit(1)
	}
}

func say(words map[string]any) {
	line, err := json.Marshal(words)
	must(err)
	fmt.Println(string(line))
}

// run says that the warm-up is over, waits for the word to go, measures the units, and stays until dismissed.
func run(t task, units func()) {
	say(map[string]any{"warm": true})
	_, err := input.ReadString('\n')
	must(err)
	idle := t.Scenario == "idle"
	resident := rss(idle)
	begun, used := time.Now(), cpu()
	units()
	result := map[string]any{
		"units": t.Count,
		"wall":  time.Since(begun).Seconds(),
		"cpu":   cpu() - used,
	}
	if idle {
		time.Sleep(time.Second)
		result["grown"] = rss(idle) - resident
	}
	if t.Role == "ask" {
		result["lost"] = lost.Load()
	}
	say(result)
	io.Copy(io.Discard, input)
}

func cpu() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// rss is the resident memory in KiB, after giving back what can be given back.
func rss(collect bool) int {
	if !collect {
		return 0
	}
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmRSS:") {
			var kib int
			fmt.Sscanf(strings.TrimPrefix(line, "VmRSS:"), "%d", &kib)
			return kib
		}
	}
	panic("no VmRSS")
}

// newServer starts a p2p.Server that speaks bench/1 and neither discovers nor dials by itself.
func newServer(listen string, run func(*p2p.Peer, p2p.MsgReadWriter) error) *p2p.Server {
	key, err := crypto.GenerateKey()
	must(err)
	server := &p2p.Server{Config: p2p.Config{
		PrivateKey:  key,
		Name:        "bench",
		MaxPeers:    2000,
		DialRatio:   1000,
		NoDiscovery: true,
		NoDial:      true,
		ListenAddr:  listen,
		Protocols:   []p2p.Protocol{{Name: "bench", Version: 1, Length: msgCodes, Run: run}},
	}}
	must(server.Start())
	return server
}

// untilLost keeps a connection that has nothing to say.
func untilLost(rw p2p.MsgReadWriter) error {
	for {
		msg, err := rw.ReadMsg()
		if err != nil {
			return err
		}
		msg.Discard()
	}
}

func serve(t task) {
	units := make(chan struct{}, t.Warmup+t.Count)
	server := newServer(fmt.Sprintf("127.0.0.1:%d", t.Port), func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
		if t.Scenario != "messages" {
			units <- struct{}{}
			return untilLost(rw)
		}
		for _, count := range []int{t.Warmup, t.Count} {
			for i := 0; i < count; i++ {
				msg, err := rw.ReadMsg()
				if err != nil {
					return err
				}
				if int(msg.Size) != t.Size {
					return fmt.Errorf("got %d bytes instead of %d", msg.Size, t.Size)
				}
				msg.Discard()
			}
			if err := p2p.SendItems(rw, msgDone); err != nil {
				return err
			}
			units <- struct{}{}
		}
		return untilLost(rw)
	})
	say(map[string]any{"enode": fmt.Sprintf("enode://%x@127.0.0.1:%d",
		crypto.FromECDSAPub(&server.PrivateKey.PublicKey)[1:], t.Port)})
	warmup, count := t.Warmup, t.Count
	if t.Scenario == "messages" {
		warmup, count = 1, 1
	}
	take := func(n int) {
		for i := 0; i < n; i++ {
			<-units
		}
	}
	take(warmup)
	run(t, func() { take(count) })
}

func dial(t task) {
	node := enode.MustParse(t.Enode)
	switch t.Scenario {
	case "handshakes":
		dialHandshakes(t, node)
	case "idle":
		dialIdle(t, node)
	case "messages":
		dialMessages(t, node)
	}
}

// connect makes one connection, with Hello both ways, from a server of its own.
func connect(server *p2p.Server, node *enode.Node) net.Conn {
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(node.TCP()))
	conn, err := net.Dial("tcp", address)
	must(err)
	must(server.SetupConn(conn, dialed, node))
	return conn
}

func quiet(_ *p2p.Peer, rw p2p.MsgReadWriter) error { return untilLost(rw) }

// dialHandshakes connects and hangs up.  The identities rotate, so that none comes back before its last
// connection is forgotten by both sides.
func dialHandshakes(t task, node *enode.Node) {
	identities := make(chan *p2p.Server, 64)
	for i := 0; i < cap(identities); i++ {
		identities <- newServer("", quiet)
	}
	handshakes := func(total int) {
		var workers sync.WaitGroup
		for w := 0; w < t.Parallel; w++ {
			share := total / t.Parallel
			if w < total%t.Parallel {
				share++
			}
			workers.Add(1)
			go func() {
				defer workers.Done()
				for i := 0; i < share; i++ {
					server := <-identities
					connect(server, node).Close()
					identities <- server
				}
			}()
		}
		workers.Wait()
	}
	handshakes(t.Warmup)
	run(t, func() { handshakes(t.Count) })
}

func dialIdle(t task, node *enode.Node) {
	var servers []*p2p.Server
	for i := 0; i < t.Warmup+t.Count; i++ {
		servers = append(servers, newServer("", quiet))
	}
	for _, server := range servers[:t.Warmup] {
		connect(server, node)
	}
	run(t, func() {
		for _, server := range servers[t.Warmup:] {
			connect(server, node)
		}
	})
}

func dialMessages(t task, node *enode.Node) {
	payload := make([]byte, t.Size)
	rand.Read(payload)
	phases, acknowledged := make(chan int), make(chan struct{})
	server := newServer("", func(_ *p2p.Peer, rw p2p.MsgReadWriter) error {
		for count := range phases {
			for i := 0; i < count; i++ {
				must(rw.WriteMsg(p2p.Msg{Code: msgData, Size: uint32(t.Size), Payload: bytes.NewReader(payload)}))
			}
			msg, err := rw.ReadMsg()
			must(err)
			if msg.Code != msgDone {
				must(fmt.Errorf("got code %d", msg.Code))
			}
			msg.Discard()
			acknowledged <- struct{}{}
		}
		return untilLost(rw)
	})
	connect(server, node)
	send := func(count int) {
		phases <- count
		<-acknowledged
	}
	send(t.Warmup)
	run(t, func() { send(t.Count) })
}
