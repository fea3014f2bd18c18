package gateway

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The sources of a node's log lines.
const (
	sourceStage = "stage"
	sourceState = "state"
	sourceUnit  = "unit"
	// sourceConsole lines bear no time of ours.
	sourceConsole = "console"
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

// NodeLog is what a node's guest said on its way, newest last. Of a guest
// that never reported, or if asked, the end of the machine's console stands
// before it.
func (g *Gateway) NodeLog(ctx context.Context, req *connect.Request[v1.NodeLogRequest]) (*connect.Response[v1.NodeLogResponse], error) {
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
	s, spoke := g.guests.of(node)
	if !spoke {
		out.Note = fmt.Sprintf("the guest of %s has not reported in incarnation %d; a config without role base never does", node.Name(), node.Incarnation)
	}
	if !spoke || req.Msg.GetConsole() {
		lines, note := g.console(ctx, node)
		out.Lines = lines
		if note != "" {
			out.Note = joined(out.GetNote(), note)
		}
	}
	if spoke {
		out.Boot, out.Lines = s.BootID, append(out.GetLines(), s.lines()...)
		out.Note = joined(out.GetNote(), g.noteOf(node, s))
	}
	return connect.NewResponse(out), nil
}

// joined puts notes together.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// noteOf says what is not as usual with a guest's word.
func (g *Gateway) noteOf(n *plan.Node, s spoken) string {
	switch now := time.Now(); {
	case g.guests.silent(n, s, now):
		return fmt.Sprintf("the guest has said nothing for %s", now.Sub(s.heard).Round(time.Second))
	case s.via == viaGuestinfo:
		return "this came through guestinfo, which everybody on the machine can write: its guest does not reach the gateway"
	}
	return ""
}

// consoleWait bounds the asking for a console.
const consoleWait = 10 * time.Second

// console asks the site's executor for the end of the machine's console, or
// says why there is none.
func (g *Gateway) console(ctx context.Context, n *plan.Node) (lines []*v1.LogLine, note string) {
	if n.MachineID == "" {
		return nil, "it has no machine yet"
	}
	conn, err := g.model.conn()
	if err != nil {
		return nil, "its console cannot be read: " + err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, consoleWait)
	defer cancel()
	answer := &v1.ConsoleAnswer{}
	err = conn.Ask(ctx, n.Site, subject.AskConsole, &v1.ConsoleQuestion{
		Fleet: n.Fleet, Node: n.Key(), Incarnation: int32(n.Incarnation), MachineId: n.MachineID, MachineUuid: n.MachineUUID,
	}, answer)
	if err != nil {
		note = "its console cannot be read: " + err.Error()
		if hint := fault.Of(err).Hint; hint != "" {
			note += " (" + hint + ")"
		}
		return nil, note
	}
	for _, text := range answer.GetLines() {
		lines = append(lines, &v1.LogLine{Source: sourceConsole, Name: path.Base(answer.GetFile()), Text: text})
	}
	if len(lines) == 0 {
		return nil, fmt.Sprintf("its console %s is empty", answer.GetFile())
	}
	return lines, ""
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

// lastWords are the last that a failed node's guest said: how far it came,
// and what its failed units said.
func (g *guests) lastWords(n *plan.Node) []string {
	s, ok := g.of(n)
	if !ok {
		return nil
	}
	var out []string
	for _, stage := range s.Stages {
		out = []string{fmt.Sprintf("the guest came as far as %s, %s after its kernel began", stage.Name, stage.After)}
	}
	for _, f := range s.Failed {
		for _, text := range f.Log {
			out = append(out, f.Unit+": "+text)
		}
		out = append(out, f.Unit+" failed: "+f.Result)
	}
	return out
}

// stateSaid says what systemd's words for the whole system mean.
var stateSaid = map[string]string{
	guest.StateStarting: "units are still being started",
	guest.StateRunning:  "every unit works",
	guest.StateDegraded: "units have failed",
}
