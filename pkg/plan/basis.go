package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// basis is what a plan was computed from: when, a digest of all that decides
// on its outcome, and the live targets, which tell a reader what moved.
type basis struct {
	at      time.Time
	digest  string
	targets map[string]string
}

// writeBasis is a plan's Basis: time in milliseconds, digest, targets.
func writeBasis(now time.Time, digest string, r *Fleet) string {
	out := strconv.FormatInt(now.UnixMilli(), 10) + "-" + digest
	if r == nil {
		return out
	}
	var targets []string
	for _, name := range slices.Sorted(maps.Keys(r.Targets)) {
		targets = append(targets, fmt.Sprintf("%s=%d", name, r.Targets[name]))
	}
	return out + "-" + strings.Join(targets, ",")
}

// readBasis reads what writeBasis wrote. A client may send anything: what
// cannot be read matches no plan.
func readBasis(s string) basis {
	parts := strings.SplitN(s, "-", 3)
	out := basis{digest: s, targets: map[string]string{}}
	ms, err := strconv.ParseInt(parts[0], 10, 64)
	if len(parts) < 2 || err != nil {
		return out
	}
	out.at, out.digest = time.UnixMilli(ms), parts[1]
	if len(parts) < 3 {
		return out
	}
	for t := range strings.SplitSeq(parts[2], ",") {
		if name, target, ok := strings.Cut(t, "="); ok {
			out.targets[name] = target
		}
	}
	return out
}
