package plan

import (
	"math/bits"
	"slices"
)

// bitset is a set of small numbers with a lowest and a highest member found
// in a few word operations: ordinals of a pool, addresses of a range. Each
// level holds one bit per non-empty word of the level below.
type bitset struct {
	levels [][]uint64
	count  int
}

func (s *bitset) has(i int) bool {
	if len(s.levels) == 0 || i < 0 || i>>6 >= len(s.levels[0]) {
		return false
	}
	return s.levels[0][i>>6]&(1<<(i&63)) != 0
}

func (s *bitset) add(i int) {
	if s.has(i) {
		return
	}
	s.count++
	s.grow(i)
	for l := range s.levels {
		was := s.levels[l][i>>6]
		s.levels[l][i>>6] |= 1 << (i & 63)
		if was != 0 {
			return
		}
		i >>= 6
	}
}

func (s *bitset) remove(i int) {
	if !s.has(i) {
		return
	}
	s.count--
	for l := range s.levels {
		s.levels[l][i>>6] &^= 1 << (i & 63)
		if s.levels[l][i>>6] != 0 {
			return
		}
		i >>= 6
	}
}

// grow makes room for i; a new top level starts with a summary of the old.
func (s *bitset) grow(i int) {
	for l := 0; ; l++ {
		if l == len(s.levels) {
			s.levels = append(s.levels, nil)
			if l > 0 {
				s.levels[l] = summary(s.levels[l-1])
			}
		}
		for len(s.levels[l]) <= i>>6 {
			s.levels[l] = append(s.levels[l], 0)
		}
		if i >>= 6; i == 0 && len(s.levels[l]) == 1 {
			return
		}
	}
}

func summary(words []uint64) []uint64 {
	out := make([]uint64, (len(words)+63)>>6)
	for i, w := range words {
		if w != 0 {
			out[i>>6] |= 1 << (i & 63)
		}
	}
	return out
}

// first returns the lowest member.
func (s *bitset) first() (int, bool) { return s.from(0) }

// last returns the highest member.
func (s *bitset) last() (int, bool) {
	if s.count == 0 {
		return 0, false
	}
	i := 0
	for _, words := range slices.Backward(s.levels) {
		i = i<<6 | (63 - bits.LeadingZeros64(words[i]))
	}
	return i, true
}

// from returns the lowest member that is at least i.
func (s *bitset) from(i int) (int, bool) {
	for l := 0; l < len(s.levels); l++ {
		if i>>6 >= len(s.levels[l]) {
			return 0, false
		}
		if w := s.levels[l][i>>6] >> (i & 63); w != 0 {
			return s.descend(l, i+bits.TrailingZeros64(w)), true
		}
		i = i>>6 + 1
	}
	return 0, false
}

func (s *bitset) descend(level, i int) int {
	for _, words := range slices.Backward(s.levels[:level]) {
		i = i<<6 | bits.TrailingZeros64(words[i])
	}
	return i
}

// all yields the members, lowest first.
func (s *bitset) all(yield func(int) bool) {
	for i, ok := s.from(0); ok; i, ok = s.from(i + 1) {
		if !yield(i) {
			return
		}
	}
}
