package plan

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestBitset holds the set to a plain map of numbers.
func TestBitset(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s bitset
		want := map[int]bool{}
		number := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 300_000))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := number.Draw(t, "i")
			if rapid.Bool().Draw(t, "add") {
				s.add(i)
				want[i] = true
			} else {
				s.remove(i)
				delete(want, i)
			}
			same(t, &s, slices.Sorted(maps.Keys(want)), i)
		}
	})
}

func same(t *rapid.T, s *bitset, want []int, i int) {
	if got := slices.Collect(s.all); !slices.Equal(got, want) {
		t.Fatalf("all() = %v; want %v", got, want)
	}
	if s.count != len(want) || s.has(i) != slices.Contains(want, i) {
		t.Fatalf("count = %d, has(%d) = %v; want %v", s.count, i, s.has(i), want)
	}
	at, _ := slices.BinarySearch(want, i)
	if got, ok := s.from(i); ok != (at < len(want)) || ok && got != want[at] {
		t.Fatalf("from(%d) = %d, %v; want the %dth of %v", i, got, ok, at, want)
	}
	if got, ok := s.last(); ok != (len(want) > 0) || ok && got != want[len(want)-1] {
		t.Fatalf("last() = %d, %v; want the last of %v", got, ok, want)
	}
}
