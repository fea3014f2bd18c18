package fleet

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as 90s, 10m, 1h30m.
type Duration struct{ time.Duration }

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	return d.UnmarshalText([]byte(s))
}

// UnmarshalText parses Go's duration syntax.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write 90s, 10m or 1h30m", b)
	}
	d.Duration = v
	return nil
}

// IsZero reports whether the duration is not set.
func (d Duration) IsZero() bool { return d.Duration == 0 }

// Quantity is a number of bytes as it was written: 8Gi, 4096Mi, 40G.
type Quantity string

var quantitySuffixes = []struct {
	suffix string
	bytes  int64
}{
	{"Ki", 1 << 10},
	{"Mi", 1 << 20},
	{"Gi", 1 << 30},
	{"Ti", 1 << 40},
	{"k", 1e3},
	{"M", 1e6},
	{"G", 1e9},
	{"T", 1e12},
}

// Bytes returns the number of bytes; an empty quantity is 0.
func (q Quantity) Bytes() (int64, error) {
	if q == "" {
		return 0, nil
	}
	num, unit := string(q), int64(1)
	for _, s := range quantitySuffixes {
		if rest, ok := strings.CutSuffix(string(q), s.suffix); ok {
			num, unit = rest, s.bytes
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a quantity; write 8Gi, 4096Mi or 40G", string(q))
	}
	if n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is too large", string(q))
	}
	return n * unit, nil
}
