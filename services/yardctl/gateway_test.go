package yardctl_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

const goodToken = "a-token-of-the-tests"

// mux serves the API to those with the token.
func mux(path string, handler http.Handler) http.Handler {
	m := http.NewServeMux()
	words := connect.NewErrorWriter()
	m.Handle(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+goodToken {
			_ = words.Write(w, r, connect.NewError(connect.CodeUnauthenticated, errors.New("the token is not one of this gateway's")))
			return
		}
		handler.ServeHTTP(w, r)
	}))
	return m
}

// gateway answers with a yard of which every screen shows something. What is
// asked of it decides.
type gateway struct {
	yardmasterv1connect.UnimplementedYardServiceHandler
	asked atomic.Int32 // how often for a log
}

// ago is a moment before the tests' now.
func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

func read() *v1.ReadStatus {
	return &v1.ReadStatus{AsOf: timestamppb.New(now), Stamps: []*v1.Stamp{{Shard: 0, Epoch: 7, Sequence: 4711}}}
}

func stale() *v1.ReadStatus {
	return &v1.ReadStatus{AsOf: ago(14 * time.Second), Warning: "no planner is running"}
}

var nodes = []*v1.NodeView{
	{
		Name: "web-edge-0", Fleet: "web", Pool: "edge", Ordinal: 0, State: "ready", Goal: "present", Since: ago(3 * time.Hour), Created: ago(3*time.Hour + 4100*time.Millisecond),
		ReadyAt: ago(3 * time.Hour), Incarnation: 1, Attempt: 1, AttemptsLimit: 5, Revision: 5, Addresses: []string{"10.0.0.10"}, Mac: "02:00:00:aa:bb:cc", Site: "dc1",
		MachineId: "vm-397", MachineUuid: "8724b5d6-ec33-52a8-973e-394e3ceaff42", OsVersion: "4593.2.5", ConfigDigest: strings.Repeat("91ab", 16), ConfigSize: 1433,
		Heard: ago(42 * time.Second),
	},
	{
		Name: "web-edge-1", Fleet: "web", Pool: "edge", Ordinal: 1, State: "booting", Goal: "present", Since: ago(2 * time.Second), Created: ago(4 * time.Second),
		Incarnation: 1, Attempt: 1, AttemptsLimit: 5, Revision: 5, Addresses: []string{"10.0.0.11"}, Site: "dc1", WaitingFor: "its first phone-home", Deadline: timestamppb.New(now.Add(9*time.Minute + 58*time.Second)),
	},
	{
		Name: "web-edge-2", Fleet: "web", Pool: "edge", Ordinal: 2, State: "provisioning", Goal: "present", Since: ago(41 * time.Second), Created: ago(48 * time.Second),
		Incarnation: 3, Attempt: 2, AttemptsLimit: 5, Revision: 5, Addresses: []string{"10.0.0.12"}, Mac: "02:00:00:aa:bb:ce", Site: "dc1", MachineUuid: "5f0e5cf5-6a3e-5c1b-8d0e-0a4f1b7c9d2e",
		Reason: "no_space", Message: "datastore ds1: no space left (NoDiskSpace, vcenter dc1)", Hint: "goes on when space comes back, or: another spec.pools[edge].vsphere.datastore, apply",
		WaitingFor: "its next attempt", Due: timestamppb.New(now.Add(12 * time.Second)), ConfigDigest: strings.Repeat("91ab", 16), ConfigSize: 1433,
	},
	{
		Name: "web-edge-7", Fleet: "web", Pool: "edge", Ordinal: 7, State: "failed", Goal: "present", Since: ago(3 * time.Minute), Incarnation: 1, Attempt: 1, AttemptsLimit: 5, Revision: 4, Outdated: true,
		Addresses: []string{"10.0.0.17"}, Site: "dc1", Reason: "config_refused", Message: "ignition: /etc/x: file exists", WaitingFor: "a person: yardctl retry web-edge-7",
	},
}

