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
	// Orders means that the guest takes what a report is answered with.
	Orders bool `json:"orders"`
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
	caller, outcome, err := g.admit(w, r)
	if err != nil {
		return outcome, err
	}
	defer caller.leave()
	said, err := readReport(r.Body)
	if err != nil {
		return homeMalformed, err
	}
	n, hash, outcome, err := caller.recognized()
	if err != nil {
		return outcome, err
	}
	shard := 0
	g.model.mirror.View(func(w *plan.World) { shard, _ = shardOf(w, n.Fleet) })
	_, err = g.store(r.Context(), order{shard: shard, scope: n.Fleet, command: &plan.Command{
		ID: "ph-" + hash[:32], By: "node:" + n.Key(), At: time.Now(),
		// The planner checks the hash once more against its own record.
		PhoneHome: &plan.PhoneHome{
			Node: n.Key(), Incarnation: n.Incarnation, TokenSHA256: hash,
			MachineID: said.MachineID, BootID: said.BootID, OSVersion: said.OSVersion, Address: said.Address,
			Obeys: said.Orders,
		},
	}})
	if err != nil {
		return homeUnavailable, errBusAway
	}
	return homeStored, nil
}

// reporting is a node that has one of the places for reports.
type reporting struct {
	g           *Gateway
	name, token string
}

// admit gives a request one of the places, which leave gives back, and
// bounds the time to read it.
func (g *Gateway) admit(w http.ResponseWriter, r *http.Request) (reporting, outcome, error) {
	select {
	case g.reports <- struct{}{}:
	default:
		return reporting{}, homeUnavailable, errCrowd
	}
	token, sent := bearer(r)
	if !sent {
		<-g.reports
		return reporting{}, homeRefused, errNodeToken
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(reportWait))
	return reporting{g, r.PathValue("node"), token}, homeStored, nil
}

func (c reporting) leave() { <-c.g.reports }

// recognized finds the caller's node and checks its token.
func (c reporting) recognized() (n *plan.Node, hash string, _ outcome, _ error) {
	sum := sha256.Sum256([]byte(c.token))
	hash = hex.EncodeToString(sum[:])
	if !c.g.model.current() {
		// What we remember may be old: no verdict can be given on it.
		return nil, "", homeUnavailable, errBusAway
	}
	c.g.model.mirror.View(func(w *plan.World) { n = findNode(w, c.name) })
	switch {
	case n == nil || n.State == plan.Deleted:
		return nil, "", homeUnknown, fmt.Errorf("node %q: %w", plain(c.name), errNotFound)
	case same(hash, n.FormerToken):
		// Another config is on its way; the guest still has the former one.
	case n.TokenSHA256 == "":
		// The machine may be faster than the record of its config.
		return nil, "", homeUnavailable, errNotYet
	case !same(hash, n.TokenSHA256):
		return nil, "", homeRefused, errNodeToken
	}
	return n, hash, homeStored, nil
}

// same compares hashes of tokens; an empty one is nobody's.
func same(hash, of string) bool {
	return of != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(of)) == 1
}

var (
	errCrowd     = errors.New("too many nodes report at once")
	errNodeToken = errors.New("this node's token is another one")
	errNotYet    = errors.New("this node's record is not ready yet")
)
