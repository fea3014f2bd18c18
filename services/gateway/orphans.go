package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const (
	// lookWait bounds the look at a whole vCenter, removeWait the removal of
	// one machine.
	lookWait   = time.Minute
	removeWait = 2 * time.Minute
)

// askError is an executor's refusal, or its silence, in the words of the API.
func askError(err error) error {
	f := fault.Of(err)
	text := f.Error()
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	return connect.NewError(connect.CodeUnavailable, errors.New(text))
}

// catchUp waits until the read model has taken in every record that was
// written up to now.
func (g *Gateway) catchUp(ctx context.Context) error {
	conn, err := g.model.conn()
	if err != nil {
		return unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	for k := range g.model.shards() {
		m, err := conn.LeaderLast(ctx, subject.ShardStream(k), fmt.Sprintf("%s.%d.st.>", subject.Root, k))
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err == nil {
			err = g.model.mirror.Wait(ctx, ledger.Stamp{Shard: k, Sequence: m.Sequence})
		}
		if err != nil {
			return unavailable(fmt.Errorf("this gateway has not read all of shard %d yet: %w", k, err))
		}
	}
	return nil
}

// ListOrphans compares the machines of a site that carry this yard's mark
// with the nodes that should have them.
func (g *Gateway) ListOrphans(ctx context.Context, req *connect.Request[v1.ListOrphansRequest]) (*connect.Response[v1.ListOrphansResponse], error) {
	return answer(g.orphans(ctx, req.Msg.GetSite()))
}

// orphans looks at the machines first and at the ledger then: a machine that
// was seen has its record by the time.
func (g *Gateway) orphans(ctx context.Context, site string) (*v1.ListOrphansResponse, error) {
	if _, err := g.model.read(func(w *plan.World) error {
		if w.Site(site) == nil {
			return notFound("site", site, "sites")
		}
		return nil
	}); err != nil {
		return nil, err
	}
	conn, err := g.model.conn()
	if err != nil {
		return nil, unavailable(err)
	}
	look, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	seen := &v1.SeeMachinesAnswer{}
	if err := conn.Ask(look, site, subject.AskMachines, &v1.SeeMachines{}, seen); err != nil {
		return nil, askError(err)
	}
	if err := g.catchUp(ctx); err != nil {
		return nil, err
	}
	out := &v1.ListOrphansResponse{Machines: int32(len(seen.GetMachines()))}
	out.Read, err = g.model.read(func(w *plan.World) error {
		out.Orphans = append(strays(w, seen.GetMachines()), missing(w, site, seen.GetMachines())...)
		return nil
	})
	return out, err
}

// strays are the machines that carry our mark and are no node's.
func strays(w *plan.World, machines []*v1.SeenMachine) []*v1.OrphanView {
	var out []*v1.OrphanView
	for _, m := range machines {
		owner, err := executor.ParseOwner(m.GetOwner())
		if err != nil {
			continue // it is not ours
		}
		view := &v1.OrphanView{
			MachineId: m.GetId(), Machine: m.GetName(), Node: owner.Node, Incarnation: int32(owner.Incarnation),
			On: m.GetOn(), Address: m.GetAddress(), Owner: m.GetOwner(), Made: m.GetMade(),
		}
		view.Fleet = fleetOf(w, owner, m.GetName())
		belonging, words := w.Belonging(view.GetFleet(), orphanMachine(m, owner))
		n := w.Node(view.GetFleet(), owner.Node)
		switch {
		case belonging != plan.BelongsToNode:
			view.Words, view.Removable = words, belonging == plan.BelongsToNobody
		case n.MachineID != "" && n.MachineID != m.GetId():
			view.Words = "it carries the mark of " + n.Name() + ", whose machine is " + n.MachineID + ": somebody copied or restored it"
		default:
			continue
		}
		out = append(out, view)
	}
	slices.SortFunc(out, func(a, b *v1.OrphanView) int { return cmp.Compare(a.GetMachine(), b.GetMachine()) })
	return out
}

// fleetOf is the name of the fleet that a machine was made for: of the one
// with its UID, or else as the machine's own name tells it.
func fleetOf(w *plan.World, owner executor.Owner, machine string) string {
	for _, f := range w.Fleets() {
		if f.UID == owner.FleetUID {
			return f.Name
		}
	}
	name, _ := strings.CutSuffix(machine, "-"+owner.Node)
	return name
}

func orphanMachine(m *v1.SeenMachine, owner executor.Owner) plan.OrphanMachine {
	out := plan.OrphanMachine{ID: m.GetId(), FleetUID: owner.FleetUID, Node: owner.Node, Incarnation: owner.Incarnation}
	if m.GetMade() != nil {
		out.Made = m.GetMade().AsTime()
	}
	return out
}

// missing are the nodes of a site whose machine was made and was not seen;
// while a job is open it may be on its way.
func missing(w *plan.World, site string, machines []*v1.SeenMachine) []*v1.OrphanView {
	seen := map[string]bool{}
	for _, m := range machines {
		seen[m.GetId()] = true
	}
	var out []*v1.OrphanView
	for _, f := range w.Fleets() {
		for n := range w.Nodes(f.Name) {
			if n.Site == site && n.MachineID != "" && n.State != plan.Deleted && n.Job == nil && !seen[n.MachineID] {
				out = append(out, &v1.OrphanView{
					Fleet: n.Fleet, Node: n.Key(), Incarnation: int32(n.Incarnation),
					Words: fmt.Sprintf("node %s is %s and its machine %s is not in vCenter", n.Name(), n.State, n.MachineID),
				})
			}
		}
	}
	return out
}

// RemoveOrphans removes machines that belong to nobody. The planner of their
// fleet says so once more and notes it, and the executor proves the mark
// before it destroys.
func (g *Gateway) RemoveOrphans(ctx context.Context, req *connect.Request[v1.RemoveOrphansRequest]) (*connect.Response[v1.RemoveOrphansResponse], error) {
	m := req.Msg
	id, err := newID(m.GetCommandId())
	if err != nil {
		return nil, err
	}
	found, err := g.orphans(ctx, m.GetSite())
	if err != nil {
		return nil, err
	}
	byFleet := map[string][]*v1.OrphanView{}
	for _, o := range found.GetOrphans() {
		if o.GetRemovable() && (len(m.GetMachineIds()) == 0 || slices.Contains(m.GetMachineIds(), o.GetMachineId())) {
			byFleet[o.GetFleet()] = append(byFleet[o.GetFleet()], o)
		}
	}
	out := &v1.RemoveOrphansResponse{}
	for name, orphans := range byFleet {
		for part := range slices.Chunk(orphans, orphansMost) {
			out.Results = append(out.Results, g.removeOrphans(ctx, m.GetSite(), name, id, part)...)
		}
	}
	slices.SortFunc(out.GetResults(), func(a, b *v1.RemovedOrphan) int { return cmp.Compare(a.GetMachine(), b.GetMachine()) })
	return connect.NewResponse(out), nil
}

// orphansMost is how many removals one command notes: each is an event, and
// all of them must fit into one batch.
const orphansMost = 100

// removeOrphans removes machines of one fleet.
func (g *Gateway) removeOrphans(ctx context.Context, site, name, id string, orphans []*v1.OrphanView) []*v1.RemovedOrphan {
	var out []*v1.RemovedOrphan
	refused := func(words, hint string) []*v1.RemovedOrphan {
		for _, o := range orphans {
			out = append(out, &v1.RemovedOrphan{MachineId: o.GetMachineId(), Machine: o.GetMachine(), Words: words, Hint: hint})
		}
		return out
	}
	conn, err := g.model.conn()
	shard, ok := g.model.place(name)
	if err != nil || !ok {
		return refused(cmp.Or(err, errNotFound).Error(), "try again")
	}
	command := &plan.Command{ID: fmt.Sprintf("%s-%s", placeID(id, name), orphans[0].GetMachineId()), Orphans: &plan.RemoveOrphans{Site: site}}
	for _, o := range orphans {
		owner, err := executor.ParseOwner(o.GetOwner())
		if err != nil {
			return refused(err.Error(), "")
		}
		command.Orphans.Machines = append(command.Orphans.Machines, plan.OrphanMachine{
			ID: o.GetMachineId(), FleetUID: owner.FleetUID, Node: owner.Node, Incarnation: owner.Incarnation, Made: madeAt(o),
		})
	}
	noted, err := g.send(ctx, order{shard: shard, scope: name, command: command})
	switch {
	case err != nil:
		return refused(err.Error(), "")
	case noted.GetPending():
		return refused("nothing was removed: "+noted.GetSummary(), "try again once a planner runs")
	case !noted.GetAccepted():
		return refused(strings.Join(noted.GetRefusal(), "; "), "")
	}
	for _, o := range orphans {
		out = append(out, removeOrphan(ctx, conn, site, o))
	}
	return out
}

func madeAt(o *v1.OrphanView) time.Time {
	if o.GetMade() == nil {
		return time.Time{}
	}
	return o.GetMade().AsTime()
}

func removeOrphan(ctx context.Context, conn *bus.Conn, site string, o *v1.OrphanView) *v1.RemovedOrphan {
	out := &v1.RemovedOrphan{MachineId: o.GetMachineId(), Machine: o.GetMachine()}
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	err := conn.Ask(ctx, site, subject.AskRemove, &v1.RemoveMachine{
		Id: o.GetMachineId(), Owner: o.GetOwner(), Name: o.GetMachine(), By: caller(ctx),
	}, &v1.RemoveMachineAnswer{})
	if err != nil {
		f := fault.Of(err)
		out.Words, out.Hint = f.Error(), f.Hint
		return out
	}
	out.Removed = true
	return out
}