func (*gateway) ListNodes(_ context.Context, req *connect.Request[v1.ListNodesRequest]) (*connect.Response[v1.ListNodesResponse], error) {
	out := &v1.ListNodesResponse{Read: read()}
	if req.Msg.GetFleet() == "stale" {
		out.Read = stale()
		return connect.NewResponse(out), nil
	}
	for _, n := range nodes {
		if req.Msg.GetState() == "" || n.GetState() == req.Msg.GetState() {
			out.Nodes = append(out.Nodes, n)
		}
	}
	return connect.NewResponse(out), nil
}

func (*gateway) ListFleets(context.Context, *connect.Request[v1.ListFleetsRequest]) (*connect.Response[v1.ListFleetsResponse], error) {
	return connect.NewResponse(&v1.ListFleetsResponse{Read: read(), Fleets: []*v1.FleetView{
		{Name: "web", Uid: "5f0e5cf5-6a3e", Revision: 5, Settled: 4, Desired: 4, Ready: 1, Failed: 1, Nodes: 4, Created: ago(26 * time.Hour), Labels: map[string]string{"team": "platform"}},
		{Name: "core", Uid: "6a3e5cf5-5f0e", Revision: 1, Settled: 1, Desired: 2, Ready: 2, Nodes: 2, Created: ago(30 * time.Minute), Shard: 1, Paused: &v1.PausedView{By: "alice", Since: ago(20 * time.Minute)}},
	}}), nil
}

func (*gateway) ListPools(context.Context, *connect.Request[v1.ListPoolsRequest]) (*connect.Response[v1.ListPoolsResponse], error) {
	return connect.NewResponse(&v1.ListPoolsResponse{Read: read(), Pools: []*v1.PoolView{{
		Fleet: "web", Name: "edge", Desired: 4, SpecReplicas: 3, Outdated: 1, Backend: "vsphere", Site: "dc1", Surged: 1,
		States: map[string]int32{"ready": 1, "booting": 1, "provisioning": 1, "failed": 1},
	}}}), nil
}

func (*gateway) ListJobs(context.Context, *connect.Request[v1.ListJobsRequest]) (*connect.Response[v1.ListJobsResponse], error) {
	return connect.NewResponse(&v1.ListJobsResponse{Read: read(), Jobs: []*v1.JobView{{
		Node: "web-edge-2", Number: 12, Worker: "vsphere", Site: "dc1", Action: "create", Attempt: 2, Since: ago(41 * time.Second), Deadline: timestamppb.New(now.Add(9 * time.Minute)),
	}}}), nil
}

func story() []*v1.EventView {
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-48*time.Second + d)) }
	event := func(i int64, d time.Duration, fact, from, to, by string) *v1.EventView {
		return &v1.EventView{Fleet: "web", Node: "web-edge-2", Number: i, At: at(d), Incarnation: 3, Attempt: 1, Fact: fact, From: from, To: to, By: by, Revision: 5}
	}
	failure := func(e *v1.EventView, attempt int32) *v1.EventView {
		e.Attempt, e.Reason, e.Message, e.Took = attempt, "no_space", "datastore ds1: no space left", durationpb.New(600*time.Millisecond)
		return e
	}
	rendered := event(3, 100*time.Millisecond, "rendered", "rendering", "provisioning", "renderer-1")
	rendered.Took = durationpb.New(400 * time.Microsecond)
	return []*v1.EventView{
		event(1, 0, "created", "", "pending", "platform-ci"),
		event(2, 0, "admitted", "pending", "rendering", "platform-ci"),
		rendered,
		failure(event(4, 800*time.Millisecond, "try_failed", "provisioning", "provisioning", "vsphere-executor-1"), 1),
		event(5, 6*time.Second, "retry_due", "provisioning", "provisioning", "planner"),
		failure(event(6, 7*time.Second, "busy", "provisioning", "provisioning", "vsphere-executor-1"), 2),
		event(7, 12*time.Second, "retry_due", "provisioning", "provisioning", "planner"),
		failure(event(8, 13*time.Second, "busy", "provisioning", "provisioning", "vsphere-executor-1"), 2),
	}
}

