package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The sources of a node's log lines.
const (
	sourceStage = "stage"
	sourceState = "state"
	sourceUnit  = "unit"
)

// stageWords says what a stage of the boot is; another one is shown by its
// name.
var stageWords = map[string]string{
	guest.StageIgnition:  "the config is applied",
	guest.StageSystem:    "the system started again from its disk",
	guest.StageNetwork:   "the network is up",
	guest.StagePhoneHome: "the yard answered the first report",
	guest.StageUnits:     "every unit that starts with the machine was started",
}

// NodeLog is what a node's guest said on its way, newest last.
func (g *Gateway) NodeLog(_ context.Context, req *connect.Request[v1.NodeLogRequest]) (*connect.Response[v1.NodeLogResponse], error) {
	var node *plan.Node
	read, err := g.model.read(func(w *plan.World) error {
		if node = findNode(w, req.Msg.GetNode()); node == nil {
			return notFound("node", req.Msg.GetNode(), "nodes")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &v1.NodeLogResponse{Read: read}
	s, ok := g.guests.of(node)
	if !ok {
		out.Note = fmt.Sprintf("the guest of %s has not reported in incarnation %d; a config without role base never does", node.Name(), node.Incarnation)
		return connect.NewResponse(out), nil
	}
	out.Boot, out.Lines = s.BootID, s.lines()
	switch now := time.Now(); {
	case s.via == viaGuestinfo:
		out.Note = "this came through guestinfo, which everybody on the machine can write: its guest does not reach the gateway"
	case g.guests.silent(node, s, now):
		out.Note = fmt.Sprintf("the guest has said nothing for %s", now.Sub(s.heard).Round(time.Second))
	}
	return connect.NewResponse(out), nil
}

// lines is what a guest said as lines of a log.
func (s *spoken) lines() []*v1.LogLine {
	line := func(at time.Time, source, name, text string) *v1.LogLine {
		return &v1.LogLine{At: timestamppb.New(at), Source: source, Name: name, Text: text}
	}
	var out []*v1.LogLine
	for _, stage := range s.Stages {
		out = append(out, line(s.booted.Add(stage.After), sourceStage, stage.Name, stageWords[stage.Name]))
	}
	slices.SortStableFunc(out, func(a, b *v1.LogLine) int { return a.GetAt().AsTime().Compare(b.GetAt().AsTime()) })
	for _, f := range s.Failed {
		for _, text := range f.Log {
			out = append(out, line(s.changed, sourceUnit, f.Unit, text))
		}
		out = append(out, line(s.changed, sourceUnit, f.Unit, "failed: "+f.Result))
	}
	return append(out, line(s.changed, sourceState, s.State, stateSaid[s.State]))
}

// stateSaid says what systemd's words for the whole system mean.
var stateSaid = map[string]string{
	guest.StateStarting: "units are still being started",
	guest.StateRunning:  "every unit works",
	guest.StateDegraded: "units have failed",
}
