package yardctl

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

// planID names a plan: a fleet's own id, or the digest of several.
func planID(p *shownPlan) string {
	fleets := p.answer.GetFleets()
	if len(fleets) == 1 && len(p.answer.GetDocuments()) == 0 && fleets[0].GetId() != "" {
		return fleets[0].GetId()
	}
	h := sha256.New()
	for _, s := range p.sources {
		_, _ = h.Write(s.GetContent())
	}
	for _, f := range fleets {
		_, _ = h.Write([]byte(f.GetId()))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// plansDir is where plans are kept, for apply --plan. They hold specs, which
// hold no secrets.
func (a *app) plansDir() string {
	dir := a.env.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		dir = filepath.Join(a.env.Getenv("HOME"), ".cache")
	}
	return filepath.Join(dir, "yardmaster", "plans")
}

// keep remembers a plan as the request that applies it. A cache that cannot
// be written is no reason to show no plan.
func (a *app) keep(p *shownPlan) error {
	body, err := protojson.Marshal(p.request())
	if err != nil {
		return fmt.Errorf("remember the plan: %w", err)
	}
	if err := os.MkdirAll(a.plansDir(), 0o700); err != nil {
		return nil //nolint:nilerr // see above
	}
	_ = os.WriteFile(filepath.Join(a.plansDir(), p.id+".json"), body, 0o600)
	return nil
}

var errNoPlan = errors.New("no such plan was shown here; yardctl plan -f FILE shows one")

// kept finds a plan by the beginning of its id.
func (a *app) kept(id string) (*yardmasterv1.ApplyRequest, error) {
	if len(id) < 4 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, wrongInput(fmt.Errorf("--plan %s: %w", id, errNoPlan))
	}
	found, err := filepath.Glob(filepath.Join(a.plansDir(), id+"*.json"))
	if err != nil || len(found) == 0 {
		return nil, wrongInput(fmt.Errorf("--plan %s: %w", id, errNoPlan))
	}
	if len(found) > 1 {
		return nil, wrongInput(fmt.Errorf("--plan %s: several plans begin so; write more of it", id))
	}
	body, err := os.ReadFile(found[0])
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	out := &yardmasterv1.ApplyRequest{}
	if err := protojson.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("read the plan %s: %w", found[0], err)
	}
	return out, nil
}
