package show_test

import (
	"testing"
	"time"

	"yardmaster.dev/services/yardctl/show"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{show.Duration(-time.Second), "0.0 ms"},
		{show.Duration(400 * time.Microsecond), "0.4 ms"},
		{show.Duration(22 * time.Millisecond), "22 ms"},
		{show.Duration(4100 * time.Millisecond), "4.1 s"},
		{show.Duration(3 * time.Minute), "3 min"},
		{show.Duration(3*time.Minute + 12*time.Second), "3 min 12 s"},
		{show.Duration(26 * time.Hour), "1 d 2 h"},
		{show.Age(41 * time.Second), "41 s"},
		{show.Age(11 * time.Minute), "11 min"},
		{show.Age(30 * time.Hour), "30 h"},
		{show.Age(11 * 24 * time.Hour), "11 d"},
		{show.Bytes(0), "0 B"},
		{show.Bytes(1433), "1.4 KiB"},
		{show.Bytes(48 << 10), "48 KiB"},
		{show.Bytes(412 << 30), "412 GiB"},
		{show.Bytes(5000 << 40), "5000 TiB"},
		{show.Count(1, "node"), "1 node"},
		{show.Count(3, "node"), "3 nodes"},
		{show.Cut("é234567890", 10), "é234567890"},
		{show.Cut("é2345678901", 10), "é234567..."},
		{show.Waiting("its first phone-home"), "waiting for its first phone-home"},
		{show.Waiting("cloning flatcar-4593.2.5"), "cloning flatcar-4593.2.5"},
		{show.Waiting(""), ""},
		{show.Sign("ready"), "●"},
		{show.Sign("of a newer yard"), "?"},
	} {
		if c.got != c.want {
			t.Errorf("got %q; want %q", c.got, c.want)
		}
	}
}