func (*gateway) ListEvents(context.Context, *connect.Request[v1.ListEventsRequest]) (*connect.Response[v1.ListEventsResponse], error) {
	return connect.NewResponse(&v1.ListEventsResponse{Read: read(), Events: story()}), nil
}

func (*gateway) ListNetworks(context.Context, *connect.Request[v1.ListNetworksRequest]) (*connect.Response[v1.ListNetworksResponse], error) {
	return connect.NewResponse(&v1.ListNetworksResponse{Read: read(), Networks: []*v1.NetworkView{{
		Name: "dmz", Subnet: "10.0.0.0/24", Range: "10.0.0.10-10.0.0.200", Gateway: "10.0.0.1", Dns: []string{"10.0.0.1"}, Portgroup: "VM Network", Total: 191, Used: 4,
	}}}), nil
}

func (*gateway) ListAddresses(_ context.Context, req *connect.Request[v1.ListAddressesRequest]) (*connect.Response[v1.ListAddressesResponse], error) {
	out := &v1.ListAddressesResponse{Read: read(), Free: 187, Held: 2, Aside: 1, Excluded: 2}
	for _, v := range []*v1.AddressView{
		{First: "10.0.0.10", Last: "10.0.0.10", Count: 1, State: "held", Fleet: "web", Node: "web-edge-0", Since: ago(3 * time.Hour)},
		{First: "10.0.0.11", Last: "10.0.0.12", Count: 2, State: "excluded"},
		{First: "10.0.0.13", Last: "10.0.0.13", Count: 1, State: "aside", Since: ago(2 * time.Minute), Why: "10.0.0.13 of Network dmz: VM printer, not this yard's, has it"},
		{First: "10.0.0.14", Last: "10.0.0.200", Count: 187, State: "free"},
		{First: "10.0.1.7", Last: "10.0.1.7", Count: 1, State: "held", Fleet: "web", Node: "web-edge-1", Since: ago(26 * time.Hour), Outside: true},
	} {
		if s := req.Msg.GetState(); s == "" || s == v.GetState() {
			out.Addresses = append(out.Addresses, v)
		}
	}
	return connect.NewResponse(out), nil
}

func sites() []*v1.SiteView {
	return []*v1.SiteView{
		{Name: "dc1", Url: "https://vcenter.example/sdk", SeatHolder: "vsphere-executor-1", SeatEpoch: 3, SeatUntil: timestamppb.New(now.Add(9 * time.Second)), Nodes: 4, Breaker: "closed"},
		{Name: "dc2", Url: "https://vcenter2.example/sdk", Breaker: "open", BreakerMessage: "login refused"},
	}
}

func (*gateway) ListSites(context.Context, *connect.Request[v1.ListSitesRequest]) (*connect.Response[v1.ListSitesResponse], error) {
	return connect.NewResponse(&v1.ListSitesResponse{Read: read(), Sites: sites()}), nil
}

func (*gateway) ListFailed(_ context.Context, req *connect.Request[v1.ListFailedRequest]) (*connect.Response[v1.ListFailedResponse], error) {
	out := &v1.ListFailedResponse{Read: read()}
	if req.Msg.GetFleet() == "farm" { // more than one command can take
		for i := range 120 {
			out.Failed = append(out.Failed, &v1.FailedView{Node: fmt.Sprintf("farm-w-%d", i), Fleet: "farm", Stage: "booting", Reason: "boot_timeout"})
		}
		return connect.NewResponse(out), nil
	}
	if req.Msg.GetFleet() != "core" {
		out.Failed = []*v1.FailedView{
			{Node: "web-edge-7", Fleet: "web", Stage: "booting", Reason: "config_refused", Message: "ignition: /etc/x: file exists", Attempts: 1, Since: ago(3 * time.Minute), Hint: "yardctl render -f web.yaml --node web-edge-7 --explain", Log: []string{"one", "two", "three", "ignition[312]: /etc/x: file exists"}},
			{Node: "web-edge-8", Fleet: "web", Stage: "provisioning", Reason: "no_space", Message: "datastore ds1: no space left", Attempts: 5, Since: ago(11 * time.Minute)},
			{Node: "web-edge-9", Fleet: "web", Stage: "booting", Reason: "boot_timeout", Message: "the machine did not report", Attempts: 5, Since: ago(time.Hour), Skipped: true},
		}
	}
	return connect.NewResponse(out), nil
}

