package progress_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl/progress"
)

// yard answers each watch with the next of its scripts. After a script it
// keeps the stream open, or breaks it when there is another one.
type yard struct {
	yardmasterv1connect.UnimplementedYardServiceHandler
	scripts [][]*v1.WatchResponse
	watches atomic.Int32
}

// Watch plays a script.
func (y *yard) Watch(ctx context.Context, _ *connect.Request[v1.WatchRequest], s *connect.ServerStream[v1.WatchResponse]) error {
	i := int(y.watches.Add(1)) - 1
	for _, m := range y.scripts[min(i, len(y.scripts)-1)] {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	if i+1 < len(y.scripts) {
		return connect.NewError(connect.CodeUnavailable, errors.New("this gateway stops; watch again"))
	}
	<-ctx.Done()
	return ctx.Err()
}

var began = time.Date(2026, 3, 4, 10, 30, 0, 0, time.UTC)

func fleet(name string, revision, desired int32) *v1.WatchResponse {
	return &v1.WatchResponse{Change: &v1.WatchResponse_Fleet{Fleet: &v1.FleetView{Name: name, Revision: revision, Desired: desired}}}
}

func synced() *v1.WatchResponse {
	return &v1.WatchResponse{Change: &v1.WatchResponse_Synced{Synced: true}}
}

// node is a node in a state that it entered so many seconds after it was
// made.
func node(name, state string, after time.Duration) *v1.WatchResponse {
	n := &v1.NodeView{
		Name: name, Fleet: strings.Split(name, "-")[0], Pool: "edge", State: state, Incarnation: 1, Attempt: 1,
		Created: timestamppb.New(began), Since: timestamppb.New(began.Add(after)),
	}
	if state == "ready" {
		n.ReadyAt = n.GetSince()
	}
	return &v1.WatchResponse{Change: &v1.WatchResponse_Node{Node: n}}
}

func outdated(m *v1.WatchResponse) *v1.WatchResponse {
	m.GetNode().Outdated = true
	return m
}

// TestShow holds when the show ends, and what was seen until then.
func TestShow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scripts [][]*v1.WatchResponse
		fleets  []string
		want    []string
		wantNot string
		err     error
	}{
		"nodes become ready": {
			scripts: [][]*v1.WatchResponse{{
				fleet("web", 1, 2), node("web-edge-0", "booting", time.Second), synced(),
				node("web-edge-1", "pending", 0), node("web-edge-0", "ready", 2*time.Second), node("web-edge-1", "ready", 4100*time.Millisecond),
			}},
			want: []string{"◐ booting", "● ready", "first node ready after 2.0 s, all 2 nodes after 4.1 s"},
		},
		"a chunk of nodes is still to be made": {
			scripts: [][]*v1.WatchResponse{{
				fleet("web", 1, 2), node("web-edge-0", "ready", time.Second), synced(), node("web-edge-1", "booting", 0), node("web-edge-1", "ready", time.Second),
			}},
			want: []string{"node ready after 1.0 s"}, wantNot: "web-edge-0",
		},
		"nothing to do": {
			scripts: [][]*v1.WatchResponse{{fleet("web", 1, 1), node("web-edge-0", "ready", time.Second), synced()}},
			wantNot: "web",
		},
		"a node fails for good": {
			scripts: [][]*v1.WatchResponse{{
				fleet("web", 1, 2), node("web-edge-0", "booting", 0), node("web-edge-1", "booting", 0), synced(),
				node("web-edge-0", "ready", time.Second), node("web-edge-1", "failed", time.Second),
			}},
			want: []string{"✗ failed"}, err: progress.ErrFailed,
		},
		"outdated nodes are not there yet": {
			scripts: [][]*v1.WatchResponse{{
				fleet("web", 2, 1), outdated(node("web-edge-0", "ready", 0)), synced(),
				node("web-edge-0", "deleting", 30*time.Second), node("web-edge-0", "ready", 33*time.Second),
			}},
			want: []string{"◒ deleting", "node ready after 3.0 s"},
		},
		"a new revision makes what is known old": {
			scripts: [][]*v1.WatchResponse{
				{fleet("web", 1, 2), node("web-edge-0", "ready", 0), synced(), fleet("web", 2, 1)},
				{fleet("web", 2, 1), outdated(node("web-edge-0", "ready", 0)), synced(), node("web-edge-0", "rendering", 0), node("web-edge-0", "ready", time.Second)},
			},
			want: []string{"◌ rendering", "● ready"},
		},
		"the watch breaks": {
			scripts: [][]*v1.WatchResponse{
				{fleet("web", 1, 2), node("web-edge-0", "booting", 0), node("web-edge-9", "booting", 0), synced()},
				{fleet("web", 1, 1), node("web-edge-0", "ready", time.Second), synced()},
			},
			want: []string{"the watch broke (this gateway stops; watch again); trying again, the work goes on", "node ready after 1.0 s"},
		},
		"a fleet goes": {
			scripts: [][]*v1.WatchResponse{{
				{Change: &v1.WatchResponse_Fleet{Fleet: &v1.FleetView{Name: "web", Revision: 1, Deleting: true}}},
				node("web-edge-0", "deleting", time.Second), synced(), node("web-edge-0", "deleted", time.Second),
			}},
			want: []string{"◒ deleting", "· deleted"},
		},
		"other fleets do not matter": {
			scripts: [][]*v1.WatchResponse{{
				fleet("web", 1, 1), fleet("core", 1, 5), node("core-edge-0", "booting", 0), node("web-edge-0", "booting", 0), synced(), node("web-edge-0", "ready", time.Second),
			}},
			fleets: []string{"web"}, want: []string{"web-edge-0"}, wantNot: "core",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out bytes.Buffer
			err := progress.Show(ctx, client(t, &yard{scripts: c.scripts}), &out, progress.Options{Fleets: c.fleets})
			if !errors.Is(err, c.err) {
				t.Errorf("Show() = %v; want %v", err, c.err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("Show() printed\n%s\nwhich lacks %q", out.String(), want)
				}
			}
			if c.wantNot != "" && strings.Contains(out.String(), c.wantNot) {
				t.Errorf("Show() printed\n%s\nwhich holds %q", out.String(), c.wantNot)
			}
		})
	}
}

// TestShowEnds holds that a show that cannot end is ended by its context.
func TestShowEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	y := &yard{scripts: [][]*v1.WatchResponse{{fleet("web", 1, 1), synced(), node("web-edge-0", "booting", 0)}}}
	err := progress.Show(ctx, client(t, y), cancelling{cancel}, progress.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Show() = %v; want %v", err, context.Canceled)
	}
}

// cancelling is a screen that ends the show with the first line.
type cancelling struct{ cancel func() }

// Write ends the show.
func (c cancelling) Write(b []byte) (int, error) {
	c.cancel()
	return len(b), nil
}

func client(t *testing.T, y *yard) yardmasterv1connect.YardServiceClient {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(yardmasterv1connect.NewYardServiceHandler(y))
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return yardmasterv1connect.NewYardServiceClient(server.Client(), server.URL)
}
