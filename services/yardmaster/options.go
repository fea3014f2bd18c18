package yardmaster

import (
	"context"
	"fmt"
	"net"
	"strings"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/services/gateway"
	"yardmaster.dev/services/simulator"
)

// Options are the flags of yardmaster up.
type Options struct {
	// Dir is the data folder.
	Dir string
	// Gateway, NATS, VCenter and Control are the addresses of what runs;
	// all on loopback.
	Gateway string
	NATS    string
	VCenter string
	Control string
	// Shards is how many ledger shards a new yard gets.
	Shards int
	// Example is applied to a new yard; empty applies nothing.
	Example string
	// ESXi makes the simulated site a lone host instead of a vCenter.
	ESXi bool
	// Images is where the simulated site takes images from; without a key
	// file it takes none.
	Images fleet.SiteImages
}

// DefaultOptions are those of make up.
func DefaultOptions() Options {
	return Options{
		Dir:     ".yard",
		Gateway: gateway.DefaultListen,
		NATS:    "127.0.0.1:4222",
		VCenter: simulator.DefaultListen,
		Control: simulator.DefaultControl,
		Shards:  1,
		Example: "examples/first.yaml",
	}
}

// datacenter is the simulated one's name; a lone host has but one.
func (o Options) datacenter() string {
	if o.ESXi {
		return ""
	}
	return "dc1"
}

func (o Options) files() files { return files(o.Dir) }

// checkPorts names every port that somebody else has, before anything is
// started.
func (o Options) checkPorts(ctx context.Context) error {
	var taken []string
	for _, a := range []struct{ what, addr, flag string }{
		{"gateway", o.Gateway, "--gateway"},
		{"nats", o.NATS, "--nats"},
		{"vcenter", o.VCenter, "--vcenter"},
		{"simulator's control", o.Control, "--control"},
	} {
		l, err := service.Listen(ctx, a.addr)
		if err != nil {
			taken = append(taken, fmt.Sprintf("%s: %v; stop it or choose another with %s", a.what, err, a.flag))
			continue
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("try %s: %w", a.addr, err)
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("%s", strings.Join(taken, "\n"))
	}
	return nil
}

func splitAddr(addr string) (string, int, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", addr, err)
	}
	return a.IP.String(), a.Port, nil
}
