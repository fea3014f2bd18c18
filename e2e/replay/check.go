package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Limits are a fleet's budgets, the same in all its revisions, and the first
// target of its pools.
type Limits struct{ Target, MaxUnavailable, MaxSurge int }

// Check returns everything that is wrong with the ledger: chains with gaps,
// records that the events do not explain, budgets overspent, things claimed
// twice, commands without a receipt or applied twice, jobs without an event.
func (l *Ledger) Check(limits map[string]Limits) []string {
	var c complaints
	l.onePerSubject(&c)
	l.chains(&c)
	l.budgets(&c, limits)
	l.holders(&c)
	l.answers(&c)
	l.work(&c)
	return c
}

type complaints []string

func (c *complaints) add(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

// onePerSubject: every overwrite is a roll-up, everything else written once.
func (l *Ledger) onePerSubject(c *complaints) {
	for k, ms := range l.shards {
		seen := map[string]uint64{}
		for i := range ms {
			m := &ms[i]
			if was, ok := seen[m.subject]; ok && m.name.Kind != subject.KindStep {
				c.add("shard %d: %s is stored twice, at %d and %d", k, m.subject, was, m.seq)
			}
			seen[m.subject] = m.seq
		}
	}
}

// chains: numbers without gaps, each event hashes its predecessor, the last
// one hashes the record and agrees with it.
func (l *Ledger) chains(c *complaints) {
	for key, es := range l.events {
		slices.SortFunc(es, func(a, b event) int { return int(a.GetNumber() - b.GetNumber()) })
		for i := range es {
			if want := int64(i + 1); es[i].GetNumber() != want {
				c.add("%s: event %d stands where %d should", key, es[i].GetNumber(), want)
				break
			}
			if i == 0 {
				continue
			}
			if sum := sha256.Sum256(es[i-1].body); !bytes.Equal(es[i].GetPrev(), sum[:]) {
				c.add("%s: event %d does not continue event %d", key, es[i].GetNumber(), es[i-1].GetNumber())
			}
			if es[i].GetFrom() != es[i-1].GetTo() && es[i].GetNode() != "_fleet" {
				c.add("%s: event %d starts in %q, event %d ended in %q",
					key, es[i].GetNumber(), es[i].GetFrom(), es[i-1].GetNumber(), es[i-1].GetTo())
			}
		}
		l.head(c, key, es[len(es)-1])
	}
	for name, n := range l.Nodes {
		if len(l.events[name]) == 0 {
			c.add("%s: a record in state %s and not one event", name, n.GetState())
		}
	}
}

func (l *Ledger) head(c *complaints, key string, last event) {
	head, ok := l.heads[key]
	if !ok {
		c.add("%s: %d events and no record", key, last.GetNumber())
		return
	}
	sum := sha256.Sum256(last.body)
	if got := head.header.Get("Ym-Chain"); got != hex.EncodeToString(sum[:]) {
		c.add("%s: the record's chain is %.12s, its newest event is %.12x", key, got, sum)
	}
	record := sha256.Sum256(head.body)
	if head.header.Get("Ym-Amended") == "" && !bytes.Equal(last.GetRecord(), record[:]) {
		c.add("%s: event %d made record %.12x, stored is %.12x", key, last.GetNumber(), last.GetRecord(), record)
	}
	if n := l.Nodes[key]; n != nil && (n.GetState() != last.GetTo() || n.GetEvent() != last.GetNumber()) {
		c.add("%s: the record says %s at event %d, the events say %s at %d",
			key, n.GetState(), n.GetEvent(), last.GetTo(), last.GetNumber())
	}
}

// holders: no address twice, every address of a live node claimed by it.
func (l *Ledger) holders(c *complaints) {
	owner := map[string]string{}
	for name, n := range l.Nodes {
		if n.GetState() == string(plan.Deleted) {
			continue
		}
		for _, a := range n.GetAddresses() {
			thing := a.GetNetwork() + "/" + a.GetAddr()
			if other, ok := owner[thing]; ok {
				c.add("%s is held by %s and %s", thing, other, name)
			}
			owner[thing] = name
			claim := l.claims["address/"+thing]
			if claim == nil || claim.GetFleet()+"-"+claim.GetNode() != name {
				c.add("%s: holds %s, the claim says %v", name, thing, claim)
			}
		}
	}
}

// Orphans counts address claims of nodes that do not hold the address: a
// crash between a batch and its releases leaves them, and the planner's
// audit frees them after a grace time.
func (l *Ledger) Orphans() int {
	held := map[string]bool{}
	for name, n := range l.Nodes {
		for _, a := range n.GetAddresses() {
			held[name+" "+a.GetNetwork()+"/"+a.GetAddr()] = n.GetState() != string(plan.Deleted)
		}
	}
	orphans := 0
	for _, claim := range l.claims {
		if claim.GetKind() == plan.ClaimAddress && claim.GetFleet() != "" && !held[claim.GetFleet()+"-"+claim.GetNode()+" "+claim.GetThing()] {
			orphans++
		}
	}
	return orphans
}

// answers: one receipt per command and the other way round, and no command
// moved a fleet twice.
func (l *Ledger) answers(c *complaints) {
	for id := range l.commands {
		// A phone-home is proved by the node's own record, so that a
		// thousand boots do not leave a thousand receipts.
		if _, name, _ := strings.Cut(id, "/"); l.Receipts[id] == nil && !strings.HasPrefix(name, "ph-") {
			c.add("command %s has no receipt", id)
		}
	}
	for id := range l.Receipts {
		if _, ok := l.commands[id]; !ok {
			c.add("receipt %s without a command", id)
		}
	}
	for key, es := range l.events {
		once(c, key, es)
	}
}

// once: no command or result moved the same thing the same way twice.
func once(c *complaints, key string, es []event) {
	used := map[string]int64{}
	for _, e := range es {
		if _, err := subject.Parse(e.GetInput()); err != nil || strings.Contains(e.GetInput(), ".in.step.") {
			continue // made up by the planner
		}
		deed := e.GetInput() + " " + e.GetFact()
		if was, ok := used[deed]; ok {
			c.add("%s: %s was applied twice, events %d and %d", key, deed, was, e.GetNumber())
		}
		used[deed] = e.GetNumber()
	}
}

// work: every job has the event of its number, every result its job.
func (l *Ledger) work(c *complaints) {
	for s, m := range l.jobs {
		n := m.name
		if es := l.events[n.Fleet+"-"+n.Node]; n.Number < 1 || n.Number > int64(len(es)) {
			c.add("%s: there is no event %d", s, n.Number)
		}
	}
}

// Settled returns what is still under way: fleets on the move, nodes neither
// ready nor deleted, open jobs, dead letters.
func (l *Ledger) Settled() []string {
	var c complaints
	if l.moved {
		c.add("somebody still writes")
	}
	ready := map[string]int32{}
	for name, n := range l.Nodes {
		switch {
		case n.GetState() == string(plan.Ready):
			ready[n.GetFleet()+"/"+n.GetPool()]++
		case n.GetState() != string(plan.Deleted):
			c.add("%s is %s (%s %s)", name, n.GetState(), n.GetReason(), n.GetMessage())
		}
		if n.GetJob() != nil {
			c.add("%s has an open job %d %s/%s", name, n.GetJob().GetNumber(), n.GetJob().GetWorker(), n.GetJob().GetAction())
		}
	}
	for name, f := range l.Fleets {
		if f.GetDeleted() {
			continue
		}
		l.fleetSettled(&c, name, f, ready)
	}
	for key, d := range l.dead {
		c.add("dead letter %s: %s %s", key, d.GetReason(), d.GetMessage())
	}
	slices.Sort(c)
	return c
}

func (l *Ledger) fleetSettled(c *complaints, name string, f *ymv1.FleetRecord, ready map[string]int32) {
	if f.GetSettled() != f.GetRevision() || f.GetStepping() {
		c.add("fleet %s: settled %d of revision %d, stepping %v", name, f.GetSettled(), f.GetRevision(), f.GetStepping())
	}
	for pool, want := range f.GetTargets() {
		if got := ready[name+"/"+pool]; got != want {
			c.add("fleet %s: %d of %d nodes of pool %s are ready", name, got, want, pool)
		}
	}
	for pool, n := range f.GetDisrupted() {
		if n != 0 {
			c.add("fleet %s: pool %s still disrupts %d", name, pool, n)
		}
	}
	for pool, n := range f.GetSurged() {
		if n != 0 {
			c.add("fleet %s: pool %s still surges %d", name, pool, n)
		}
	}
}
