package plan

import (
	"maps"
	"slices"
)

// holdings is a Network's claims by address. Addresses are given out lowest
// first, so pages cost a third of what a plain map does: there is one claim
// for every node of a large yard.
type holdings struct {
	pages map[uint32]*page
	count int
}

type page struct {
	claims [256]*Claim
	count  int
}

func (h *holdings) get(a uint32) *Claim {
	if p := h.pages[a>>8]; p != nil {
		return p.claims[a&255]
	}
	return nil
}

// set puts a claim in place of the one before; nil takes it out.
func (h *holdings) set(a uint32, c *Claim) {
	p := h.pages[a>>8]
	if p == nil {
		if c == nil {
			return
		}
		if h.pages == nil {
			h.pages = map[uint32]*page{}
		}
		p = &page{}
		h.pages[a>>8] = p
	}
	by := 0
	if c != nil {
		by++
	}
	if p.claims[a&255] != nil {
		by--
	}
	p.claims[a&255] = c
	p.count += by
	h.count += by
	if p.count == 0 {
		delete(h.pages, a>>8)
	}
}

// all yields the claims by address, lowest first.
func (h *holdings) all(yield func(uint32, *Claim) bool) {
	for _, number := range slices.Sorted(maps.Keys(h.pages)) {
		for i, c := range h.pages[number].claims {
			if c != nil && !yield(number<<8|uint32(i), c) {
				return
			}
		}
	}
}
