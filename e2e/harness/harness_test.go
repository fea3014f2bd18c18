//go:build e2e

package harness_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
)

// A power cut must lose what was not synced and keep what was; else the
// suites that cut power prove nothing.
func TestPowerCutLosesOnlyWhatWasNotSynced(t *testing.T) {
	v, err := harness.NewVolume(t, "disk", 64)
	if !harness.Need(t, "powercut", err) {
		return
	}
	kept, lost := filepath.Join(v.Path(), "kept"), filepath.Join(v.Path(), "lost")
	writeSynced(t, kept, "synced")
	if err := os.WriteFile(lost, []byte("not synced"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := v.Cut(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lost+"2", nil, 0o644); err == nil {
		t.Error("a write after the power cut succeeded")
	}
	if err := v.Restore(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != "synced" {
		t.Errorf("the synced file holds %q, %v; want it whole", b, err)
	}
	if b, err := os.ReadFile(lost); err == nil && len(b) > 0 {
		t.Errorf("the file that was not synced holds %q; want it gone", b)
	}
}

func writeSynced(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// Kill, freeze, revive: the process control itself.
func TestProcLives(t *testing.T) {
	p := harness.Start(t, harness.Spec{Name: "sleep", Path: "/bin/sleep", Args: []string{"1000"}})
	first := p.PID()
	p.Freeze()
	p.Thaw()
	p.Kill()
	if p.Running() {
		t.Error("killed, and it runs")
	}
	p.Start()
	if p.PID() == first || p.PID() == 0 {
		t.Errorf("pid %d after the second start, %d before", p.PID(), first)
	}
	if d := p.Deaths(); len(d) != 0 {
		t.Errorf("our own kill counts as a death: %v", d)
	}

	s := harness.Start(t, harness.Spec{Name: "short", Path: "/bin/true", Revive: true})
	harness.Wait(t, "three lives", 5*time.Second, func() error {
		if s.Lives() < 3 {
			return os.ErrNotExist
		}
		return nil
	})
	if len(s.Deaths()) == 0 {
		t.Error("an end that nobody asked for was not counted")
	}
}
