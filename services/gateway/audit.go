package gateway

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/ledger"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// errAuditing keeps the bus from reading all of its events twice at a time.
var errAuditing = errors.New("an audit is under way at this gateway; try again when it is done")

// VerifyAudit walks the event chains of a fleet, or of all.
func (g *Gateway) VerifyAudit(ctx context.Context, req *connect.Request[v1.VerifyAuditRequest]) (*connect.Response[v1.VerifyAuditResponse], error) {
	conn, err := g.model.conn()
	if err != nil {
		return nil, unavailable(err)
	}
	if fleet := req.Msg.GetFleet(); fleet != "" {
		if _, ok := g.model.place(fleet); !ok {
			return nil, notFound("fleet", fleet, "fleets")
		}
	}
	if !g.auditing.TryLock() {
		return nil, unavailable(errAuditing)
	}
	defer g.auditing.Unlock()
	audit, err := ledger.Verify(ctx, conn, req.Msg.GetFleet())
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return connect.NewResponse(&v1.VerifyAuditResponse{
		Nodes: int32(audit.Nodes), Events: audit.Events, Breaks: audit.Breaks,
	}), nil
}
