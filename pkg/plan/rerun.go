package plan

import (
	"fmt"
	"strings"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// against says why Ignition cannot run again on the machines of a group to
// bring them to the course; empty if it can.
func (c course) against(g *group, old size) string {
	switch {
	case c.spec.OnConfigChange != fleet.ConfigChangeRerun:
		return "spec.pools[" + c.spec.Name + "].onConfigChange is " + fleet.ConfigChangeReplace
	case old.shell != c.size.shell || strings.HasPrefix(g.hash, undone):
		return "more than the config changes"
	case g.unfit:
		return "another change of its machine is under way, or was given up"
	case !g.obeys:
		return "its guest takes no orders, or did not say so when it phoned home; role base of this release does"
	case !c.size.reports:
		return "the new config lacks role base, which reports that it ran"
	case c.unavailable == 0:
		return "no node may be missing: spec.rollout.maxUnavailable is 0"
	}
	return ""
}

// rerun begins to run Ignition again on a node's machine, with the newest
// definition. As with a size, its record says so at once.
func (d *decision) rerun(n *Node) {
	f := d.w.fleet(n.Fleet)
	d.move(n, FactRerunning, func(n *Node) {
		n.Revision, n.PoolHash = f.record.Revision, f.hash(n.Pool)
		if n.FormerToken == "" {
			n.FormerToken = n.TokenSHA256
		}
		n.ConfigDigest, n.ConfigSize, n.TokenSHA256 = "", 0, ""
		n.Attempt, n.Chore, n.Reported = 1, ActionRender, false
		d.clearTrouble(n)
		d.begin(n)
	})
}

// offered goes on when the next config waits for the guest: from here on a
// gateway gives it the order.
func (d *decision) offered(n *Node, _ *Result) {
	n = d.move(n, FactOffered, func(n *Node) {
		n.Job, n.Chore, n.Attempt = nil, "", 1
		d.clearTrouble(n)
		n.Deadline = d.now.Add(d.w.Policy.Ask + d.readyTimeout(n))
		n.Due, n.DueFor = n.Deadline, DueDeadline
	})
	if n.Reported {
		d.reran(n)
	}
}

// reran takes in that a guest reported the config that was on its way to it.
// The token is that config's, so nothing older can have said it; but a power
// cut may have undone that it was offered, and then that is done once more.
func (d *decision) reran(n *Node) {
	if n.State == Rerunning && n.Chore != "" {
		d.move(n, FactReported, func(n *Node) { n.Reported = true })
		return
	}
	p := d.w.poolOf(n)
	if p == nil {
		return
	}
	d.move(n, FactCheckPassed, func(n *Node) {
		n.Reported, n.FormerToken, n.Attempt = true, "", 1
		n.Chore = firstChore(p)
		d.clearTrouble(n)
		d.begin(n)
	})
}

// unrun is the failure of a guest that did not report its next config.
func (d *decision) unrun(n *Node) *Failure {
	return &Failure{
		Reason:  fault.RerunTimeout,
		Message: fmt.Sprintf("the guest did not report its next config for %s", d.now.Sub(n.Since).Round(time.Second)),
		Hint: fmt.Sprintf("yardctl logs %s shows what it said last; yardctl retry %s gives it the order again, yardctl replace %s makes its machine anew",
			n.Name(), n.Name(), n.Name()),
	}
}

// Order is what a guest is to do.
type Order struct {
	// Config is the digest of the config that Ignition is to run.
	Config string
	// Keep are the paths that stay on the disk, as regular expressions.
	Keep []string
}

// Order returns what a node's guest, which proves itself by the token of
// that hash, is to do now. The order stands until the guest has another token,
// or its time is up: one that has obeyed cannot get it again.
func (w *World) Order(n *Node, token string) (Order, bool) {
	if n.State != Rerunning || n.Job != nil || n.Chore != "" || n.DueFor != DueDeadline || n.FormerToken == "" || n.FormerToken != token {
		return Order{}, false
	}
	p := w.poolOf(n)
	if p == nil {
		return Order{}, false
	}
	return Order{Config: n.ConfigDigest, Keep: p.KeepPaths}, true
}
