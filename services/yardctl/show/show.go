// Package show has the words and signs in which people see a yard: how long,
// how much, which state. It writes nothing itself and knows no service.
package show

import (
	"fmt"
	"strconv"
	"time"
)

// Duration is a time span for people, always with its unit: 4.1 s, 3 min
// 12 s, 2 h 5 min, 3 d 4 h.
func Duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return pair(d, time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour:
		return pair(d, time.Hour, "h", time.Minute, "min")
	}
	return pair(d, 24*time.Hour, "d", time.Hour, "h")
}

func pair(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := strconv.FormatInt(int64(d/big), 10) + " " + bigName
	if rest := int64(d % big / small); rest > 0 {
		text += " " + strconv.FormatInt(rest, 10) + " " + smallName
	}
	return text
}

// Age is a time span in one unit, for narrow columns: 41 s, 3 min, 11 d.
func Age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 2*time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + " s"
	case d < 2*time.Hour:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	case d < 48*time.Hour:
		return strconv.FormatInt(int64(d/time.Hour), 10) + " h"
	}
	return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + " d"
}

// Bytes is a number of bytes for people: 412 B, 1.4 KiB, 20 GiB.
func Bytes(n uint64) string {
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + " B"
	}
	value := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		value /= 1 << 10
		switch {
		case value < 10:
			return strconv.FormatFloat(value, 'f', 1, 64) + " " + unit
		case value < 1<<10 || unit == "TiB":
			return strconv.FormatFloat(value, 'f', 0, 64) + " " + unit
		}
	}
	return ""
}

// Cut shortens text to width characters.
func Cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:max(0, width-3)]) + "..."
}

// Count is a number with its noun: 1 node, 3 nodes.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
