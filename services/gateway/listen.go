package gateway

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// countEvery is how often silent nodes are counted.
const countEvery = 15 * time.Second

// listen keeps what the guests said up to date until ctx ends: what any
// gateway or executor stored, and who spoke to another gateway.
func (g *Gateway) listen(ctx context.Context, conn *bus.Conn) error {
	sub, err := conn.NATS().Subscribe(subject.Alive("*", "*"), func(m *nats.Msg) {
		tokens := strings.Split(m.Subject, ".")
		incarnation, err := strconv.Atoi(string(m.Data))
		if err == nil && len(tokens) == 3 {
			g.guests.lives(nodeKey{tokens[1], tokens[2]}, incarnation, time.Now())
		}
	})
	if err != nil {
		return fmt.Errorf("listen to the other gateways: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // a lost connection has done it
	follower{
		what: "reports of guests",
		filters: []string{
			subject.Observation("*", "*", "*", subject.AspectGuest),
			subject.Observation("*", "*", "*", subject.AspectGuestinfo),
		},
		take: g.saw, caughtUp: func() {},
	}.run(ctx, conn, g.log)
	return nil
}

// saw takes in a stored report.
func (g *Gateway) saw(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	r, err := wire.DecodeGuestReport(m.Headers().Get(wire.HeaderType), m.Headers().Get(wire.HeaderVersion), m.Data())
	if err != nil {
		return err
	}
	tokens := strings.Split(m.Subject(), ".") // obs.site.fleet.key.aspect
	if len(tokens) != 5 || tokens[3] != r.Node {
		return fmt.Errorf("the report of %s stands at another node's subject", r.Node)
	}
	via := viaGuestinfo
	if tokens[4] == subject.AspectGuest {
		via = viaGateway
	}
	g.guests.learn(nodeKey{tokens[2], r.Node}, word{r.Report, r.Incarnation, via, meta.Timestamp})
	return nil
}

// countSilent keeps the metric of silent nodes until ctx ends.
func (g *Gateway) countSilent(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		if g.model.loaded() {
			g.model.mirror.View(func(w *plan.World) { g.metrics.silentNodes(g.guests.count(w, time.Now())) })
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
