package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// reportPath is where nodes tell, for ever, how they are.
const reportPath = "POST /v1/nodes/{node}/report"

var errOften = errors.New("this node reports too often")

// report takes a guest's word of how it is. It is no input of the planner:
// it is shown, and it decides nothing. The answer is the guest's order, if the
// planner has one for it.
func (g *Gateway) report(w http.ResponseWriter, r *http.Request) {
	order, outcome, err := g.takeWord(w, r)
	g.metrics.guestReports.WithLabelValues(string(outcome)).Inc()
	if err == nil && order != "" {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, order)
		return
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	switch outcome { //nolint:exhaustive // the others are not worth waiting for
	case homeUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		g.log.WarnContext(r.Context(), "a guest's report was put off",
			service.KeyNode, plain(r.PathValue("node")), service.KeyErr, err.Error())
	case homeTooOften:
		w.Header().Set("Retry-After", strconv.Itoa(int(speakEvery.Seconds())))
	}
	http.Error(w, err.Error(), outcome.status())
}

func (g *Gateway) takeWord(w http.ResponseWriter, r *http.Request) (order string, _ outcome, _ error) {
	caller, outcome, err := g.admit(w, r)
	if err != nil {
		return "", outcome, err
	}
	defer caller.leave()
	n, hash, outcome, err := caller.recognized()
	if err != nil {
		return "", outcome, err
	}
	k, now := nodeKey{n.Fleet, n.Key()}, time.Now()
	if !g.guests.may(k, now) {
		return "", homeTooOften, errOften
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, guest.MaxBytes+1))
	if err != nil {
		return "", homeMalformed, fmt.Errorf("%w: %w", guest.ErrForm, err)
	}
	said, err := guest.Parse(text)
	if err != nil {
		return "", homeMalformed, err
	}
	if err := g.heard(r.Context(), n, word{said, n.Incarnation, viaGateway, now}); err != nil {
		return "", homeUnavailable, err
	}
	return g.order(n, hash), homeStored, nil
}

// order is what a guest is to do, empty if nothing.
func (g *Gateway) order(n *plan.Node, token string) string {
	var order plan.Order
	var due bool
	g.model.mirror.View(func(w *plan.World) { order, due = w.Order(n, token) })
	if !due {
		return ""
	}
	return guest.Order{Rerun: order.Config, Keep: order.Keep}.String()
}

// heard keeps a guest's word: it is stored when it says something new, else
// the other gateways are told that the guest lives.
func (g *Gateway) heard(ctx context.Context, n *plan.Node, w word) error {
	k := nodeKey{n.Fleet, n.Key()}
	conn, err := g.model.conn()
	if err != nil {
		return err
	}
	if !g.guests.hear(k, w) {
		alive := &nats.Msg{Subject: subject.Alive(k.fleet, k.key), Data: []byte(strconv.Itoa(w.incarnation))}
		if err := conn.NATS().PublishMsg(alive); err != nil {
			return errBusAway
		}
		return nil
	}
	m, err := wire.EncodeGuestReport(&wire.GuestReport{Node: k.key, Incarnation: w.incarnation, Report: w.Report})
	if err != nil {
		return err
	}
	if _, err := conn.Publish(ctx, bus.NewMsg(subject.Observation(n.Site, k.fleet, k.key, subject.AspectGuest), m)); err != nil {
		g.guests.lost(k)
		return errBusAway
	}
	return nil
}