func (*gateway) DescribeNode(_ context.Context, req *connect.Request[v1.DescribeNodeRequest]) (*connect.Response[v1.DescribeNodeResponse], error) {
	for _, n := range nodes {
		if n.GetName() == req.Msg.GetNode() {
			return connect.NewResponse(&v1.DescribeNodeResponse{
				Node: n, Events: story(), Read: read(), Layers: 3, Guest: guests[n.GetName()],
				Vsphere: &v1.VSphereView{Site: "dc1", Cluster: "c1", Datastore: "ds1", Folder: "web", Template: "flatcar-4593.2.5"},
			}), nil
		}
	}
	if req.Msg.GetNode() == "web-edge-9" {
		n := &v1.NodeView{Name: "web-edge-9", State: "pending", Addresses: []string{"-oProxyCommand=x"}}
		return connect.NewResponse(&v1.DescribeNodeResponse{Node: n, Read: read()}), nil
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("node %q: not found; yardctl get nodes shows what there is", req.Msg.GetNode()))
}

// guests are what the nodes' guests say.
var guests = map[string]*v1.GuestView{
	"web-edge-0": {
		Heard: ago(42 * time.Second), Via: "gateway", State: "degraded", BootId: "b1", Booted: ago(3 * time.Hour),
		Stages: []*v1.GuestStageView{
			{Name: "ignition", At: timestamppb.New(now.Add(3100*time.Millisecond - 3*time.Hour))},
			{Name: "network", At: timestamppb.New(now.Add(4200*time.Millisecond - 3*time.Hour))},
		},
		Failed: []*v1.GuestFailedView{{Unit: "web.service", Result: "exit-code", Log: []string{"cannot bind", "Failed with result 'exit-code'."}}},
	},
	"web-edge-1": {Heard: ago(time.Hour), Silent: true, Via: "guestinfo", State: "running", BootId: "b1", Booted: ago(2 * time.Hour)},
}

// NodeLog says the state only when it is asked again.
func (g *gateway) NodeLog(_ context.Context, req *connect.Request[v1.NodeLogRequest]) (*connect.Response[v1.NodeLogResponse], error) {
	out := &v1.NodeLogResponse{Read: read(), Boot: "b1"}
	switch req.Msg.GetNode() {
	case "web-edge-0":
		out.Lines = []*v1.LogLine{
			{At: ago(50 * time.Second), Source: "stage", Name: "ignition", Text: "the config is applied"},
			{At: ago(42 * time.Second), Source: "unit", Name: "web.service", Text: "cannot bind"},
		}
		if g.asked.Add(1) > 1 {
			out.Lines = append(out.Lines, &v1.LogLine{At: ago(41 * time.Second), Source: "state", Name: "degraded", Text: "units have failed"})
		}
	case "web-edge-1":
		if req.Msg.GetConsole() {
			out.Lines = []*v1.LogLine{{Source: "console", Name: "serial.log", Text: "[    0.0] Linux"}}
		}
		out.Note = "the guest of web-edge-1 has not reported"
	default:
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("node %q: not found; yardctl get nodes shows what there is", req.Msg.GetNode()))
	}
	return connect.NewResponse(out), nil
}

func (*gateway) GetDocument(_ context.Context, req *connect.Request[v1.GetDocumentRequest]) (*connect.Response[v1.GetDocumentResponse], error) {
	if req.Msg.GetRevision() == 99 {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("revision 99 of fleet web: not found; yardctl history web shows what there is"))
	}
	return connect.NewResponse(&v1.GetDocumentResponse{Read: read(), Yaml: "kind: " + req.Msg.GetKind() + "\nmetadata:\n  name: " + req.Msg.GetName() + "\n"}), nil
}

