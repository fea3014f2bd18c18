package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Simulator is the simulated vCenter, as its own process.
type Simulator struct {
	*Proc
	tb testing.TB
	// Address is host:port of the SDK, Control that of faults and health.
	Address, Control string
	// Dir holds its certificate and thumbprint.
	Dir string
}

// Login of the simulated vCenter.
const (
	SimulatorUser   = "yard"
	SimulatorSecret = "yard"
	Template        = "flatcar-4593.2.5"
)

// StartSimulator runs `yardmaster simulate` with further flags and waits
// until it serves.
func StartSimulator(tb testing.TB, args ...string) *Simulator {
	tb.Helper()
	return StartNamedSimulator(tb, "simulator", args...)
}

// StartNamedSimulator is StartSimulator for those who need several.
func StartNamedSimulator(tb testing.TB, name string, args ...string) *Simulator {
	tb.Helper()
	ports := Ports(tb, 2)
	s := &Simulator{tb: tb, Address: Addr(ports[0]), Control: Addr(ports[1]), Dir: filepath.Join(Dir(tb), name)}
	s.Proc = Start(tb, Spec{
		Name: name, Path: Binary(tb, "yardmaster"), Revive: true,
		Args: append([]string{"simulate", "--dir", s.Dir, "--listen", s.Address, "--control", s.Control}, args...),
	})
	Wait(tb, "simulated vCenter", 30*time.Second, Healthy("http://"+s.Control+"/readyz"))
	return s
}

// URL is the SDK endpoint.
func (s *Simulator) URL() string { return "https://" + s.Address + "/sdk" }

// Login is the SDK endpoint with user and password.
func (s *Simulator) Login() string {
	return fmt.Sprintf("https://%s:%s@%s/sdk", SimulatorUser, SimulatorSecret, s.Address)
}

// Thumbprint is the SHA-256 fingerprint of its certificate.
func (s *Simulator) Thumbprint() string {
	s.tb.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, "thumbprint"))
	if err != nil {
		s.tb.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Rule is a fault of the simulated world; the fields are those of its
// control endpoint.
type Rule struct {
	On      string `json:"on"`
	VM      string `json:"vm,omitempty"`
	Count   int    `json:"count,omitempty"`
	Fault   string `json:"fault,omitempty"`
	Ghost   bool   `json:"ghost,omitempty"`
	Never   bool   `json:"never,omitempty"`
	Address string `json:"address,omitempty"`
	Delay   string `json:"delay,omitempty"`
	Unit    string `json:"unit,omitempty"`
}

// Faults replaces the faults that are on; none switches all off.
func (s *Simulator) Faults(rules ...Rule) {
	s.tb.Helper()
	if rules == nil {
		rules = []Rule{}
	}
	s.Do(http.MethodPut, "/faults", rules)
}

// Away makes the vCenter refuse connections for so long.
func (s *Simulator) Away(d time.Duration) {
	s.tb.Helper()
	s.Do(http.MethodPost, "/away", map[string]string{"for": d.String()})
}

// Busy is how much of a kind runs at once, and how much did at most.
type Busy struct {
	Now  int `json:"now"`
	Most int `json:"most"`
}

// Load is what clients had the vCenter do.
type Load struct {
	Operations Busy            `json:"operations"`
	Clones     Busy            `json:"clones"`
	Templates  map[string]Busy `json:"templates"`
	Datastores map[string]Busy `json:"datastores"`
	Calls      map[string]int  `json:"calls"`
}

// Load reads what ran at once and was called since the last reset.
func (s *Simulator) Load() Load {
	s.tb.Helper()
	return s.load(http.MethodGet, "/load")
}

// ResetLoad is Load, whose peaks and counts begin anew.
func (s *Simulator) ResetLoad() Load {
	s.tb.Helper()
	return s.load(http.MethodPost, "/load/reset")
}

func (s *Simulator) load(method, path string) Load {
	s.tb.Helper()
	var l Load
	if err := json.Unmarshal(s.Do(method, path, struct{}{}), &l); err != nil {
		s.tb.Fatal(err)
	}
	return l
}

// Do calls the control endpoint.
func (s *Simulator) Do(method, path string, body any) []byte {
	s.tb.Helper()
	out, err := s.call(method, path, body)
	if err != nil {
		s.tb.Fatalf("simulator %s %s: %v", method, path, err)
	}
	return out
}

func (s *Simulator) call(method, path string, body any) ([]byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Control+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	out, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, out)
	}
	return out, err
}
