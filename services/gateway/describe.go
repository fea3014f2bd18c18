package gateway

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// DescribeNode tells a node's story. Without the bus it tells what is known
// and leaves the events out.
func (g *Gateway) DescribeNode(ctx context.Context, req *connect.Request[v1.DescribeNodeRequest]) (*connect.Response[v1.DescribeNodeResponse], error) {
	out := &v1.DescribeNodeResponse{}
	var node *plan.Node
	shard := 0
	read, err := g.model.read(func(w *plan.World) error {
		if node = findNode(w, req.Msg.GetNode()); node == nil {
			return notFound("node", req.Msg.GetNode(), "nodes")
		}
		shard, _ = shardOf(w, node.Fleet)
		now := time.Now()
		out.Node = g.view(newSpecs(w).node(node), now)
		out.Guest = g.guests.view(node, now)
		describeMachine(w, node, out)
		if v := out.GetVsphere(); v != nil && g.stock.isHost(v.GetSite()) {
			v.Folder = "" // a lone host has but one
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Read = read
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	if out.Events, err = g.story(ctx, shard, teller{node.Fleet, node.Key(), node.Event}, storyEvents); err != nil && read.GetWarning() == "" {
		read.Warning = "its events could not be read: " + reasonOf(err)
	}
	return connect.NewResponse(out), nil
}

// describeMachine adds what the revision says that the node is made from,
// which may be older than the fleet's newest.
func describeMachine(w *plan.World, n *plan.Node, out *v1.DescribeNodeResponse) {
	rev := w.Revision(n.Fleet, n.Revision)
	if rev == nil {
		return
	}
	full := rev.Document.WithDefaults()
	p, ok := full.Pool(n.Pool)
	if !ok {
		return
	}
	p = p.In(n.Domain)
	out.Layers = int32(len(full.Spec.Config) + len(p.Config))
	if v := p.VSphere; v != nil {
		out.Vsphere = &v1.VSphereView{
			Site: v.Site, Cluster: v.Cluster, Datastore: v.Datastore, Folder: v.Folder, Template: v.Source.Template,
		}
	}
	for _, net := range w.NodeNetworks(n) {
		out.Networks = append(out.Networks, &v1.NodeNetwork{
			Card: int32(net.Card), Mac: net.MAC, Network: net.Network, Address: net.Addr, Dhcp: net.DHCP,
			Portgroup: net.Portgroup, DefaultRoute: !net.Side,
		})
	}
}
