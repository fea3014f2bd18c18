package vcenter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// stranger is a VM that is not the yard's.
type stranger struct {
	ref  ref
	name string
}

// strangersOf picks the addresses of others out of a sweep. The yard's own
// VMs, lost ones too, are not among them: the planner knows whose they are.
func strangersOf(seen map[ref]entry, yard string) map[string]stranger {
	out := map[string]stranger{}
	for r, e := range seen {
		o, err := executor.ParseOwner(e.owner)
		if e.address == "" || e.template != nil || err == nil && o.Yard == yard {
			continue
		}
		if had, twice := out[e.address]; !twice || e.name < had.name {
			out[e.address] = stranger{r, e.name}
		}
	}
	return out
}

// contested says which machine of ours has an address that a VM of others
// has too, empty if none does; the caller holds the lock.
func (s *sightings) contested() string {
	var words []string
	for _, k := range s.known {
		if other, ok := s.strangers[k.address]; ok && other.ref != k.ref {
			words = append(words, fmt.Sprintf("%s of node %s-%s: VM %s, not this yard's, has it too", k.address, k.fleet, k.owner.Node, other.name))
		}
	}
	slices.Sort(words)
	if len(words) > contestedMost {
		words = append(words[:contestedMost], fmt.Sprintf("and %d more", len(words)-contestedMost))
	}
	return strings.Join(words, "; ")
}

// contestedMost is how many addresses one message names.
const contestedMost = 3

// conflict is what the last sweep found of addresses that two machines have.
func (s *sightings) conflict() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conflicts
}

// stranger is who else was seen with an address.
func (s *sightings) stranger(addr string) (stranger, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.strangers[addr]
	return found, ok
}

// vacant refuses a job one of whose addresses another VM has. The sweep may
// be some minutes old, so that VM is asked once more.
func (c *connection) vacant(ctx context.Context, t *executor.Task) error {
	var taken, words []string
	for _, n := range t.Job.Networks {
		who, ok := c.sightings.stranger(n.Addr)
		if !ok {
			continue
		}
		seen, err := c.glance(ctx, []ref{who.ref})
		if err != nil {
			return err
		}
		if seen[who.ref] == n.Addr {
			taken = append(taken, n.Addr)
			words = append(words, fmt.Sprintf("%s of Network %s: VM %s, not this yard's, has it", n.Addr, n.Network, who.name))
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Transient, Reason: fault.AddressTaken, Err: &takenError{addresses: taken, words: strings.Join(words, "; ")},
		Hint: "the node gets another address; give that VM another one, or take it out of the Network with spec.exclude",
	}
}

// takenError names the addresses that others use.
type takenError struct {
	addresses []string
	words     string
}

// Error implements error.
func (e *takenError) Error() string { return e.words }

// Taken are the addresses.
func (e *takenError) Taken() []string { return e.addresses }
