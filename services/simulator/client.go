package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// ControlClient speaks to the control endpoint of a simulated world.
type ControlClient struct {
	// Address is Config.Control; empty means the default.
	Address string
	// HTTP may be nil.
	HTTP *http.Client
}

// Ready returns nil when the world serves.
func (c ControlClient) Ready(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/readyz", nil, nil)
}

// WaitReady asks until the world serves, or ctx ends.
func (c ControlClient) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the simulated world did not become ready: %w", err)
		}
	}
}

const readyPoll = 50 * time.Millisecond

// Status says where the world is and what it holds.
func (c ControlClient) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.do(ctx, http.MethodGet, "/status", nil, &out)
}

// Machines lists the VMs that clients made, oldest first.
func (c ControlClient) Machines(ctx context.Context) ([]Machine, error) {
	var out []Machine
	return out, c.do(ctx, http.MethodGet, "/machines", nil, &out)
}

// Faults returns the rules that are on, and how often each struck.
func (c ControlClient) Faults(ctx context.Context) ([]Strike, error) {
	var out []Strike
	return out, c.do(ctx, http.MethodGet, "/faults", nil, &out)
}

// SetFaults replaces the rules; none switches all faults off.
func (c ControlClient) SetFaults(ctx context.Context, rules ...Rule) error {
	if rules == nil {
		rules = []Rule{}
	}
	return c.do(ctx, http.MethodPut, "/faults", rules, nil)
}

// Denied returns what the account lacks.
func (c ControlClient) Denied(ctx context.Context) ([]Denial, error) {
	var out []Denial
	return out, c.do(ctx, http.MethodGet, "/denied", nil, &out)
}

// SetDenied replaces what the account lacks; nothing grants everything.
func (c ControlClient) SetDenied(ctx context.Context, denied ...Denial) error {
	if denied == nil {
		denied = []Denial{}
	}
	return c.do(ctx, http.MethodPut, "/denied", denied, nil)
}

// Load returns what clients have the vCenter do.
func (c ControlClient) Load(ctx context.Context) (Load, error) {
	var out Load
	return out, c.do(ctx, http.MethodGet, "/load", nil, &out)
}

// ResetLoad is Load, whose peaks and counts begin anew.
func (c ControlClient) ResetLoad(ctx context.Context) (Load, error) {
	var out Load
	return out, c.do(ctx, http.MethodPost, "/load/reset", struct{}{}, &out)
}

// SetDatastoreSize makes the datastore larger or smaller and returns how full
// it is then.
func (c ControlClient) SetDatastoreSize(ctx context.Context, size fleet.Quantity) (Datastore, error) {
	var out Datastore
	return out, c.do(ctx, http.MethodPut, "/datastore", Datastore{Size: size}, &out)
}

// KillSessions ends every session at the vCenter and returns how many.
func (c ControlClient) KillSessions(ctx context.Context) (int, error) {
	var out count
	return out.Count, c.do(ctx, http.MethodPost, "/sessions/kill", struct{}{}, &out)
}

// Away makes the vCenter refuse connections for d.
func (c ControlClient) Away(ctx context.Context, d time.Duration) error {
	return c.do(ctx, http.MethodPost, "/away", away{fleet.Duration{Duration: d}}, nil)
}

// Rename gives a VM or template in the datacenter's VM folder another name,
// until the world is started again.
func (c ControlClient) Rename(ctx context.Context, from, to string) error {
	return c.do(ctx, http.MethodPost, "/rename", rename{from, to}, nil)
}

func (c ControlClient) do(ctx context.Context, method, path string, in, out any) error {
	address := c.Address
	if address == "" {
		address = DefaultControl
	}
	var content io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("simulator %s %s: %w", method, path, err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, content)
	if err != nil {
		return fmt.Errorf("simulator %s %s: %w", method, path, err)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("simulator %s %s: %w", method, path, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("simulator %s %s: %s: %s", method, path, res.Status, strings.TrimSpace(string(reply)))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("simulator %s %s: %w", method, path, err)
	}
	return nil
}
