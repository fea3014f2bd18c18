package gateway

import (
	"slices"
	"testing"
)

// newestFrom finds where the newest messages begin without reading them,
// wherever they lie.
func TestNewestFrom(t *testing.T) {
	t.Parallel()
	sequences := func(from, to, step uint64) []uint64 {
		var out []uint64
		for s := from; s <= to; s += step {
			out = append(out, s)
		}
		return out
	}
	const limit = 100
	for name, c := range map[string]struct {
		first, last uint64
		at          []uint64
	}{
		"nothing":           {1, 100_000, nil},
		"few":               {1, 100_000, []uint64{7, 99}},
		"all":               {1, 100_000, sequences(1, 100_000, 1)},
		"sparse":            {1, 1_000_000, sequences(1, 1_000_000, 997)},
		"long ago":          {1, 1_000_000, sequences(1, 5_000, 1)},
		"a burst, then one": {500, 1_000_000, append(sequences(600_000, 640_000, 1), 999_999)},
		"empty stream":      {0, 0, nil},
	} {
		calls := 0
		from, err := newestFrom(c.first, c.last, limit, func(from uint64) (int, error) {
			calls++
			i, _ := slices.BinarySearch(c.at, from)
			return len(c.at) - i, nil
		})
		i, _ := slices.BinarySearch(c.at, from)
		n := len(c.at) - i
		if want := min(limit, len(c.at)); err != nil || n < want || n > surplus*limit || calls > 40 {
			t.Errorf("%s: newestFrom = %d with %d messages after %d counts, %v; want %d to %d messages", name, from, n, calls, err, want, surplus*limit)
		}
	}
}
