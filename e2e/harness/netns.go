package harness

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// Island is a bridge with network name spaces, so that a server can be cut
// off from its peers and clients without its noticing.
type Island struct {
	tb     testing.TB
	prefix string
	Nets   []Net
}

var islands atomic.Int32

// NewIsland makes n name spaces on a bridge; the error says what the machine
// lacks (root, the program ip).
func NewIsland(tb testing.TB, n int) (*Island, error) {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil, errors.New("network name spaces need root")
	}
	number := islands.Add(1)
	// Names and addresses carry the process id, so that two runs on one
	// machine do not meet.
	i := &Island{tb: tb, prefix: fmt.Sprintf("ym%d%d", os.Getpid()%10000, number)}
	subnet := fmt.Sprintf("10.%d.%d", 200+os.Getpid()%50, number)
	tb.Cleanup(i.remove)
	bridge := i.prefix + "b"
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"addr", "add", subnet + ".1/24", "dev", bridge},
		{"link", "set", bridge, "up"},
	} {
		if err := run("ip", args...); err != nil {
			return nil, err
		}
	}
	for k := range n {
		space, outer, inner := fmt.Sprintf("%sn%d", i.prefix, k), i.port(k), fmt.Sprintf("%si%d", i.prefix, k)
		addr := fmt.Sprintf("%s.%d", subnet, 10+k)
		i.Nets = append(i.Nets, Net{Addr: addr, Space: space})
		for _, args := range [][]string{
			{"netns", "add", space},
			{"link", "add", outer, "type", "veth", "peer", "name", inner},
			{"link", "set", inner, "netns", space},
			{"link", "set", outer, "master", bridge},
			{"link", "set", outer, "up"},
			{"-n", space, "addr", "add", addr + "/24", "dev", inner},
			{"-n", space, "link", "set", inner, "up"},
			{"-n", space, "link", "set", "lo", "up"},
		} {
			if err := run("ip", args...); err != nil {
				return nil, err
			}
		}
	}
	return i, nil
}

func (i *Island) port(k int) string { return fmt.Sprintf("%so%d", i.prefix, k) }

// Cut takes a name space off the bridge, Heal puts it back.
func (i *Island) Cut(k int) error { return run("ip", "link", "set", i.port(k), "down") }

// Heal undoes Cut.
func (i *Island) Heal(k int) error { return run("ip", "link", "set", i.port(k), "up") }

func (i *Island) remove() {
	for _, n := range i.Nets {
		if err := run("ip", "netns", "del", n.Space); err != nil {
			i.tb.Logf("%v", err)
		}
	}
	if err := run("ip", "link", "del", i.prefix+"b"); err != nil {
		i.tb.Logf("%v", err)
	}
}