func (*gateway) Status(context.Context, *connect.Request[v1.StatusRequest]) (*connect.Response[v1.StatusResponse], error) {
	return connect.NewResponse(&v1.StatusResponse{
		Read: read(), Nodes: 4, Ready: 1, Failed: 1, OpenJobs: 1, NatsServer: "2.15.2", Sites: sites(),
		Shards: []*v1.ShardStatus{
			{Shard: 0, Stream: "YM_0", Bytes: 53 << 10, LimitBytes: 10 << 30, Messages: 109, ActivePlanner: "planner-1", Planners: 2},
			{Shard: 1, Stream: "YM_1", Bytes: 9 << 30, LimitBytes: 10 << 30, Messages: 5_000_000, PendingInputs: 12, MirrorLag: 3},
		},
		Services: []*v1.ServiceStatus{
			{Service: "planner", Instance: "planner-1", Version: "v1.0.0", Seen: ago(2 * time.Second), Scope: "shard-0", Active: true, ClockOffset: durationpb.New(3 * time.Millisecond)},
			{Service: "planner", Instance: "planner-2", Version: "v1.0.0", Seen: ago(time.Second), Scope: "shard-0", ClockOffset: durationpb.New(-6 * time.Second)},
			{Service: "vsphere-executor", Instance: "vsphere-executor-1", Version: "v0.9.0", Seen: ago(time.Minute), Scope: "dc2", Trouble: "breaker open: login refused"},
		},
	}), nil
}

func (*gateway) Version(context.Context, *connect.Request[v1.VersionRequest]) (*connect.Response[v1.VersionResponse], error) {
	return connect.NewResponse(&v1.VersionResponse{Version: "v0.9.0", Commit: "0123456789abcdef0123", GoVersion: "go1.26.8", Format: 1}), nil
}

func (*gateway) VerifyAudit(_ context.Context, req *connect.Request[v1.VerifyAuditRequest]) (*connect.Response[v1.VerifyAuditResponse], error) {
	out := &v1.VerifyAuditResponse{Nodes: 4, Events: 61}
	if req.Msg.GetFleet() == "forged" {
		out.Breaks = []string{"forged/edge-0: event 7 does not follow event 6"}
	}
	return connect.NewResponse(out), nil
}

func (*gateway) History(_ context.Context, req *connect.Request[v1.HistoryRequest]) (*connect.Response[v1.HistoryResponse], error) {
	if req.Msg.GetFleet() != "web" {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("fleet %q: not found; yardctl get fleets shows what there is", req.Msg.GetFleet()))
	}
	return connect.NewResponse(&v1.HistoryResponse{Read: read(), Revisions: []*v1.RevisionView{
		{Number: 5, At: ago(2 * time.Minute), By: "platform-ci", Outcome: "under way", Standing: "1 of 4 nodes ready, 2 of older revisions, 1 failed", Summary: "replace 3, keep 1", SameAs: 3, Fields: fields()},
		{Number: 4, At: ago(3 * time.Hour), By: "alice", Outcome: "superseded", Ended: ago(2 * time.Minute), Summary: "replace 4"},
		{Number: 3, At: ago(26 * time.Hour), Outcome: "settled", Ended: ago(26*time.Hour - 252*time.Second)},
	}}), nil
}

func (*gateway) ListOrphans(_ context.Context, req *connect.Request[v1.ListOrphansRequest]) (*connect.Response[v1.ListOrphansResponse], error) {
	out := &v1.ListOrphansResponse{Read: read(), Machines: 5}
	if req.Msg.GetSite() == "dc1" {
		out.Orphans = []*v1.OrphanView{
			{MachineId: "vm-12", Machine: "web-edge-0", Fleet: "web", Node: "edge-0", Incarnation: 1, On: true, Address: "10.0.0.10", Words: "incarnation 1 is over, the node is at 2", Removable: true},
			{MachineId: "vm-13", Machine: "web-edge-1", Fleet: "web", Node: "edge-1", Incarnation: 9, Words: "incarnation 9 is younger than this ledger, which knows 1"},
			{Fleet: "web", Node: "edge-2", Incarnation: 1, Words: "node web-edge-2 is ready and its machine vm-14 is not in vCenter"},
		}
	}
	return connect.NewResponse(out), nil
}

