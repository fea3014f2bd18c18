package yardctl_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

func (*gateway) ReleaseAddress(_ context.Context, req *connect.Request[v1.ReleaseAddressRequest]) (*connect.Response[v1.CommandResponse], error) {
	return connect.NewResponse(&v1.CommandResponse{
		Kind: "Address", Name: req.Msg.GetAddress(), Accepted: true, CommandId: req.Msg.GetCommandId(), Summary: req.Msg.GetAddress() + " is free again",
	}), nil
}

func (*gateway) Plan(_ context.Context, req *connect.Request[v1.PlanRequest]) (*connect.Response[v1.PlanResponse], error) {
	text := string(req.Msg.GetSources()[0].GetContent())
	p := &v1.FleetPlan{Fleet: "web", RevisionFrom: 4, RevisionTo: 4, Id: "7f3c" + strings.Repeat("0", 60), Basis: "1-abc", MaxUnavailable: 1, MaxSurge: 1, DestroyLimitPercent: 30, Keep: 40, Present: 40}
	out := &v1.PlanResponse{Read: read(), Fleets: []*v1.FleetPlan{p}}
	if strings.Contains(text, "unchanged: true") || strings.Contains(text, "unchanged: \"true\"") {
		return connect.NewResponse(out), nil
	}
	p.RevisionTo, p.Keep, p.Destroys, p.DestroyPercent = 5, 36, 1, 2.5
	p.Images = []*v1.ImageStep{{
		Site: "dc1", Name: "flatcar-4593.2.5", Action: "importing", Done: 100 << 20, Total: 600 << 20,
		From: "https://stable.release.flatcar-linux.net/amd64-usr/4593.2.5/flatcar_production_vmware_ova.ova",
	}}
	p.Takes, p.Median, p.Samples = durationpb.New(6*time.Minute), durationpb.New(48*time.Second), 20
	p.Room = []*v1.Room{
		{Of: "datastore ds1 of site dc1", Unit: "bytes", Free: 412 << 30, Needs: 80 << 30},
		{Of: "datastore ds2 of site dc1", Unit: "bytes", Needs: 20 << 30, Unsized: 2, Unknown: "site dc1 shows no datastore ds2"},
		{Of: "Network dmz", Unit: "addresses", Free: 1, Needs: 2, Short: true},
	}
	p.Notes = []string{"Network dmz has 14 addresses free, this needs 2"}
	p.Nodes = []*v1.NodePlan{
		{Node: "web-db-0", Action: "replace", Causes: []string{"spec.pools[db].config[1]: /etc/etcd.conf changes"}, Addresses: []string{"10.0.0.20"}},
		{Node: "web-edge-0", Action: "resize", Hot: true, Causes: []string{"spec.pools[edge].vsphere.memory 4Gi -> 8Gi"}},
		{Node: "web-edge-1", Action: "resize", Hot: true, Causes: []string{"spec.pools[edge].vsphere.memory 4Gi -> 8Gi"}},
		{Node: "web-edge-2", Action: "resize", Causes: []string{"spec.pools[edge].vsphere.memory 4Gi -> 8Gi"}},
		{Node: "web-edge-38", Action: "create", Causes: []string{"spec.pools[edge].replicas 38 -> 40"}, Addresses: []string{"10.0.0.48"}},
		{Node: "web-edge-39", Action: "create", Causes: []string{"spec.pools[edge].replicas 38 -> 40"}, Addresses: []string{"10.0.0.49"}},
	}
	if strings.Contains(text, "braked") && req.Msg.GetMaxDestroyPercent() < 50 {
		p.Destroys, p.DestroyPercent, p.Code = 20, 50, "brake"
		p.Refusals = []string{"this destroys 20 of 40 nodes (50.0 %), the limit is 30 %; allow it once: --max-destroy-percent 50"}
	}
	return connect.NewResponse(out), nil
}

func fields() []*v1.FieldDiff {
	return []*v1.FieldDiff{
		{Path: "spec.pools[edge].vsphere.cpus", Was: "2", Now: "4"},
		{Path: "spec.vars.ntp", Now: "ntp.example"},
		{Path: "spec.config[1].butane", Was: "variant: flatcar\nversion: 1.0.0\nstorage:\n  files: []\nx: 1\ny: 2\n", Now: "variant: flatcar\nversion: 1.1.0\nstorage:\n  files: []\nx: 1\ny: 2\n"},
	}
}

func (*gateway) Diff(_ context.Context, req *connect.Request[v1.DiffRequest]) (*connect.Response[v1.DiffResponse], error) {
	d := &v1.DocumentDiff{Kind: "Fleet", Name: "web", From: 4, Fields: fields()}
	if req.Msg.GetFleet() != "" {
		d.To = 5
	}
	if req.Msg.GetFrom() == 5 {
		d.From, d.Fields = 5, nil
	}
	return connect.NewResponse(&v1.DiffResponse{Read: read(), Documents: []*v1.DocumentDiff{d}}), nil
}

