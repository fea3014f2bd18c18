package fleet

import "fmt"

// MaxCards is how many network cards a VM can have.
const MaxCards = 10

// Cards returns for each entry of a pool's networks the number of the network
// card that carries its address: the entry's own, or the next one.
func Cards(networks []PoolNetwork) []int {
	out := make([]int, len(networks))
	next := 0
	for i, n := range networks {
		out[i] = next
		if n.NIC != nil {
			out[i] = *n.NIC
		}
		next = max(next, out[i]+1)
	}
	return out
}

// CardCount is how many network cards a pool's networks ask for.
func CardCount(networks []PoolNetwork) int {
	count := 0
	for _, card := range Cards(networks) {
		count = max(count, card+1)
	}
	return count
}

// Torn finds the network cards of a pool that two Networks want connected to
// different portgroups, unless the pool itself says to which. portgroup is a
// Network's, empty if it is not known or names none. The paths begin at the
// pool.
func Torn(p *Pool, portgroup func(network string) string) []Problem {
	var out []Problem
	groups, cards := saidPortgroups(p), Cards(p.Networks)
	for i, e := range p.Networks {
		wanted := portgroup(e.Ref)
		if wanted == "" {
			continue
		}
		group, said := groups[cards[i]]
		if !said {
			groups[cards[i]] = wanted
		} else if group != "" && group != wanted {
			out = append(out, Problem{
				Path:    fmt.Sprintf("networks[%d].nic", i),
				Message: fmt.Sprintf("card %d is connected to %s, and Network %s is %s", cards[i], group, e.Ref, wanted),
				Hint:    "give the entry a card of its own",
			})
		}
	}
	return out
}

// saidPortgroups has an empty entry for each card of whose portgroup the pool
// itself says what it is: that goes before the Networks' words.
func saidPortgroups(p *Pool) map[int]string {
	groups := map[int]string{}
	for i, card := range Cards(p.Networks) {
		if p.Networks[i].Portgroup != "" {
			groups[card] = ""
		}
	}
	if p.VSphere != nil && p.VSphere.Network != "" {
		groups[0] = ""
	}
	return groups
}