// Watch shows a node's way to ready, or one that never gets there.
func (*gateway) Watch(ctx context.Context, req *connect.Request[v1.WatchRequest], s *connect.ServerStream[v1.WatchResponse]) error {
	node := func(state string, change func(*v1.NodeView)) *v1.WatchResponse {
		n := &v1.NodeView{
			Name: "web-edge-1", Fleet: "web", Pool: "edge", Ordinal: 1, State: state, Incarnation: 1, Attempt: 1,
			Since: ago(0), Created: ago(4100 * time.Millisecond), Addresses: []string{"10.0.0.11"},
		}
		change(n)
		return &v1.WatchResponse{Change: &v1.WatchResponse_Node{Node: n}}
	}
	messages := []*v1.WatchResponse{
		{Change: &v1.WatchResponse_Fleet{Fleet: &v1.FleetView{Name: "web", Revision: 5, Desired: 2}}},
		{Change: &v1.WatchResponse_Node{Node: nodes[0]}},
		node("provisioning", func(n *v1.NodeView) { n.WaitingFor = "cloning flatcar-4593.2.5" }),
		{Change: &v1.WatchResponse_Synced{Synced: true}},
		node("booting", func(n *v1.NodeView) { n.WaitingFor = "its first phone-home" }),
		{Change: &v1.WatchResponse_Event{Event: story()[2]}},
		node("ready", func(n *v1.NodeView) { n.ReadyAt = ago(0) }),
	}
	if req.Msg.GetFleet() == "never" {
		messages = []*v1.WatchResponse{
			{Change: &v1.WatchResponse_Fleet{Fleet: &v1.FleetView{Name: "never", Revision: 1, Desired: 1}}},
			{Change: &v1.WatchResponse_Synced{Synced: true}},
		}
	}
	for _, m := range messages {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (*gateway) Doctor(_ context.Context, req *connect.Request[v1.DoctorRequest]) (*connect.Response[v1.DoctorResponse], error) {
	m := req.Msg
	out := &v1.DoctorResponse{Read: read(), Yard: []*v1.Check{{Level: "ok", What: "bus", Words: "nats://127.0.0.1:4222, NATS 2.15.2, as user gateway"}}}
	dc1 := &v1.SiteCheckup{Site: "dc1", Checks: []*v1.Check{
		{Level: "ok", What: "seat", Words: "held by vsphere-executor-1 (epoch 4), 1 standing by"},
		{Level: "warn", What: "certificate", Words: "pinned by the Site's thumbprint; it ends on 2026-03-20", Hint: "renew it in vCenter and correct the Site's thumbprint, if it has one"},
		{Level: "ok", What: "template flatcar-4593.2.5", Words: "disk of 12.5 GiB, a snapshot for linked clones", Pools: []string{"web/a", "web/b", "web/c", "web/d"}},
		{Level: "fail", What: "rights", Words: "yard lacks on datastore ds1 (datastore-37): Datastore.AllocateSpace", Hint: "give the account's role these privileges on that object", Pools: []string{"web/a"}},
	}}
	switch {
	case len(m.GetSources()) > 0:
		out.Sites = []*v1.SiteCheckup{{Site: "dc2", Checks: dc1.GetChecks()[:2]}}
	case len(m.GetSites()) == 1 && m.GetSites()[0] == "dc2":
		out.Sites = []*v1.SiteCheckup{{Site: "dc2", Checks: dc1.GetChecks()[:1]}}
	default:
		out.Sites = []*v1.SiteCheckup{dc1}
	}
	return connect.NewResponse(out), nil
}