func (*gateway) Apply(_ context.Context, req *connect.Request[v1.ApplyRequest]) (*connect.Response[v1.ApplyResponse], error) {
	if req.Msg.GetCommandId() == "" || req.Msg.GetPlanBasis()["web"] != "1-abc" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the test's apply lacks its command id or the plan's basis"))
	}
	r := &v1.CommandResponse{Kind: "Fleet", Name: "web", Accepted: true, Revision: 5, Summary: "create 2, replace 1, keep 39"}
	text := string(req.Msg.GetSources()[0].GetContent())
	switch {
	case strings.Contains(text, "moved"):
		r = &v1.CommandResponse{Kind: "Fleet", Name: "web", Code: "moved", Refusal: []string{"plan 7f3c no longer holds: node web-db-0 became failed at 10:31:07; plan again"}}
	case strings.Contains(text, "queued"):
		r = &v1.CommandResponse{Kind: "Fleet", Name: "web", Pending: true, Summary: "stored; no planner is running, it will be decided when one does", CommandId: "ID"}
	}
	return connect.NewResponse(&v1.ApplyResponse{Results: []*v1.CommandResponse{r}}), nil
}

func (*gateway) Scale(_ context.Context, req *connect.Request[v1.ScaleRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	if m.GetPool() != "edge" {
		return connect.NewResponse(&v1.CommandResponse{Kind: "Fleet", Name: m.GetFleet(), Code: "not_found", Refusal: []string{"fleet web has no pool " + m.GetPool()}}), nil
	}
	if m.GetTarget() == 500 && m.GetMaxCreate() < 497 {
		return connect.NewResponse(&v1.CommandResponse{Kind: "Fleet", Name: "web", Code: "brake", Refusal: []string{"this makes 497 more nodes, the limit is 100"}}), nil
	}
	if m.GetTarget() > 1000 {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("the bus does not answer: nothing was sent"))
	}
	return connect.NewResponse(&v1.CommandResponse{Kind: "Fleet", Name: "web", Accepted: true, Revision: 5, Summary: fmt.Sprintf("target of web/edge: 3 -> %d", m.GetTarget())}), nil
}

func (*gateway) Delete(_ context.Context, req *connect.Request[v1.DeleteRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	if m.GetKind() == "Network" {
		return connect.NewResponse(&v1.CommandResponse{Kind: m.GetKind(), Name: m.GetName(), Code: "in_use", Refusal: []string{"Network dmz is used by fleet web"}}), nil
	}
	return connect.NewResponse(&v1.CommandResponse{Kind: m.GetKind(), Name: m.GetName(), Accepted: true, Summary: "delete 4"}), nil
}

func (*gateway) Retry(_ context.Context, req *connect.Request[v1.RetryRequest]) (*connect.Response[v1.CommandResponse], error) {
	if req.Msg.GetReason() == "boot_timeout" && req.Msg.GetMaxDestroyPercent() < 100 {
		refusal := fmt.Sprintf("this destroys %d of 200 nodes", req.Msg.GetAltogether())
		return connect.NewResponse(&v1.CommandResponse{Kind: "Fleet", Name: req.Msg.GetFleet(), Code: "brake", Refusal: []string{refusal}}), nil
	}
	summary := "tries again: " + strings.Join(req.Msg.GetNodes(), " ")
	if n := len(req.Msg.GetNodes()); n > 5 {
		summary = fmt.Sprintf("%d nodes tried again", n)
	}
	return connect.NewResponse(&v1.CommandResponse{Kind: "Fleet", Name: req.Msg.GetFleet(), Accepted: true, Summary: summary}), nil
}

func (*gateway) Mend(_ context.Context, req *connect.Request[v1.MendRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	out := &v1.CommandResponse{Kind: "Fleet", Name: m.GetFleet(), Accepted: true, Summary: m.GetMend() + ": " + strings.Join(m.GetNodes(), " ")}
	if m.GetMend() == "replace" && m.GetNodes()[0] == "web-edge-1" {
		out = &v1.CommandResponse{Kind: "Fleet", Name: "web", Code: "invalid", Refusal: []string{"node web-edge-1 is on its way out"}}
	}
	return connect.NewResponse(out), nil
}

func (*gateway) Pause(_ context.Context, req *connect.Request[v1.PauseRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	out := &v1.CommandResponse{
		Kind: "Fleet", Name: m.GetFleet(), Accepted: true, Summary: fmt.Sprintf("paused %v, called back %v", m.GetPaused(), m.GetCallBack()),
	}
	if m.GetFleet() == "" {
		out.Kind = "Yard"
	}
	return connect.NewResponse(out), nil
}

func (*gateway) RemoveOrphans(_ context.Context, req *connect.Request[v1.RemoveOrphansRequest]) (*connect.Response[v1.RemoveOrphansResponse], error) {
	out := &v1.RemoveOrphansResponse{}
	for _, id := range req.Msg.GetMachineIds() {
		out.Results = append(out.Results, &v1.RemovedOrphan{MachineId: id, Machine: "web-edge-0", Removed: true})
	}
	return connect.NewResponse(out), nil
}
