package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// ListAddresses tells what the addresses of a Network are.
func (g *Gateway) ListAddresses(_ context.Context, req *connect.Request[v1.ListAddressesRequest]) (*connect.Response[v1.ListAddressesResponse], error) {
	out := &v1.ListAddressesResponse{}
	name, state := req.Msg.GetNetwork(), plan.AddressState(req.Msg.GetState())
	counts := map[plan.AddressState]int32{plan.AddressFree: 0, plan.AddressHeld: 0, plan.AddressAside: 0, plan.AddressExcluded: 0}
	if _, ok := counts[state]; !ok && state != "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("state %q: %w", state, errAddressState))
	}
	read, err := g.model.read(func(w *plan.World) error {
		if w.Network(name) == nil {
			return notFound("network", name, "networks")
		}
		for _, run := range w.Addresses(name) {
			if !run.Outside {
				counts[run.State] += int32(run.Count)
			}
			if state == "" || state == run.State {
				out.Addresses = append(out.Addresses, viewAddress(run))
			}
		}
		return nil
	})
	out.Read = read
	out.Free, out.Held = counts[plan.AddressFree], counts[plan.AddressHeld]
	out.Aside, out.Excluded = counts[plan.AddressAside], counts[plan.AddressExcluded]
	return answer(out, err)
}

var errAddressState = errors.New("addresses are free, held, aside or excluded")

func viewAddress(run plan.AddressRun) *v1.AddressView {
	v := &v1.AddressView{First: run.First, Last: run.Last, Count: int32(run.Count), State: string(run.State), Outside: run.Outside}
	c := run.Claim
	if c == nil {
		return v
	}
	v.Since, v.Why = timestamppb.New(c.Since), c.Why
	if run.State == plan.AddressHeld {
		v.Fleet, v.Node = c.Fleet, c.Fleet+"-"+c.Node
	}
	return v
}

// kindAddress stands in the answer to the command; there is no document of
// that kind.
const kindAddress = "Address"

// ReleaseAddress gives an address back that was set aside.
func (g *Gateway) ReleaseAddress(ctx context.Context, req *connect.Request[v1.ReleaseAddressRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	if _, err := netip.ParseAddr(m.GetAddress()); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("address: %w", err))
	}
	id, err := newID(m.GetCommandId())
	if err != nil {
		return nil, err
	}
	out, err := g.send(ctx, order{scope: plan.YardScope, command: &plan.Command{
		ID: id, Release: &plan.ReleaseAddress{Network: m.GetNetwork(), Addr: m.GetAddress()},
	}})
	if err != nil {
		return nil, err
	}
	out.Kind, out.Name = kindAddress, m.GetAddress()
	return connect.NewResponse(out), nil
}
