package progress

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

// nodeLine is a node on a line: name, sign and state, address, how long, and
// what it waits for.
func nodeLine(p show.Palette, n *yardmasterv1.NodeView, width int, took time.Duration) string {
	address := strings.Join(n.GetAddresses(), " ")
	return strings.TrimRight(fmt.Sprintf("%-*s  %s %-13s %-11s  %8s   %s",
		width, n.GetName(), p.State(n.GetState(), show.Sign(n.GetState())), n.GetState(),
		address, show.Duration(took), waiting(n)), " ")
}

// waiting is why a node waits, or else what for.
func waiting(n *yardmasterv1.NodeView) string {
	switch {
	case n.GetState() == stateReady:
		return ""
	case n.GetReason() != "":
		text := n.GetReason()
		if n.GetAttempt() > 1 {
			text += fmt.Sprintf(" (attempt %d)", n.GetAttempt())
		}
		return text + ": " + n.GetMessage()
	}
	return show.Waiting(n.GetWaitingFor())
}

// lines prints a line for each step, for logs and pipelines.
type lines struct {
	out     io.Writer
	palette show.Palette
	began   time.Time
}

func (l *lines) draw(t *tracker, n *yardmasterv1.NodeView) {
	_, _ = fmt.Fprintf(l.out, "%8s  %s\n", fmt.Sprintf("%.1f s", time.Since(l.began).Seconds()), nodeLine(l.palette, n, 20, t.elapsed(n, time.Now())))
}

func (l *lines) say(line string) { _, _ = fmt.Fprintln(l.out, line) }
func (l *lines) close()          {}

// mostBars is how many nodes have a bar of their own; of more, each pool has
// one.
const mostBars = 20

// bars redraws the nodes, or the pools of many, on a terminal.
type bars struct {
	screen  *mpb.Progress
	palette show.Palette
	tracker *tracker
	mu      sync.Mutex
	drawn   map[string]*mpb.Bar
}

func newBars(ctx context.Context, out io.Writer, p show.Palette, t *tracker) *bars {
	return &bars{
		screen:  mpb.NewWithContext(ctx, mpb.WithOutput(out), mpb.WithWidth(100), mpb.WithRefreshRate(120*time.Millisecond)),
		palette: p, tracker: t, drawn: map[string]*mpb.Bar{},
	}
}

func (b *bars) draw(t *tracker, n *yardmasterv1.NodeView) {
	b.mu.Lock()
	defer b.mu.Unlock()
	nodes := t.sorted()
	if len(nodes) > mostBars {
		pool := n.GetFleet() + "/" + n.GetPool()
		b.drop(func(key string) bool { return !strings.Contains(key, "/") })
		b.add(pool, func(w io.Writer) { b.pool(w, pool) })
		return
	}
	b.add(n.GetName(), func(w io.Writer) { b.node(w, n.GetName()) })
	if n.GetState() == stateDeleted {
		b.drop(func(key string) bool { return key == n.GetName() })
	}
}

// add makes a bar whose one line is written by line.
func (b *bars) add(key string, line func(io.Writer)) {
	if b.drawn[key] != nil {
		return
	}
	b.drawn[key] = b.screen.MustAdd(1, mpb.BarFillerFunc(func(w io.Writer, _ decor.Statistics) error {
		line(w)
		return nil
	}), mpb.BarFillerTrim())
}

// drop takes bars off the screen.
func (b *bars) drop(which func(key string) bool) {
	for key, bar := range b.drawn {
		if which(key) {
			bar.Abort(true)
			delete(b.drawn, key)
		}
	}
}

func (b *bars) node(w io.Writer, name string) {
	nodes := b.tracker.sorted()
	width := 0
	for _, n := range nodes {
		width = max(width, len(n.GetName()))
	}
	for _, n := range nodes {
		if n.GetName() == name {
			_, _ = fmt.Fprintf(w, "  %s %s", b.bar(n.GetState(), show.Step(n.GetState())*10/show.Steps), nodeLine(b.palette, n, width, b.tracker.elapsed(n, time.Now())))
		}
	}
}

func (b *bars) pool(w io.Writer, pool string) {
	ready, all, failed := 0, 0, 0
	for _, n := range b.tracker.sorted() {
		if n.GetFleet()+"/"+n.GetPool() != pool {
			continue
		}
		all++
		switch n.GetState() {
		case stateReady:
			ready++
		case stateFailed:
			failed++
		}
	}
	text := fmt.Sprintf("  %s %-24s %d of %s ready", b.bar(stateReady, ready*10/max(all, 1)), pool, ready, show.Count(all, "node"))
	if failed > 0 {
		text += ", " + b.palette.Paint(show.Red, show.Count(failed, "failed node"))
	}
	_, _ = io.WriteString(w, text)
}

// bar is a bar of ten cells.
func (b *bars) bar(state string, filled int) string {
	return b.palette.State(state, strings.Repeat("━", filled)) + b.palette.Paint(show.Grey, strings.Repeat("─", 10-filled))
}

func (b *bars) say(line string) { _, _ = fmt.Fprintln(b.screen, line) }

func (b *bars) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bar := range b.drawn {
		bar.SetCurrent(1)
	}
	b.screen.Wait()
}
