package main

import (
	"fmt"
	"net"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/discover"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// answer discovers with one protocol, and tells how much processor time it has used whenever it is asked.
func answer(t task) {
	key, err := crypto.GenerateKey()
	must(err)
	db, err := enode.OpenDB("")
	must(err)
	local := enode.NewLocalNode(db, key)
	local.SetStaticIP(net.IPv4(127, 0, 0, 1))
	local.SetFallbackUDP(t.Port)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: t.Port})
	must(err)
	// So the table is soon full of nodes that may be told of.  Twenty checks a second are little load.
	config := discover.Config{PrivateKey: key, PingInterval: 100 * time.Millisecond}
	if t.Protocol == "discv4" {
		_, err = discover.ListenV4(conn, local, config)
	} else {
		_, err = discover.ListenV5(conn, local, config)
	}
	must(err)
	say(map[string]any{
		"enode": fmt.Sprintf("enode://%x@127.0.0.1:%d", crypto.FromECDSAPub(&key.PublicKey)[1:], t.Port),
		"enr":   local.Node().String(),
	})
	for {
		if _, err := input.ReadString('\n'); err != nil {
			return
		}
		say(map[string]any{"cpu": cpu()})
	}
}
