package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
)

const (
	// maxReport bounds the body of a phone-home.
	maxReport = 4 << 10
	// maxClaim bounds each field of it: a machine id has 32 characters, a
	// host name at most 253.
	maxClaim = 253
)

// report is what a node says of itself. These are claims of a guest, not
// proofs: they are shown and never decide anything.
type report struct {
	MachineID string `json:"machine_id"`
	BootID    string `json:"boot_id"`
	Hostname  string `json:"hostname"`
	OSVersion string `json:"os_version"`
	Address   string `json:"address"`
}

var errReport = errors.New("the report is not understood")

// readReport reads a node's report. Unknown fields are ignored, because a
// node of tomorrow may say more; anything but one JSON object is refused.
func readReport(r io.Reader) (report, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return report{}, fmt.Errorf("%w: %w", errReport, err)
	}
	if len(body) > maxReport {
		return report{}, fmt.Errorf("%w: more than %d bytes", errReport, maxReport)
	}
	var out report
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&out); err != nil {
		return report{}, fmt.Errorf("%w: %w", errReport, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return report{}, fmt.Errorf("%w: something follows the JSON object", errReport)
	}
	for _, field := range []*string{&out.MachineID, &out.BootID, &out.Hostname, &out.OSVersion, &out.Address} {
		*field = plain(*field)
	}
	if ip, err := netip.ParseAddr(out.Address); err != nil || ip.Zone() != "" {
		out.Address = ""
	}
	return out, nil
}

// plain keeps of a guest's word what can be shown on a terminal, in a log
// and in a label without doing harm.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxClaim {
		s = strings.ToValidUTF8(s[:maxClaim], "")
	}
	return strings.TrimSpace(s)
}

// maxReports bounds the reports in work at once: a thousand nodes may boot
// in the same second, and so may a stranger's loop.
const maxReports = 256

// reportWait bounds the reading of one report.
const reportWait = 10 * time.Second

// phoneHome takes a node's report that it booted. A booting machine is owed
// the truth: only a node that does not exist gets 404, and our own trouble is
// 503, so that it tries again.
func (g *Gateway) phoneHome(w http.ResponseWriter, r *http.Request) {
	outcome, err := g.takeReport(w, r)
	g.metrics.phoneHomes.WithLabelValues(string(outcome)).Inc()
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"stored"}`+"\n")
		return
	}
	if outcome == homeUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		g.log.WarnContext(r.Context(), "phone-home was put off",
			service.KeyNode, plain(r.PathValue("node")), service.KeyErr, err.Error())
	}
	http.Error(w, err.Error(), outcome.status())
}

func (g *Gateway) takeReport(w http.ResponseWriter, r *http.Request) (outcome, error) {
	select {
	case g.reports <- struct{}{}:
		defer func() { <-g.reports }()
	default:
		return homeUnavailable, errCrowd
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(reportWait))
	token, sent := bearer(r)
	if !sent {
		return homeRefused, errNodeToken
	}
	said, err := readReport(r.Body)
	if err != nil {
		return homeMalformed, err
	}
	o, outcome, err := g.recognize(r.PathValue("node"), token)
	if err != nil {
		return outcome, err
	}
	home := o.command.PhoneHome
	home.MachineID, home.BootID, home.OSVersion, home.Address = said.MachineID, said.BootID, said.OSVersion, said.Address
	o.command.By, o.command.At = "node:"+home.Node, time.Now()
	if _, err := g.store(r.Context(), o); err != nil {
		return homeUnavailable, errBusAway
	}
	return homeStored, nil
}

// recognize finds the node and checks its token. The order carries the
// token's hash, which the planner checks once more against its own record.
func (g *Gateway) recognize(name, token string) (order, outcome, error) {
	sum := sha256.Sum256([]byte(token))
	hash := hex.EncodeToString(sum[:])
	if !g.model.current() {
		// What we remember may be old: no verdict can be given on it.
		return order{}, homeUnavailable, errBusAway
	}
	var n *plan.Node
	shard := 0
	g.model.mirror.View(func(w *plan.World) {
		if n = findNode(w, name); n != nil {
			shard, _ = shardOf(w, n.Fleet)
		}
	})
	switch {
	case n == nil || n.State == plan.Deleted:
		return order{}, homeUnknown, fmt.Errorf("node %q: %w", plain(name), errNotFound)
	case n.TokenSHA256 == "":
		// The machine may be faster than the record of its config.
		return order{}, homeUnavailable, errNotYet
	case subtle.ConstantTimeCompare([]byte(hash), []byte(n.TokenSHA256)) != 1:
		return order{}, homeRefused, errNodeToken
	}
	return order{shard: shard, scope: n.Fleet, command: &plan.Command{
		ID:        "ph-" + hash[:32],
		PhoneHome: &plan.PhoneHome{Node: n.Key(), Incarnation: n.Incarnation, TokenSHA256: hash},
	}}, homeStored, nil
}

var (
	errCrowd     = errors.New("too many nodes report at once")
	errNodeToken = errors.New("this node's token is another one")
	errNotYet    = errors.New("this node's record is not ready yet")
)
