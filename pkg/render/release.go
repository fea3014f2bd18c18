package render

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coreos/go-semver/semver"
	"github.com/coreos/ignition/v2/config/v3_4/types"

	"yardmaster.dev/pkg/fleet"
)

// The Ignition specs that we write: the lowest that holds everything, for it
// is the one that most releases read.
const (
	specLowest = "3.3.0"
	specNewest = "3.4.0"
)

// Flatcar releases at which something began.
const (
	releaseV3    = 3185 // Ignition v3.3
	releaseKargs = 3248 // guestinfo.afterburn.initrd.network-kargs
	releaseV34   = 3535 // Ignition v3.4
)

// release is a Flatcar release; major is 0 when none is pinned, which means
// a current one.
type release struct {
	version string
	major   int
}

func releaseOf(version string) release {
	first, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		major = 0
	}
	return release{version: version, major: major}
}

// check refuses layers in a spec that the pinned release does not read.
func (r release) check(layers []layer) []fleet.Problem {
	if r.major == 0 {
		return nil
	}
	if r.major < releaseV3 {
		return []fleet.Problem{{
			Path: "spec.os.version", Message: fmt.Sprintf("Flatcar %s reads Ignition v2 only", r.version),
			Hint: fmt.Sprintf("use %d or newer", releaseV3),
		}}
	}
	if r.major >= releaseV34 {
		return nil
	}
	var out []fleet.Problem
	for _, l := range layers {
		if spec := l.body.spec(); semver.New(specLowest).LessThan(spec) {
			out = append(out, fleet.Problem{
				Path:    l.path,
				Message: fmt.Sprintf("this layer needs Ignition %s; Flatcar %s reads %s at most", &spec, r.version, specLowest),
				Hint:    fmt.Sprintf("write Butane version 1.0.0 or Ignition %s, or use Flatcar %d or newer", specLowest, releaseV34),
			})
		}
	}
	return out
}

// lowestSpec returns the lowest spec that holds the config: what 3.4.0 added
// is about encrypted disks only.
func lowestSpec(cfg *types.Config) string {
	for _, l := range cfg.Storage.Luks {
		if l.Discard != nil || len(l.OpenOptions) > 0 {
			return specNewest
		}
		for _, t := range l.Clevis.Tang {
			if t.Advertisement != nil {
				return specNewest
			}
		}
	}
	return specLowest
}
