package plan

import (
	"strings"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// size is what a pool's machines are, as far as it decides on how a machine
// of another definition becomes one of them.
type size struct {
	// frame hashes all that a machine cannot change.
	frame  string
	cpus   int
	memory int64
	disk   int64
	linked bool
	// marks hashes what is written on them, which changes nothing of them.
	marks string
	// shell hashes all but what Ignition makes of a machine; reports means
	// that its config tells the yard that it ran.
	shell   string
	reports bool
}

func sizeOf(doc *fleet.Fleet, pool string) size {
	s := size{frame: doc.FrameHash(pool), marks: doc.MarksHash(pool), shell: doc.ShellHash(pool), reports: doc.HasRole(pool, fleet.RoleBase)}
	p, ok := doc.Pool(pool)
	if !ok || p.VSphere == nil {
		return s
	}
	// What is no quantity is refused by validation; here it is 0.
	s.cpus, s.linked = p.VSphere.CPUs, p.VSphere.Clone == fleet.CloneLinked
	s.memory, _ = p.VSphere.Memory.Bytes()
	s.disk, _ = p.VSphere.Disk.Bytes()
	return s
}

// way is how a node comes to another definition.
type way int

const (
	wayReplace way = iota // by another machine
	wayRestart            // by a change that needs the machine to be off
	wayHot                // by a change while it runs
	wayRerun              // by Ignition, run again on the machine
	wayNone               // not at all before a person allows a restart
)

// undone marks the hash of a definition that a machine was to be changed to
// and that it refused while running.
const undone = "undone-"

// way says how the nodes of a group come to the definition of the course.
// Without leave to take any of them down, only a change while they run can
// be made on the machines themselves.
func (c course) way(p *pool, g *group) way {
	old, ok := c.was(p, g)
	if !ok {
		return wayReplace
	}
	refused := strings.HasPrefix(g.hash, undone)
	if !old.becomes(c.size) || old == c.size && !refused || g.stale {
		if c.against(g, old) == "" {
			return wayRerun
		}
		return wayReplace
	}
	hot := hot(old, c.size, g.hot)
	switch {
	case c.unavailable > 0 && (refused || !hot):
		return wayRestart
	case refused: // no plan has said that it would be replaced
		return wayNone
	case !hot:
		return wayReplace
	}
	return wayHot
}

// was is what the machines of a group are; false if nobody knows.
func (c course) was(p *pool, g *group) (size, bool) {
	i, ok := g.first()
	if !ok || c.spec == nil || c.revs[p.nodes[i].Revision] == nil {
		return size{}, false
	}
	return c.revs[p.nodes[i].Revision].sizes[p.name], true
}

// becomes reports whether a machine of one size can be changed to another.
// What is left out is the template's, which nobody here knows.
func (s size) becomes(next size) bool {
	if s.frame == "" || s.frame != next.frame || next.disk < s.disk || next.disk != s.disk && next.linked {
		return false
	}
	return (next.cpus != 0 || s.cpus == 0) && (next.memory != 0 || s.memory == 0)
}

// hot reports whether a machine takes a change while it runs: only more of
// what it says that it takes. A disk that has grown is seen by the guest when
// it boots.
func hot(old, next size, h Hot) bool {
	cpu := next.cpus == old.cpus || h.CPU && old.cpus != 0 && next.cpus > old.cpus
	memory := next.memory == old.memory || h.Memory && old.memory != 0 && next.memory > old.memory
	return cpu && memory && next.disk == old.disk
}

// hurt reports whether the node was in service and failed when its machine
// was changed: there may be something on its disk.
func (n *Node) hurt() bool { return n.State == Failed && n.Goal == Present && !n.ReadyAt.IsZero() }

// resize begins to change a node's machine to the newest definition. Its
// record says so at once: from here on the machine may be so already.
func (d *decision) resize(n *Node, fact Fact) {
	f := d.w.fleet(n.Fleet)
	d.move(n, fact, func(n *Node) {
		n.Revision, n.PoolHash = f.record.Revision, f.hash(n.Pool)
		n.Attempt, n.Chore, n.Restarted = 1, "", time.Time{}
		if n.State == Ready {
			n.Chore = ActionResize
		}
		d.clearTrouble(n)
		d.begin(n)
	})
}

// resized goes on when the machine has its new size. One that was restarted
// must be seen again.
func (d *decision) resized(n *Node, r *Result) {
	d.move(n, FactResized, func(n *Node) {
		n.Chore, n.Attempt, n.Hot = "", 1, r.Hot
		d.clearTrouble(n)
		if n.State == Ready {
			d.begin(n)
			return
		}
		n.Job, n.Restarted = nil, r.Finished
		n.Deadline = d.now.Add(d.readyTimeout(n))
		n.Due, n.DueFor = n.Deadline, DueDeadline
	})
}

// hotRefused remembers that the machine does not take the change while it
// runs. It is restarted for it if any node may be missing; else a person must
// allow that, because no plan said that the machine would be lost.
func (d *decision) hotRefused(n *Node, f *Failure) *Node {
	n = d.move(n, FactHotRefused, func(n *Node) {
		n.Hot, n.Chore, n.Attempt = Hot{}, "", 1
		n.PoolHash = undone + n.PoolHash
		n.Job, n.Due, n.DueFor, n.Deadline = nil, time.Time{}, "", time.Time{}
		d.blame(n, f)
	})
	if d.w.fleet(n.Fleet).course(n.Pool).unavailable > 0 {
		return n
	}
	told := *f
	told.Hint = "let it restart: set spec.rollout.maxUnavailable to 1 or more and apply; or make the machine take it, then yardctl retry"
	return d.giveUp(n, &told)
}

// stuck reports whether the change of the node's machine while it runs was
// given up.
func (n *Node) stuck() bool {
	return n.State == Ready && n.Chore == ActionResize && n.Job == nil && n.DueFor == ""
}

// unfit reports whether the node's machine may not be what its record says,
// which Ignition would not mend: a change of it is under way or was given up.
func (n *Node) unfit() bool {
	return n.State == Ready && n.Chore == ActionResize || n.State == Restarting || n.hurt() && n.FormerToken == ""
}

// refused reports whether the node's machine did not take a change.
func (n *Node) refused() bool { return n.State == Ready && strings.HasPrefix(n.PoolHash, undone) }

// awaits reports whether the guest's address is what the node waits for.
func (n *Node) awaits(p *fleet.Pool, o *Observation) bool {
	if n.State == Restarting {
		return n.Job == nil && !n.Restarted.IsZero() && o.At.After(n.Restarted)
	}
	return p.Ready.By == fleet.ReadyByGuestAddress && (n.State == Booting || n.State == Joining)
}

// back ends a restart: the guest was seen again.
func (d *decision) back(n *Node) {
	d.move(n, FactCheckPassed, func(n *Node) {
		n.Attempt, n.Chore = 1, ""
		d.clearTrouble(n)
		d.begin(n)
	})
}
