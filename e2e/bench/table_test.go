//go:build bench

// Package bench measures ratios against what a user would pick instead, all
// sides alternating in one run, because absolute figures of a shared machine
// mean little.
package bench

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// sample is one round of one side.
type sample struct {
	ops  float64
	took time.Duration
}

func (s sample) rate() float64 { return s.ops / s.took.Seconds() }

// side is one of those that are compared.
type side struct {
	name string
	run  func() sample
}

// alternate runs the sides in turns after one uncounted round each.
func alternate(rounds int, sides ...side) map[string][]float64 {
	rates := map[string][]float64{}
	for round := range rounds + 1 {
		for _, s := range sides {
			got := s.run().rate()
			if round > 0 {
				rates[s.name] = append(rates[s.name], got)
			}
		}
	}
	return rates
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// spread is the range of the rounds, as a share of their median.
func spread(v []float64) float64 {
	return (slices.Max(v) - slices.Min(v)) / median(v) * 100
}

// row is a line of the table.
type row struct{ what, ours, peer, ratio, aim, spread string }

var table []row

// compare adds a line from rates of ours and of a peer. The ratio is ours
// over the peer's.
func compare(what, unit string, ours, peer []float64, aim float64) {
	ratio := median(ours) / median(peer)
	table = append(table, row{
		what:   what,
		ours:   quantity(median(ours), unit),
		peer:   quantity(median(peer), unit),
		ratio:  fmt.Sprintf("%.3gx", ratio),
		aim:    wish(ratio, aim),
		spread: fmt.Sprintf("%.0f %% / %.0f %%", spread(ours), spread(peer)),
	})
}

// ratio adds a line whose rounds were ratios already.
func ratio(what string, got []float64, aim float64) {
	table = append(table, row{
		what: what, ours: "-", peer: "-", ratio: fmt.Sprintf("%.4gx", median(got)),
		aim: fmt.Sprintf("%gx %s", aim, verdict(median(got), aim)), spread: fmt.Sprintf("%.0f %%", spread(got)),
	})
}

// limit adds a line for a figure that has a bound instead of a peer.
func limit(what, unit string, got []float64, aim float64) {
	table = append(table, row{
		what: what, ours: quantity(median(got), unit), peer: "-", ratio: "-",
		aim:    fmt.Sprintf("< %s %s", quantity(aim, unit), verdict(aim, median(got))),
		spread: fmt.Sprintf("%.0f %%", spread(got)),
	})
}

// absent adds a line for what could not be measured.
func absent(what string, why error) {
	table = append(table, row{what: what, ours: "not run", peer: why.Error()})
}

// wish is the aim of a ratio with its verdict; 0 is no aim.
func wish(got, aim float64) string {
	if aim == 0 {
		return "-"
	}
	return fmt.Sprintf("%gx %s", aim, verdict(got, aim))
}

// verdict says whether got is at least aim.
func verdict(got, aim float64) string {
	if got >= aim {
		return "reached"
	}
	return "MISSED"
}

func quantity(v float64, unit string) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f %s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	default:
		return fmt.Sprintf("%.3g %s", v, unit)
	}
}

func printTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tOURS\tPEER\tRATIO\tAIM\tSPREAD (ours / peer)")
	for _, r := range table {
		fmt.Fprintln(t, strings.Join([]string{r.what, r.ours, r.peer, r.ratio, r.aim, r.spread}, "\t"))
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
