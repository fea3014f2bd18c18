package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBasis(t *testing.T) {
	t.Parallel()
	r := &Fleet{Targets: map[string]int{"edge-a": 3, "b": 0}}
	got := readBasis(writeBasis(start, "abc", r))
	if !got.at.Equal(start) || got.digest != "abc" || !cmp.Equal(got.targets, map[string]string{"edge-a": "3", "b": "0"}) {
		t.Errorf("readBasis = %+v", got)
	}
	if got := readBasis(writeBasis(start, "abc", nil)); got.digest != "abc" || len(got.targets) > 0 {
		t.Errorf("readBasis of a new fleet = %+v", got)
	}
}

// What a client sends as a basis is read or matches nothing.
func FuzzBasis(f *testing.F) {
	for _, s := range []string{"", "-", "1-abc", "1-abc-edge=3,b=0", "x-abc", "1-abc-=,=", "99999999999999999999-a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := readBasis(s)
		if b.at.IsZero() && b.digest != s {
			t.Errorf("readBasis(%q) has digest %q without a time", s, b.digest)
		}
		_ = b.at.Format(time.RFC3339)
	})
}
