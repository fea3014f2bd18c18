package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pause holds a fleet, or the whole yard, or lets it go on. While it is held
// no job is begun but the blanking of configs that were used; jobs that are
// open, and machines that boot, go on to their end.
type Pause struct {
	Paused bool
	// CallBack also withdraws the jobs that make something.
	CallBack bool
}

// halted reports whether nothing may be begun for a fleet.
func (w *World) halted(name string) bool {
	return w.pausedRecord(name) != nil || w.pausedRecord(YardScope) != nil
}

// Paused returns the record that holds a fleet: its own or, if the whole yard
// is paused, the yard's ([YardScope]); nil if nothing does.
func (w *World) Paused(name string) *Fleet {
	if r := w.pausedRecord(name); r != nil {
		return r
	}
	return w.pausedRecord(YardScope)
}

func (w *World) pausedRecord(name string) *Fleet {
	if f := w.fleets[name]; f != nil && f.record != nil && f.record.Paused {
		return f.record
	}
	return nil
}

// haltWords says what is paused and how it goes on.
func (w *World) haltWords(name string) string {
	if r := w.pausedRecord(YardScope); r != nil {
		return fmt.Sprintf("the whole yard is paused by %s (yardctl resume --all)", r.PausedBy)
	}
	if r := w.pausedRecord(name); r != nil {
		return fmt.Sprintf("fleet %s is paused by %s (yardctl resume %s)", name, r.PausedBy, name)
	}
	return ""
}

// whilePaused is what the answer to a command adds when nothing follows yet.
func (d *decision) whilePaused(name string) string {
	if !d.w.halted(name) {
		return ""
	}
	return "; " + d.w.haltWords(name) + ": nothing is begun"
}

// pause holds a fleet or the yard, or lets it go on. The yard's word stands
// in a record like a fleet's, so that it has a story too.
func (d *decision) pause(c *Pause) *Receipt {
	if d.in.Fleet == YardScope {
		return d.pauseYard(c)
	}
	f, refusal := d.live(d.in.Fleet)
	if refusal != nil {
		return refusal
	}
	if f.record.Paused == c.Paused && !c.CallBack {
		return accept(f.record.Revision, "fleet %s %s already", f.name, c.word())
	}
	r := d.fleet(f)
	d.setPaused(r, c)
	words := d.underWay(f)
	d.advance(f)
	if !c.Paused {
		return accept(r.Revision, "fleet %s goes on%s", f.name, d.whilePaused(f.name))
	}
	return accept(r.Revision, "fleet %s is paused; %s", f.name, words)
}

// word says how things stand once the command is carried out.
func (c *Pause) word() string {
	if c.Paused {
		return "is paused"
	}
	return "is not paused"
}

func (d *decision) setPaused(r *Fleet, c *Pause) {
	fact := FactPaused
	r.Paused, r.PausedBy, r.PausedAt = c.Paused, d.by, d.now
	r.CallBack = c.Paused && c.CallBack
	if !c.Paused {
		fact, r.PausedBy, r.PausedAt = FactResumed, "", time.Time{}
	}
	message := ""
	if r.CallBack {
		message = "what makes something is called back"
	}
	d.fleetEvent(r, fact, message)
}

func (d *decision) pauseYard(c *Pause) *Receipt {
	f := d.w.fleet(YardScope)
	if (f.record != nil && f.record.Paused) == c.Paused {
		return accept(0, "the yard %s already", c.word())
	}
	r := d.fleet(f)
	r.UID, r.Deleted = d.w.yard.UID, true // it is a word and a story, no fleet
	d.setPaused(r, &Pause{Paused: c.Paused})
	if c.Paused {
		return accept(0, "the whole yard is paused: nothing is begun; jobs that are open and machines that boot go on to their end")
	}
	return accept(0, "the yard goes on; fleets that are paused by themselves stay so")
}

// underWay counts in words what goes on in spite of a pause, and what stays.
func (d *decision) underWay(f *fleetState) string {
	counts := map[string]int{}
	for n := range d.w.Nodes(f.name) {
		counts[underWayWord(f, n)]++
	}
	var parts []string
	for _, word := range []string{wordCalledBack, wordEnds, wordBoots, wordRemoved, wordReady, wordFailed, wordPreserved} {
		if counts[word] > 0 {
			parts = append(parts, strconv.Itoa(counts[word])+" "+word)
		}
	}
	if len(parts) == 0 {
		return "it has no node"
	}
	return strings.Join(parts, ", ")
}

const (
	wordCalledBack = "called back"
	wordEnds       = "in work, which ends by itself"
	wordBoots      = "booting, which ends by itself"
	wordRemoved    = "being removed, which ends by itself"
	wordReady      = "ready and stay"
	wordFailed     = "failed"
	wordPreserved  = "preserved"
)

func underWayWord(f *fleetState, n *Node) string {
	switch n.State { //nolint:exhaustive // all others have a job or wait for one
	case Deleted:
		return ""
	case Ready:
		return wordReady
	case Failed:
		return wordFailed
	case Preserved:
		return wordPreserved
	case Booting, Joining:
		return wordBoots
	case Draining, Deleting:
		return wordRemoved
	}
	if f.record.CallBack && n.Job != nil {
		return wordCalledBack
	}
	return wordEnds
}

// callBack withdraws the jobs that make something, a chunk at a time.
func (d *decision) callBack(f *fleetState) {
	if !f.record.CallBack {
		return
	}
	for n := range d.w.Nodes(f.name) {
		if n.Job == nil || n.Job.Withdrawn || n.State != Rendering && n.State != Provisioning {
			continue
		}
		if d.left--; d.left < 0 {
			return
		}
		d.move(n, FactJobWithdrawn, d.withdraw)
	}
	d.fleet(f).CallBack = false
}

// wake lets the nodes of a fleet go on that waited for its resumption.
func (d *decision) wake(f *fleetState) {
	for _, name := range f.poolNames() {
		p := f.pools[name]
		if p == nil {
			continue
		}
		for d.left > 0 {
			i, ok := p.held.first()
			if !ok {
				break
			}
			d.left--
			d.again(p.nodes[i])
		}
	}
}

// waiting reports whether nodes of the fleet wait for its resumption.
func (f *fleetState) waiting() bool {
	for _, p := range f.pools {
		if p.held.count > 0 {
			return true
		}
	}
	return false
}
