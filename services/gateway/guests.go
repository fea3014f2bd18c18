package gateway

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const (
	// silentAfter is how long a guest that speaks every minute may say
	// nothing.
	silentAfter = 5 * time.Minute
	// asideSilentAfter is the same for what comes through guestinfo: of a
	// large inventory the executor reads that every five minutes only.
	asideSilentAfter = 15 * time.Minute
	// keepEvery is how often a report that says nothing new is stored all the
	// same, so that a gateway that starts knows who lived lately.
	keepEvery = 10 * time.Minute
	// asideAfter is how long the gateway must have heard nothing before what
	// stands in guestinfo counts: anybody on the machine can write that.
	asideAfter = 2 * time.Minute
	// A guest may speak once in speakEvery, and speakBurst times in a row.
	speakEvery = 4 * time.Second
	speakBurst = 8
)

// channel is the way that a guest's word came.
type channel string

const (
	viaGateway   channel = "gateway"
	viaGuestinfo channel = "guestinfo"
)

// nodeKey names a node.
type nodeKey struct{ fleet, key string }

// guests knows what the guests said last. It decides nothing.
type guests struct {
	mu sync.Mutex
	// since is when this gateway began to listen: who was silent before may
	// just not have been heard.
	since time.Time
	known map[nodeKey]*spoken
}

// spoken is what a guest said last.
type spoken struct {
	guest.Report
	incarnation int
	via         channel
	// heard is when, by our clock; booted when its kernel began: the earliest
	// that any report of this boot tells, since a report can only be late.
	heard, booted time.Time
	// changed is when it first said what it says.
	changed time.Time
	// kept is when the report was stored last.
	kept time.Time
	// spent is when the guest will have all its turns to speak again.
	spent time.Time
}

func newGuests() *guests { return &guests{since: time.Now(), known: map[nodeKey]*spoken{}} }

// may takes one of a guest's turns to speak, if it has one left.
func (g *guests) may(k nodeKey, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.spoken(k)
	if s.spent.Before(now) {
		s.spent = now
	}
	if s.spent.Sub(now) >= speakBurst*speakEvery {
		return false
	}
	s.spent = s.spent.Add(speakEvery)
	return true
}

// word is something that a guest said.
type word struct {
	guest.Report
	incarnation int
	via         channel
	at          time.Time
}

// hear takes in what a guest said to this gateway and reports whether it
// should be stored.
func (g *guests) hear(k nodeKey, w word) (store bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.spoken(k)
	news, taken := s.take(w)
	if !taken || !news && w.at.Sub(s.kept) < keepEvery {
		return false
	}
	s.kept = w.at
	return true
}

// learn takes in what is stored.
func (g *guests) learn(k nodeKey, w word) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.spoken(k)
	s.take(w)
	s.kept = w.at
}

// lost notes that a report could not be stored.
func (g *guests) lost(k nodeKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spoken(k).kept = time.Time{}
}

// spoken returns what a node said; the lock is held.
func (g *guests) spoken(k nodeKey) *spoken {
	s := g.known[k]
	if s == nil {
		s = &spoken{}
		g.known[k] = s
	}
	return s
}

// take takes over a word unless it is worth nothing, and reports whether it
// says more than that the guest lives.
func (s *spoken) take(w word) (news, taken bool) {
	if s.ignores(w) {
		return false, false
	}
	booted := w.at.Add(-w.Up)
	if s.BootID == w.BootID && s.incarnation == w.incarnation && !s.booted.IsZero() && s.booted.Before(booted) {
		booted = s.booted
	}
	news = s.heard.IsZero() || s.incarnation != w.incarnation || s.via != w.via || !s.Same(&w.Report)
	if news {
		s.changed = w.at
	}
	s.Report, s.incarnation, s.via, s.heard, s.booted = w.Report, w.incarnation, w.via, w.at, booted
	return news, true
}

// ignores reports whether a word is old, or worth less than what is known.
func (s *spoken) ignores(w word) bool {
	switch {
	case s.heard.IsZero() || w.incarnation > s.incarnation:
		return false
	case w.incarnation < s.incarnation || w.at.Before(s.heard):
		return true
	case w.via == viaGateway:
		return false
	case s.via == viaGateway:
		return w.at.Sub(s.heard) < asideAfter
	}
	// An executor that begins tells again what stood there before.
	return w.BootID == s.BootID && w.Up <= s.Up
}

// lives notes that a guest spoke to another gateway.
func (g *guests) lives(k nodeKey, incarnation int, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.known[k]; s != nil && s.incarnation == incarnation && s.via == viaGateway && now.After(s.heard) {
		s.heard = now
	}
}

// of returns what a node's guest said, false if it never spoke.
func (g *guests) of(n *plan.Node) (spoken, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.known[nodeKey{n.Fleet, n.Key()}]
	if s == nil || s.heard.IsZero() || s.incarnation != n.Incarnation {
		return spoken{}, false
	}
	return *s, true
}

// silent reports whether a node that should speak has said nothing for too
// long.
func (g *guests) silent(n *plan.Node, s spoken, now time.Time) bool {
	most := silentAfter
	if s.via == viaGuestinfo {
		most = asideSilentAfter
	}
	return n.State == plan.Ready && now.Sub(s.heard) > most && now.Sub(g.since) > most
}

// mark adds to a node's view when its guest spoke.
func (g *guests) mark(view *v1.NodeView, n *plan.Node, now time.Time) *v1.NodeView {
	if s, ok := g.of(n); ok {
		view.Heard, view.Silent = timestamppb.New(s.heard), g.silent(n, s, now)
	}
	return view
}

// view shows what a node's guest said; nil if it never spoke.
func (g *guests) view(n *plan.Node, now time.Time) *v1.GuestView {
	s, ok := g.of(n)
	if !ok {
		return nil
	}
	out := &v1.GuestView{
		Heard: timestamppb.New(s.heard), Silent: g.silent(n, s, now), Via: string(s.via), BootId: s.BootID, MachineId: s.MachineID,
		OsVersion: s.OSVersion, State: s.State, Booted: timestamppb.New(s.booted),
	}
	for _, stage := range s.Stages {
		out.Stages = append(out.Stages, &v1.GuestStageView{Name: stage.Name, At: timestamppb.New(s.booted.Add(stage.After))})
	}
	for _, f := range s.Failed {
		out.Failed = append(out.Failed, &v1.GuestFailedView{Unit: f.Unit, Result: f.Result, Log: f.Log})
	}
	return out
}

// count returns how many nodes of each fleet are silent, and forgets those
// that are gone. Fleets without a silent node are there too.
func (g *guests) count(w *plan.World, now time.Time) map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]int{}
	for k, s := range g.known {
		n := w.Node(k.fleet, k.key)
		if n == nil || n.State == plan.Deleted {
			delete(g.known, k)
			continue
		}
		out[k.fleet] += 0
		if !s.heard.IsZero() && s.incarnation == n.Incarnation && g.silent(n, *s, now) {
			out[k.fleet]++
		}
	}
	return out
}
