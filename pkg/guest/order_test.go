package guest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/guest"
)

func TestParseOrder(t *testing.T) {
	t.Parallel()
	want := guest.Order{Rerun: strings.Repeat("a1", 32), Keep: []string{"/var/lib/data", "/opt/(a|b)"}}
	got, ok := guest.ParseOrder(want.String())
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Errorf("ParseOrder: %v, differs (-want +got):\n%s", ok, d)
	}
	for name, text := range map[string]string{
		"empty": "", "another form": strings.Replace(want.String(), "order 1", "order 2", 1),
		"no digest": guest.OrderMagic + "\nrerun abc\n", "nothing to do": guest.OrderMagic + "\nkeep /x\n",
	} {
		if got, ok := guest.ParseOrder(text); ok {
			t.Errorf("%s: ParseOrder = %+v; want none", name, got)
		}
	}
}

func FuzzParseOrder(f *testing.F) {
	f.Add(guest.Order{Rerun: strings.Repeat("0", 64), Keep: []string{"/a"}}.String())
	f.Add(guest.OrderMagic + "\nkeep \nkeep  x\nrerun \r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := guest.ParseOrder(text)
		if !ok {
			return
		}
		again, ok := guest.ParseOrder(got.String())
		if d := cmp.Diff(got, again); d != "" || !ok {
			t.Errorf("ParseOrder(%q): what String writes is read as another: %v\n%s", text, ok, d)
		}
	})
}
